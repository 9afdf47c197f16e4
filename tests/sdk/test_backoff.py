from __future__ import annotations

from itertools import islice

import pytest

from agentexchange._backoff import backoff


def test_the_documented_delays() -> None:
    assert list(islice(backoff(random=lambda: 0.0), 8)) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_jitter_shortens_by_at_most_a_fifth() -> None:
    assert list(islice(backoff(random=lambda: 1.0), 3)) == pytest.approx([0.8, 1.6, 3.2])
    for delay, step in zip(islice(backoff(), 50), islice(backoff(jitter=0), 50), strict=True):
        assert 0.8 * step <= delay <= step


def test_it_goes_on_without_end_and_without_overflow() -> None:
    assert next(islice(backoff(random=lambda: 0.0), 5000, None)) == 60


def test_a_cap_below_the_first_delay() -> None:
    assert list(islice(backoff(first=5, cap=2, jitter=0), 2)) == [2, 2]

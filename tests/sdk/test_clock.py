from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from agentexchange import Clock


def test_live_it_is_the_time() -> None:
    clock = Clock()
    before = time.time()
    assert before <= clock.time() <= time.time()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
    steady, now = clock.reading()
    assert steady <= time.monotonic()
    assert now.tzinfo is UTC


def test_in_a_replay_it_is_when_the_event_was_received() -> None:
    clock = Clock()
    clock.replayed_us = 1_795_341_318_000_001
    assert clock.now() == datetime(2026, 11, 22, 9, 55, 18, 1, tzinfo=UTC)
    assert clock.time() == 1_795_341_318.000001
    assert clock.reading() == (clock.time(), clock.now())

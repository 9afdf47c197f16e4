from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.analysis import Lags

if TYPE_CHECKING:
    from collections.abc import Iterable


def lags_of(values: Iterable[int]) -> Lags:
    lags = Lags()
    for value in values:
        lags.add(value)
    return lags


def test_without_any_there_is_no_percentile() -> None:
    assert (Lags().percentile_us(0.5), Lags().most_us, Lags().count) == (None, None, 0)


def test_millions_take_a_few_hundred_counters() -> None:
    lags = lags_of(range(0, 2_000_000_000, 9973))
    assert lags.count == 200_542
    assert len(lags._buckets) < 64 * 32


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1), st.lists(st.integers(-1000, 1000)))
def test_percentiles_are_right_to_a_hundredth_and_joining_is_counting_all(one: list[int], other: list[int]) -> None:
    lags, every = lags_of(one), sorted(one + other)
    lags.take(lags_of(other))
    assert (lags.count, lags.most_us) == (len(every), every[-1])
    for share in (0.5, 0.95, 0.99, 1.0):
        exact = every[max(1, math.ceil(len(every) * share)) - 1]
        found = lags.percentile_us(share)
        assert found is not None
        assert exact - abs(exact) / 64 - 1 <= found <= exact

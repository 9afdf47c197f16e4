from __future__ import annotations

import pytest

from agentexchange_bridge.inspector.board import Notices
from agentexchange_bridge.inspector.past import TimeLines
from agentexchange_bridge.inspector.past._timeline import width_of
from agentexchange_bridge.inspector.views import Window
from agentexchange_schemas import FeedState
from tests.bridge.inspector._samples import (
    ACCOUNT,
    CANDLES,
    LOG,
    SECOND,
    START_US,
    ListHistory,
    candle,
    order,
    status,
    tick,
)


@pytest.mark.parametrize(
    ("span_s", "buckets", "width_s"),
    [
        (0, 240, 1),
        (100, 240, 1),
        (600, 240, 5),
        (600, 1000, 1),
        (86_400, 240, 600),
        (3, 2, 5),
        (10**7, 100, 10**7 / 99),
    ],
)
def test_widths_are_round_and_no_more_buckets_come_than_asked_for(span_s: int, buckets: int, width_s: float) -> None:
    width_us = width_of(span_s * SECOND, buckets)
    assert width_us == pytest.approx(width_s * SECOND, abs=1)
    for offset in (0, 1, width_us - 1):
        start = START_US + offset
        first = start - start % width_us
        assert len(range(first, start + span_s * SECOND + 1, width_us)) <= buckets


def lines(history: ListHistory, notices: Notices | None = None) -> TimeLines:
    return TimeLines(history, notices or Notices())


async def test_rates_by_bucket_with_cut_ones_at_the_ends() -> None:
    raws = [tick(at) for at in range(500_000, 10 * SECOND, 100_000)]  # ten a second, from the middle of one
    line = await lines(ListHistory({LOG: raws})).timeline(240)
    assert (line.start_us, line.end_us) == (START_US + 500_000, START_US + 9_900_000)
    assert [bucket.start_us for bucket in line.buckets] == [START_US + at * SECOND for at in range(10)]
    assert all(bucket.events_per_s == pytest.approx(10, rel=0.12) for bucket in line.buckets)
    assert line.is_exact


async def test_it_spans_the_logs_of_ticks_where_there_are_any() -> None:
    lanes = {LOG: [tick(50 * SECOND), tick(60 * SECOND)], CANDLES: [candle(0, 0)], ACCOUNT: [order(0)]}
    assert (await lines(ListHistory(lanes)).timeline(240)).start_us == START_US + 50 * SECOND
    line = await lines(ListHistory({LOG: [], CANDLES: [candle(0, 0)], ACCOUNT: [order(9 * SECOND)]})).timeline(240)
    assert (line.start_us, line.end_us) == (START_US, START_US + 9 * SECOND)


async def test_a_later_line_only_looks_at_what_is_new() -> None:
    raws = [tick(at) for at in range(0, 100 * SECOND, 100_000)]
    history = ListHistory({LOG: raws})
    made = lines(history)
    first = await made.timeline(240)
    assert len(history.rated) == 100
    history.rated.clear()
    assert await made.timeline(240) == first
    assert len(history.rated) == 1  # the last may grow
    await made.timeline(10)
    assert len(history.rated) > 2


@pytest.mark.parametrize(
    ("window", "start_s", "end_s"),
    [
        (Window(10 * SECOND), 89.9, 99.9),
        (Window(10 * SECOND, START_US + 20 * SECOND), 20, 30),
        (Window(10 * SECOND, START_US - SECOND), 0, 10),
        (Window(10 * SECOND, START_US + 98 * SECOND), 89.9, 99.9),
        (Window(100 * SECOND, START_US), 0, 99.9),
    ],
)
async def test_a_part_of_it(window: Window, start_s: float, end_s: float) -> None:
    raws = [tick(at) for at in range(0, 100 * SECOND, 100_000)]
    line = await lines(ListHistory({LOG: raws})).timeline(10, window)
    assert (line.start_us, line.end_us) == (START_US + start_s * SECOND, START_US + end_s * SECOND)
    assert (line.first_us, line.last_us) == (START_US, START_US + 99_900_000)
    assert len(line.buckets) <= 10
    assert all(bucket.events_per_s == pytest.approx(10, rel=0.12) for bucket in line.buckets)


async def test_an_end_of_a_few_microseconds_is_no_rate_of_its_own() -> None:
    """The last event, alone in its bucket, is not a million events a second; nor is the first."""
    raws = [tick(at) for at in (999_999, *range(SECOND, 10 * SECOND + 1, 100_000))]
    line = await lines(ListHistory({LOG: raws})).timeline(240)
    assert len(line.buckets) == 11
    assert max(bucket.events_per_s for bucket in line.buckets) <= 12


async def test_parts_that_are_seen_again_are_not_looked_at_again() -> None:
    history = ListHistory({LOG: [tick(at) for at in range(0, 1_000 * SECOND, 100_000)]})
    made = lines(history)
    for start_s, looked_at in ((100, 101), (100, 0), (150, 50), (100, 0)):
        await made.timeline(240, Window(100 * SECOND, START_US + start_s * SECOND))
        assert len(history.rated) == looked_at
        history.rated.clear()


async def test_a_cut_bucket_at_the_edge_of_a_part_is_not_taken_for_a_whole_one() -> None:
    raws = [tick(at) for at in range(0, 100 * SECOND, 100_000)]
    made = lines(ListHistory({LOG: raws}))
    await made.timeline(240, Window(10 * SECOND, START_US + 20 * SECOND + 700_000))
    line = await made.timeline(240, Window(20 * SECOND, START_US + 15 * SECOND))
    assert {bucket.events_per_s for bucket in line.buckets} == {10.0}


async def test_gaps_that_lie_in_it_are_told() -> None:
    notices = Notices()
    for at_s, state, since_s, until_s in (
        (1, FeedState.LIVE, 0, 1),
        (50, FeedState.LIVE, 40, 50),
        (200, FeedState.BLIND, 200, None),
        (90, FeedState.BLIND, 85, None),
    ):
        until_us = None if until_s is None else until_s * SECOND
        told = status(state, since_s * SECOND, until_us=until_us, topic=f"ticker:T{at_s}")
        notices.add("m0", START_US + at_s * SECOND, told)
    raws = [tick(at * SECOND) for at in range(30, 100)]
    line = await lines(ListHistory({LOG: raws}), notices).timeline(240)
    assert [gap.topic for gap in line.gaps] == ["ticker:T90", "ticker:T50"]


async def test_of_nothing_there_is_an_empty_line() -> None:
    line = await lines(ListHistory({LOG: []}, end_us=START_US)).timeline(240)
    assert (line.buckets, line.start_us, line.end_us) == ((), START_US, START_US)

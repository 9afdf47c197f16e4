from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange.recording import Lane, LaneRun
from agentexchange_bridge.analysis import Comparison, DiffOptions, TopicCounts
from agentexchange_schemas.envelope import decode, encode
from tests.sdk.recording._samples import ACCOUNT, MARKET, START_US, tick, ticks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BTC = ("m0", "ticker:BTCUSDT")


def in_runs(raws: Sequence[bytes], *sizes: int, lane: Lane = MARKET) -> list[LaneRun]:
    """The events in runs of these sizes, taking turns."""
    runs, at = [], 0
    for size in itertools.cycle(sizes or (max(1, len(raws)),)):
        if at >= len(raws):
            return runs
        runs.append(LaneRun(lane, list(raws[at : at + size])))
        at += size
    return runs


def compared(a: Iterable[LaneRun], b: Iterable[LaneRun], **options: Any) -> Comparison:
    comparison = Comparison(DiffOptions(**options))
    for _ in comparison.run(a, b):
        waiting = [len(side) for side in comparison._waiting]
        assert max(waiting) <= comparison.options.most_waiting
    return comparison


def written(raw: bytes, written_us: int | None, *, epoch: int | None = None) -> bytes:
    event = decode(raw)
    return encode(event.topic, epoch or event.epoch, event.seq, event.upstream_ms, event.received_us, event.data,
                  written_us)  # fmt: skip


def test_the_same_events_in_other_blocks_are_the_same() -> None:
    raws = ticks(500)
    found = compared(in_runs(raws, 7, 40), in_runs(raws, 100, 1))
    assert (found.is_same, found.first, found.events) == (True, None, [500, 500])
    assert found.counts == {BTC: TopicCounts(same=500)}


def test_nothing_is_the_same_as_nothing() -> None:
    assert compared([], []).is_same


@pytest.mark.parametrize("missing", [0, 100, 499])
def test_an_event_that_one_side_lacks_is_named(missing: int) -> None:
    raws = ticks(500)
    found = compared(in_runs(raws, 64), in_runs([*raws[:missing], *raws[missing + 1 :]], 33))
    assert found.first is not None
    assert (found.first.a, found.first.b) == (decode(raws[missing]), None)
    assert found.counts == {BTC: TopicCounts(same=499, only_a=1)}
    turned = compared(in_runs([*raws[:missing], *raws[missing + 1 :]], 33), in_runs(raws, 64))
    assert turned.first is not None
    assert (turned.first.a, turned.first.b) == (None, decode(raws[missing]))


def test_an_event_that_differs_is_named_with_what_differs_in_it() -> None:
    raws = ticks(100)
    other = [*raws[:50], tick(50, price="1", more="x"), *raws[51:]]
    found = compared(in_runs(raws), in_runs(other))
    assert found.first is not None
    assert found.first.parts == ("data.price", "data.more")
    assert (found.first.a, found.first.b) == (decode(raws[50]), decode(other[50]))
    assert found.counts == {BTC: TopicCounts(same=99, different=1)}


def test_the_first_difference_is_the_earliest_received_not_the_first_that_shows() -> None:
    """What only one side has shows when its twin did not come for a while; what differs at once."""
    raws = ticks(200)
    other = [*raws[:20], *raws[21:50], tick(50, price="1"), *raws[51:]]
    found = compared(in_runs(raws), in_runs(other))
    assert found.first is not None
    assert (found.first.received_us, found.first.b) == (START_US + 20_000, None)


def test_when_it_was_written_and_under_which_epoch_can_be_left_out_of_account() -> None:
    raws = [written(raw, START_US) for raw in ticks(100)]
    other = [written(raw, START_US + 5, epoch=8) for raw in raws]
    assert compared(in_runs(raws), in_runs(other), ignore=frozenset({"written", "epoch"})).is_same
    found = compared(in_runs(raws), in_runs(other), ignore=frozenset({"written"}))
    assert found.first is not None
    assert found.first.parts == ("epoch",)
    assert found.counts == {BTC: TopicCounts(different=100)}
    first = compared(in_runs(raws), in_runs(other)).first
    assert first is not None
    assert first.parts == ("epoch", "written_us")


def test_events_without_a_number_are_known_by_when_they_were_received() -> None:
    notices = [encode("status", 7, None, None, START_US + number, {"state": "live"}) for number in range(10)]
    assert compared(in_runs(notices, 3), in_runs(notices)).is_same
    assert compared(in_runs(notices[1:]), in_runs(notices)).counts == {("m0", "status"): TopicCounts(9, 0, 1)}


def test_lanes_that_share_a_moment_may_come_in_either_order() -> None:
    a = [LaneRun(MARKET, [tick(1)]), LaneRun(ACCOUNT, [tick(1, symbol="X")])]
    assert compared(a, a[::-1]).is_same


def test_a_twin_that_comes_a_little_later_is_found_and_one_beyond_the_window_is_not() -> None:
    late = [tick(0, received_us=START_US + 4_000)]
    rest = [tick(number, symbol="X", received_us=START_US + 3_000 * number) for number in range(10)]
    a, b = [tick(0, received_us=START_US), *rest], [rest[0], rest[1], *late, *rest[2:]]
    near = compared(in_runs(a), in_runs(b), window_us=5_000)
    assert near.counts[BTC] == TopicCounts(different=1)
    far = compared(in_runs(a), in_runs(b), window_us=1_000)
    assert far.counts[BTC] == TopicCounts(only_a=1, only_b=1)


def test_a_whole_topic_that_one_side_lacks_waits_in_bounded_memory() -> None:
    raws = [tick(number, symbol="BTCUSDT" if number % 2 else "X") for number in range(2000)]
    found = compared(in_runs(raws, 100), in_runs(raws[::2], 100), most_waiting=50, window_us=10**9)
    assert found.counts == {BTC: TopicCounts(only_a=1000), ("m0", "ticker:X"): TopicCounts(same=1000)}


def test_long_names_of_topics_and_other_orders_of_keys_are_counted_right() -> None:
    long = f"candles:{'A' * 32}:15m"
    raws = [encode(long, 7, number, None, START_US + number, {}) for number in range(1, 30)]
    found = compared(in_runs(raws), in_runs(raws))
    assert found.counts == {("m0", long): TopicCounts(same=29)}
    assert not found._heads  # by such a name no head is remembered: it would be a new one for each event


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
def test_it_finds_what_a_comparison_of_all_finds(seed: int, size_a: int, size_b: int) -> None:
    dice = random.Random(seed)
    raws = [tick(number, symbol=dice.choice(["A", "B", "C"])) for number in range(dice.randrange(120))]

    def damaged() -> list[bytes]:
        kept = [raw for raw in raws if dice.random() > 0.1]
        return [written(raw, 5) if dice.random() < 0.1 else raw for raw in kept]

    a, b = (damaged(), damaged()) if dice.random() < 0.9 else (raws, raws)
    found = compared(in_runs(a, size_a), in_runs(b, size_b))
    sides = [{(event.topic, event.seq): raw for raw in side if (event := decode(raw))} for side in (a, b)]
    expected: dict[tuple[str, str], TopicCounts] = {}
    for key in sides[0].keys() | sides[1].keys():
        counts = expected.setdefault(("m0", key[0]), TopicCounts())
        one, other = (side.get(key) for side in sides)
        counts.same += one == other
        counts.only_a += other is None
        counts.only_b += one is None
        counts.different += one is not None and other is not None and one != other
    assert found.counts == expected
    unlike = [key for key in sides[0].keys() | sides[1].keys() if sides[0].get(key) != sides[1].get(key)]
    assert found.is_same is not bool(unlike)
    times = [decode(sides[0].get(key) or sides[1][key]).received_us for key in unlike]
    assert (found.first and found.first.received_us) == min(times, default=None)

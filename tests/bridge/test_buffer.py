from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.buffer import MAX_LOSS_TOPICS, BufferLimits, EventBuffer, Losses
from agentexchange_bridge.items import ITEM_OVERHEAD_BYTES, ORDER, TICKER, Item
from agentexchange_schemas import Cause

if TYPE_CHECKING:
    from agentexchange_bridge.buffer import Loss

EVERYTHING = 10**9


def tick(r: int, topic: str = "ticker:A", size: int = 10) -> Item:
    return (r, TICKER, topic, topic, None, b"x" * size)


def kept(r: int, size: int = 10) -> Item:
    return (r, ORDER, "orders", f"o{r}", None, b"x" * size)


def buffer(ticks: int = 8, kept_: int = 4, tick_bytes: int = EVERYTHING, kept_bytes: int = EVERYTHING) -> EventBuffer:
    return EventBuffer(BufferLimits(ticks=ticks, kept=kept_, tick_bytes=tick_bytes, kept_bytes=kept_bytes))


def stamps(items: list[Item]) -> list[int]:
    return [item[0] for item in items]


def test_events_come_out_in_order_of_arrival_whatever_their_kind() -> None:
    waiting = buffer()
    waiting.add_kept(kept(1))
    waiting.add_tick(tick(2))
    waiting.add_tick(tick(3))
    waiting.add_kept(kept(4))
    waiting.add_tick(tick(5))
    assert stamps(waiting.take(100, EVERYTHING)) == [1, 2, 3, 4, 5]
    assert len(waiting) == waiting.size_bytes == 0


def test_a_full_buffer_keeps_the_newest_tick_of_each_topic_at_its_newest_place() -> None:
    waiting = buffer(ticks=6)
    for r, symbol in enumerate("ABABAAC", start=1):
        waiting.add_tick(tick(r, f"ticker:{symbol}"))
    assert [(item[0], item[2]) for item in waiting.take(100, EVERYTHING)] == [
        (4, "ticker:B"),
        (6, "ticker:A"),
        (7, "ticker:C"),
    ]
    told = {loss.topic: loss for loss in waiting.losses.drain()}
    assert (told["ticker:A"].count, told["ticker:A"].first_us, told["ticker:A"].last_us) == (3, 1, 5)
    assert told["ticker:B"].cause is Cause.CONFLATED
    assert waiting.conflated == 4


def test_kept_events_wait_while_ticks_conflate_and_the_oldest_goes_at_their_own_bound() -> None:
    waiting = buffer(ticks=4, kept_=3)
    for r in range(1, 6):
        waiting.add_kept(kept(2 * r))
        waiting.add_tick(tick(2 * r + 1))
    assert stamps([item for item in waiting.take(100, EVERYTHING) if item[1] == ORDER]) == [6, 8, 10]
    dropped = [loss for loss in waiting.losses.drain() if loss.cause is Cause.DROPPED]
    assert [(loss.topic, loss.count, loss.first_us, loss.last_us) for loss in dropped] == [("orders", 2, 2, 4)]


def test_more_topics_than_half_the_room_lose_their_oldest_and_it_is_told() -> None:
    waiting = buffer(ticks=8)
    for r in range(1, 10):
        waiting.add_tick(tick(r, f"ticker:S{r}"))
    assert stamps(waiting.take(100, EVERYTHING)) == [6, 7, 8, 9]
    assert sum(loss.count for loss in waiting.losses.drain()) == waiting.dropped == 5


def test_bytes_bound_the_buffer_as_counts_do() -> None:
    each = 1000 + ITEM_OVERHEAD_BYTES
    waiting = buffer(ticks=1000, kept_=1000, tick_bytes=4 * each, kept_bytes=2 * each)
    for r in range(1, 101):
        waiting.add_tick(tick(2 * r, size=1000))
        waiting.add_kept(kept(2 * r + 1, size=1000))
        assert waiting.size_bytes <= 6 * each
    assert waiting.kept == 2


def test_a_batch_is_bounded_by_count_and_by_bytes() -> None:
    waiting = buffer(ticks=1000)
    for r in range(1, 201):
        waiting.add_tick(tick(r, size=100))
    assert len(waiting.take(10, EVERYTHING)) == 10
    assert len(waiting.take(1000, 1)) <= 64
    for r in range(201, 210):
        waiting.add_kept(kept(r, size=100))
    assert len(waiting.take(1000, 1)) == 1


def test_losses_of_many_topics_are_summed() -> None:
    losses = Losses()
    for number in range(MAX_LOSS_TOPICS + 10):
        losses.add(f"ticker:S{number}", Cause.CONFLATED, number)
    told = {loss.topic: loss for loss in losses.drain()}
    assert len(told) == MAX_LOSS_TOPICS + 1
    assert told[None].count == 10
    assert not losses


def test_clear_forgets_events_and_losses() -> None:
    waiting = buffer(ticks=2)
    for r in range(1, 6):
        waiting.add_tick(tick(r))
    waiting.add_kept(kept(9))
    waiting.clear()
    assert not len(waiting)
    assert not waiting.losses
    assert waiting.size_bytes == 0


class Model:
    """The same policy, said as plainly as possible."""

    def __init__(self, ticks: int, kept_: int) -> None:
        self.max_ticks, self.max_kept = ticks, kept_
        self.items: list[Item] = []
        self.lost: dict[tuple[str, Cause], list[int]] = {}

    def of(self, flag: str) -> list[Item]:
        return [item for item in self.items if item[1] == flag]

    def lose(self, item: Item, cause: Cause) -> None:
        self.items.remove(item)
        self.lost.setdefault((item[2], cause), []).append(item[0])

    def add(self, item: Item) -> None:
        self.items.append(item)
        if item[1] == ORDER:
            if len(self.of(ORDER)) > self.max_kept:
                self.lose(self.of(ORDER)[0], Cause.DROPPED)
        elif len(self.of(TICKER)) > self.max_ticks:
            newest = {item[2]: item for item in self.of(TICKER)}
            for old in [item for item in self.of(TICKER) if newest[item[2]] is not item]:
                self.lose(old, Cause.CONFLATED)
            while len(self.of(TICKER)) > self.max_ticks // 2:
                self.lose(self.of(TICKER)[0], Cause.DROPPED)

    def take(self, count: int) -> list[Item]:
        taken, self.items = self.items[:count], self.items[count:]
        return taken


actions = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.sampled_from("ABCDE")),
        st.tuples(st.just("kept"), st.just("")),
        st.tuples(st.just("take"), st.integers(1, 7)),
    ),
    max_size=150,
)


@given(actions, st.integers(2, 12), st.integers(1, 6))
def test_the_buffer_does_what_the_model_does(steps: list[tuple[str, Any]], max_ticks: int, max_kept: int) -> None:
    waiting, model = buffer(max_ticks, max_kept), Model(max_ticks, max_kept)
    for r, (action, detail) in enumerate(steps, start=1):
        if action == "take":
            assert waiting.take(detail, EVERYTHING) == model.take(detail)
            continue
        item = tick(r, f"ticker:{detail}") if action == "tick" else kept(r)
        (waiting.add_tick if action == "tick" else waiting.add_kept)(item)
        model.add(item)
        assert len(waiting) == len(model.items)
    told: list[Loss] = waiting.losses.drain()
    assert {(loss.topic, loss.cause): (loss.count, loss.first_us, loss.last_us) for loss in told} == {
        key: (len(lost), min(lost), max(lost)) for key, lost in model.lost.items()
    }
    assert waiting.take(10**6, EVERYTHING) == model.items
    assert waiting.size_bytes == 0


@pytest.mark.parametrize("topics", [1, 50, 400])
def test_conflation_costs_no_more_per_event_than_a_few_looks(topics: int) -> None:
    """A full buffer is swept whole: each sweep must free room for as many events as half of what it looked at."""
    waiting = buffer(ticks=1000)
    sweeps = 0
    before = 0
    for r in range(1, 20_001):
        waiting.add_tick(tick(r, f"ticker:S{r % topics}"))
        sweeps += waiting.ticks < before
        before = waiting.ticks
    assert sweeps <= 20_000 / 500 + 1

from __future__ import annotations

import random

from agentexchange_bridge.inspector.past import EventChoice
from agentexchange_bridge.inspector.past._recent import Recent
from tests.bridge.inspector._samples import START_US, tick

EVERY = EventChoice("")


def add(recent: Recent, first: int, count: int) -> None:
    recent.add("m0", [tick(number, seq=number) for number in range(first, first + count)], START_US + first + count - 1)


async def seqs(recent: Recent, choice: EventChoice = EVERY, limit: int = 10) -> list[int | None]:
    return [row.key.seq for row in (await recent.standing(choice)).newest(limit)]


async def test_the_newest_rows_come_first_and_grow_with_what_comes() -> None:
    recent = Recent(events=40_000)
    add(recent, 0, 3)
    assert await seqs(recent) == [2, 1, 0]
    add(recent, 3, 2)
    add(recent, 5, 1)
    assert await seqs(recent, limit=4) == [5, 4, 3, 2]
    assert await seqs(recent, limit=4) == [5, 4, 3, 2]  # looked at once


async def test_a_choice_keeps_rows_that_are_no_longer_recent() -> None:
    recent = Recent(events=10)
    rare = EventChoice("seq = 1")
    add(recent, 0, 5)
    assert await seqs(recent, rare) == [1]
    for number in range(5, 40, 5):
        add(recent, number, 5)
        assert await seqs(recent, rare) == [1]
    assert recent.floor_us == START_US + 29


async def test_a_choice_that_nobody_looked_at_for_long_begins_anew() -> None:
    recent = Recent(events=10)
    rare = EventChoice("seq = 1")
    add(recent, 0, 5)
    standing = await recent.standing(rare)
    standing.begin_with([])
    for number in range(5, 40, 5):
        add(recent, number, 5)
    again = await recent.standing(rare)
    assert (again.is_complete, again.newest(5)) == (False, [])


async def test_older_rows_are_put_behind_and_none_is_doubled() -> None:
    recent = Recent(events=40_000)
    add(recent, 5, 5)
    standing = await recent.standing(EVERY)
    older = [row for raw in (tick(n, seq=n) for n in range(7, 0, -1)) if (row := EVERY.row("m0", raw)) is not None]
    standing.begin_with(older)
    assert await seqs(recent) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert standing.is_complete


async def test_choices_and_batches_are_bounded() -> None:
    recent = Recent(events=40_000, choices=3)
    first = await recent.standing(EventChoice("A"))
    for part in "BCD":
        await recent.standing(EventChoice(part))
    assert await recent.standing(EventChoice("A")) is not first
    for number in range(10_000):
        add(recent, number, 1)
    assert len(recent._batches) <= 4_000


async def test_equal_choices_share_what_was_found() -> None:
    recent = Recent(events=40_000)
    assert await recent.standing(EventChoice("BTC")) is await recent.standing(EventChoice(" BTC ", []))


async def test_nothing_is_skipped_however_often_it_is_asked() -> None:
    dice = random.Random(3)
    recent = Recent(events=200)
    number = 0
    for _ in range(300):
        count = dice.randint(1, 12)
        add(recent, number, count)
        number += count
        if dice.random() < 0.4:
            assert await seqs(recent, limit=100) == list(range(number - 1, max(-1, number - 101), -1))


async def test_after_a_clearing_only_what_came_since_is_recent() -> None:
    recent = Recent(events=40_000)
    add(recent, 0, 5)
    await recent.standing(EVERY)
    recent.clear(START_US + 100)
    assert recent.floor_us == START_US + 100
    add(recent, 200, 1)
    assert await seqs(recent) == [200]

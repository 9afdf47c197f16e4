"""One log's events on their way through the handlers, without Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentexchange._acked.options import AckedOptions
from agentexchange._acked.work import Entry, Work
from agentexchange._dispatch import HandlersEnded
from agentexchange._shared.options import SharedOptions
from agentexchange_schemas.envelope import decode, encode
from tests.sdk._timeline import Timeline


def entry(number: int, *, attempts: int = 1) -> Entry:
    raw = encode("orders", 1, number, None, number, {"order_id": str(number)})
    return Entry("log", f"{number}-0".encode(), raw, decode(raw), attempts=attempts)


class Bench:
    """A work with a handler that fails on the numbers it is given, under time that the test moves."""

    def __init__(self, *, failing: tuple[int, ...] = (), max_attempts: int = 3) -> None:
        self.time = Timeline()
        self.calls: list[tuple[int, str]] = []
        self.failing = failing
        self.may_begin = True
        shared = SharedOptions(clock=self.time.clock, sleep=self.time.sleep, random=lambda: 0.0)
        self.work = Work(
            self._call,
            "m0",
            options=AckedOptions(name="x", max_attempts=max_attempts, shared=shared),
            may_begin=lambda: self.may_begin,
            member="me",
            mask=lambda text: text.replace("secret", "***"),
        )

    async def _call(self, topic: str, fields: dict[str, Any], envelope: Any, source: str, scope: str) -> None:
        self.calls.append((envelope.seq, source))
        if envelope.seq == 999:
            raise HandlersEnded
        if envelope.seq in self.failing:
            raise ValueError("a secret")

    @property
    def handled(self) -> list[int]:
        return [entry.envelope.seq or 0 for entry in self.work.handled]


async def test_events_are_handled_in_order() -> None:
    bench = Bench()
    bench.work.add(entry(number) for number in range(1, 200))
    while not await bench.work.progress(1.0):
        pass
    assert bench.handled == list(range(1, 200))
    assert bench.work.counts == {"handled": 199, "failed": 0, "redelivered": 0}


async def test_later_events_wait_for_one_that_is_tried_again_after_growing_pauses() -> None:
    bench = Bench(failing=(1,))
    bench.work.add([entry(1), entry(2)])
    assert not await bench.work.progress(0.01)
    for pause in (1.0, 2.0):
        await bench.time.until_asleep(pause)
        assert bench.handled == []
        bench.time.advance(pause)
        await bench.work.progress(0.01)
    assert bench.calls == [(1, "live"), (1, "redelivered"), (1, "redelivered"), (2, "live")]
    assert bench.handled == [2]
    (dead,) = bench.work.given_up
    assert [item["error"] for item in dead.history] == ["ValueError: a ***"] * 3
    assert dead.begun == 3


async def test_an_event_that_was_delivered_too_often_is_given_up_uncalled() -> None:
    bench = Bench()
    bench.work.add([entry(1, attempts=4), entry(2, attempts=3)])
    while not await bench.work.progress(1.0):
        pass
    assert bench.calls == [(2, "redelivered")]
    (dead,) = bench.work.given_up
    assert (dead.begun, dead.history[0]["error"]) == (3, "delivered 3 times, and no member got it done")


async def test_nothing_begins_without_the_right_to() -> None:
    bench = Bench()
    bench.may_begin = False
    bench.work.add([entry(1)])
    assert not await bench.work.progress(0.01)
    assert bench.calls == []
    bench.may_begin = True
    assert await bench.work.progress(1.0)


async def test_what_is_taken_over_comes_in_its_place() -> None:
    bench = Bench()
    bench.work.add([entry(5), entry(7)])
    bench.work.merge([entry(6), entry(4)])
    while not await bench.work.progress(1.0):
        pass
    assert bench.handled == [4, 5, 6, 7]


async def test_handlers_that_ended_leave_the_event_unhandled() -> None:
    bench = Bench()
    bench.work.add([entry(999), entry(1000)])
    for _ in range(3):
        assert not await bench.work.progress(0.001)
    assert bench.calls == [(999, "live")]
    assert len(bench.work.waiting) == 2


async def test_winding_down_cancels_a_handler_that_does_not_return() -> None:
    bench = Bench()
    ticks = 0

    async def hang(*arguments: Any) -> None:
        await asyncio.Event().wait()

    async def tick() -> None:
        nonlocal ticks
        ticks += 1
        bench.time.advance(1.0)

    bench.work._call = hang
    bench.work.add([entry(1), entry(2)])
    await bench.work.progress(0.01)
    async with asyncio.timeout(10):
        await bench.work.wind_down(3.0, tick)
    assert ticks == 3
    assert [item.begun for item in bench.work.waiting] == [1, 0]


def test_options_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="max_attempts"):
        AckedOptions(name="x", max_attempts=0)

"""Slow handlers: policies, bounds, counters, the end; and calls past the queues."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, FeedState, FeedStatus, Topic
from agentexchange._dispatch import SWEEP_S, Dispatcher, HandlerFailed, HandlersEnded
from agentexchange._queue import LAG_SWEEPS, MAX_BYTES
from tests._patience import PATIENCE_S
from tests.sdk._dispatching import ALL, BTC, ETH, ORDERS, add, running
from tests.sdk._timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable


class Gate:
    """A handler that records, and returns from each call when it is let through."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._loop = asyncio.get_running_loop()
        self._called = asyncio.Condition()
        self._passes = threading.Semaphore(0)
        self._async_passes = asyncio.Semaphore(0)

    def sync(self, data: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(self._note(data), self._loop).result(10)
        assert self._passes.acquire(timeout=10)

    async def on_loop(self, data: dict[str, Any]) -> None:
        await self._note(data)
        await self._async_passes.acquire()

    async def _note(self, data: dict[str, Any]) -> None:
        async with self._called:
            self.seen.append(data)
            self._called.notify_all()

    def let(self, calls: int = 1) -> None:
        for _ in range(calls):
            self._passes.release()
            self._async_passes.release()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10), self._called:
            await self._called.wait_for(lambda: len(self.seen) >= count)

    @property
    def prices(self) -> list[str]:
        return [data["price"] for data in self.seen]


def tick(price: object) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "price": str(price), "timestamp": None}


def order(number: object, note: str = "") -> dict[str, Any]:
    return {"order_id": str(number), "status": "filled", "note": note}


async def sweep(timeline: Timeline, times: int) -> None:
    for _ in range(times):
        await timeline.until_asleep(SWEEP_S)
        timeline.slept.clear()
        timeline.advance(SWEEP_S)
        await timeline._until(lambda: bool(timeline.slept))


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens on other threads, too
            await asyncio.sleep(0)


def assert_exact(dispatcher: Dispatcher, put: int) -> None:
    stats = dispatcher.stats()[0]
    assert stats.delivered + stats.conflated + stats.dropped + stats.waiting == put


# Options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"policy": "block"}, "conflate, wait, drop_oldest"),
        ({"policy": ""}, "conflate, wait, drop_oldest"),
        ({"recover": "none"}, "all, latest"),
        ({"max_queue": 0}, "max_queue"),
        ({"max_queue": -5}, "max_queue"),
    ],
)
def test_a_wrong_option_is_a_value_error_at_the_decorator(options: dict[str, Any], says: str) -> None:
    ws = AgentExchangeWS("k")
    decorators: list[Callable[[], object]] = [
        lambda: ws.on_ticker("BTCUSDT", **options),
        lambda: ws.on_candles("BTCUSDT", "1m", **options),
        lambda: ws.on_order_update(**options),
        lambda: ws.on_portfolio(**options),
    ]
    for decorate in decorators:
        with pytest.raises(ValueError, match=says):
            decorate()


def test_a_topic_is_recovered_unless_all_of_its_handlers_want_the_latest_only() -> None:
    dispatcher = Dispatcher()
    add(dispatcher, print, BTC, recover="latest")
    assert not dispatcher.recovers(BTC)
    assert not dispatcher.recovers(ETH)
    add(dispatcher, print, ALL)
    assert dispatcher.recovers(BTC)


# Conflation


@pytest.mark.parametrize("kind", ["sync", "on_loop"])
async def test_a_handler_that_lags_gets_the_newest_each_time_it_comes_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentexchange._runner._SLICE_S", 0.0)  # as if each call took longer than that
    timeline, gate = Timeline(), Gate()
    dispatcher = Dispatcher(sleep=timeline.sleep)
    add(dispatcher, getattr(gate, kind), BTC)
    async with running(dispatcher, deliver=False):
        number = 0
        for call in range(1, 5):
            for _ in range(1000):
                dispatcher.event(BTC, tick(number := number + 1))
                if number == 1:
                    await gate.until(1)
            await sweep(timeline, LAG_SWEEPS + 1)
            assert_exact(dispatcher, number)
            gate.let()
            await gate.until(call + 1)
            assert gate.prices[-1] == str(number)
    gate.let(10)
    assert gate.prices == ["1", "1000", "2000", "3000", "4000"]


async def test_a_short_stall_conflates_nothing_however_long_the_process_was_stopped() -> None:
    timeline, gate = Timeline(), Gate()
    dispatcher = Dispatcher(sleep=timeline.sleep)
    add(dispatcher, gate.on_loop, BTC)
    async with running(dispatcher, deliver=False):
        for number in range(500):
            dispatcher.event(BTC, tick(number))
        await gate.until(1)
        await sweep(timeline, LAG_SWEEPS - 1)
        timeline.advance(3600)  # one late sweep, however late
        gate.let(500)
        await gate.until(500)
    assert gate.prices == [str(number) for number in range(500)]
    assert dispatcher.stats()[0].conflated == 0


async def test_a_handler_that_keeps_up_under_load_is_never_conflated() -> None:
    timeline, gate = Timeline(), Gate()
    dispatcher = Dispatcher(sleep=timeline.sleep)
    add(dispatcher, gate.on_loop, BTC)
    async with running(dispatcher, deliver=False):
        for number in range(100):  # always one behind, none for long
            dispatcher.event(BTC, tick(2 * number))
            dispatcher.event(BTC, tick(2 * number + 1))
            await sweep(timeline, 1)
            gate.let(2)
            await gate.until(2 * number + 1)
    assert dispatcher.stats()[0].conflated == 0


async def test_a_lagging_handler_gives_every_topic_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentexchange._runner._SLICE_S", 0.0)  # as if each call took longer than that
    timeline, seen = Timeline(), list[str]()
    gate = Gate()
    dispatcher = Dispatcher(sleep=timeline.sleep)
    add(dispatcher, gate.on_loop, ALL)
    async with running(dispatcher, deliver=False):
        dispatcher.event(BTC, tick("first"))
        await gate.until(1)
        for number in range(2, 12):
            for price in range(10):
                for symbol in "ABC":
                    dispatcher.event(f"ticker:{symbol}", {"symbol": symbol, "price": f"{number}.{price}"})
                dispatcher.event("ticker:A", {"symbol": "A", "price": f"{number}.{price}"})
            await sweep(timeline, LAG_SWEEPS + 1)
            gate.let()
            await gate.until(number)
            seen.append(gate.seen[-1]["symbol"])
            assert gate.seen[-1]["price"] == f"{number}.9"
    assert seen == list("ABCABCABCA")


# Waiting


@pytest.mark.parametrize("kind", ["sync", "on_loop"])
async def test_a_full_waiting_queue_blocks_its_topic_until_half_of_it_is_gone(kind: str) -> None:
    gate, freed = Gate(), list[str]()
    dispatcher = Dispatcher(max_queue=10)
    dispatcher.log_backed, dispatcher.on_room = True, freed.append
    add(dispatcher, getattr(gate, kind), ORDERS)
    async with running(dispatcher, deliver=False):
        for number in range(11):
            dispatcher.event(ORDERS, order(number))
            if number == 0:
                await gate.until(1)
        assert dispatcher.blocked == set()
        dispatcher.event(ORDERS, order(11))
        assert dispatcher.blocked == {ORDERS}
        dispatcher.event(ORDERS, order(12))  # what was decoded already still waits
        gate.let(5)
        await gate.until(6)
        assert freed == []
        gate.let(20)
        await eventually(lambda: freed == [ORDERS])
        await gate.until(13)
    assert dispatcher.blocked == set()
    assert [data["order_id"] for data in gate.seen] == [str(number) for number in range(13)]
    assert dispatcher.stats()[0].dropped == 0


async def test_a_wildcard_that_waits_blocks_every_ticker() -> None:
    dispatcher, freed = Dispatcher(), list[str]()
    dispatcher.log_backed, dispatcher.on_room = True, freed.append
    add(dispatcher, print, ALL, policy="wait", max_queue=2)
    for number in range(3):
        dispatcher.event(BTC, tick(number))
    assert dispatcher.blocked == {BTC, ALL}
    dispatcher.event(ETH, tick(1))
    assert dispatcher.blocked == {BTC, ETH, ALL}
    dispatcher.close(Topic.parse(ALL))
    assert dispatcher.blocked == set()
    assert set(freed) == {BTC, ETH, ALL}


async def test_without_a_log_nothing_is_blocked() -> None:
    dispatcher = Dispatcher(max_queue=2)
    add(dispatcher, print, ORDERS)
    for number in range(100):
        dispatcher.event(ORDERS, order(number))
    assert dispatcher.blocked == set()
    assert (dispatcher.stats()[0].waiting, dispatcher.stats()[0].dropped) == (20, 80)


async def test_waiting_queues_are_bounded_by_memory() -> None:
    big, dispatcher = "x" * 1_000_000, Dispatcher()
    dispatcher.log_backed = True
    add(dispatcher, print, ORDERS)
    for number in range(MAX_BYTES // len(big)):
        dispatcher.event(ORDERS, order(number, big))
    assert dispatcher.blocked == set()
    for number in range(3):
        dispatcher.event(ORDERS, order(number, big))
    assert dispatcher.blocked == {ORDERS}
    for number in range(200):
        dispatcher.event(ORDERS, order(number, big))
        assert dispatcher.stats()[0].waiting * len(big) <= 2 * MAX_BYTES + len(big)
    assert dispatcher.stats()[0].dropped > 0
    assert_exact(dispatcher, MAX_BYTES // len(big) + 203)


async def test_forming_candles_make_room_for_closed_ones() -> None:
    topic, dispatcher = "candles:BTCUSDT:1m", Dispatcher(max_queue=100)
    dispatcher.log_backed = True
    add(dispatcher, print, topic, closed_only=False)
    for number in range(10):
        for _ in range(50):
            dispatcher.event(topic, {"open_time": str(number), "is_closed": False})
        dispatcher.event(topic, {"open_time": str(number), "is_closed": True})
    items = dispatcher._runners[0].queue.items
    closed = [fields["open_time"] for _, fields, _ in items if fields["is_closed"]]
    assert closed == [str(number) for number in range(10)]
    times = [int(fields["open_time"]) for _, fields, _ in items]
    assert times == sorted(times)
    assert dispatcher.blocked == set()
    assert_exact(dispatcher, 510)


async def test_drop_oldest_loses_the_oldest_and_tells() -> None:
    dispatcher, told = Dispatcher(), list[FeedStatus]()
    add(dispatcher, print, BTC, policy="drop_oldest", max_queue=5)
    add(dispatcher, told.append, None)
    for number in range(8):
        dispatcher.event(BTC, tick(number))
    assert [fields["price"] for _, fields, _ in dispatcher._runners[0].queue.items] == ["3", "4", "5", "6", "7"]
    assert dispatcher.stats()[0].dropped == 3
    assert dispatcher.stats()[1].waiting == 1


# Counters


async def test_the_slowest_call_and_errors_are_counted() -> None:
    dispatcher, gate = Dispatcher(), Gate()

    def fail(_data: dict[str, Any]) -> None:
        raise ZeroDivisionError

    add(dispatcher, gate.on_loop, BTC)
    add(dispatcher, fail, BTC)
    async with running(dispatcher, deliver=False):
        dispatcher.event(BTC, tick(1))
        await gate.until(1)
        before = dispatcher.stats()[0].slowest_s
        await asyncio.to_thread(threading.Event().wait, 0.05)  # the call must last, not just happen
        gate.let()
        await eventually(lambda: dispatcher.stats()[0].slowest_s >= 0.05)
        await eventually(lambda: dispatcher.stats()[1].errors == 1)
    assert before < 0.05


# Status


async def test_a_status_handler_added_later_gets_the_present_state_first() -> None:
    dispatcher, told, late = Dispatcher(), list[FeedStatus](), list[FeedStatus]()
    add(dispatcher, told.append, None)
    now = datetime.now(UTC)
    states = [
        FeedStatus(scope="m0", state=FeedState.BLIND, since=now),
        FeedStatus(scope="m0", topic=BTC, state=FeedState.UNAVAILABLE, since=now),
        FeedStatus(scope="m0", state=FeedState.LIVE, since=now),
        FeedStatus(scope="a-1", state=FeedState.NO_BRIDGE, since=now),
    ]
    async with running(dispatcher, deliver=False):
        for status in states:
            dispatcher.status(status)
        add(dispatcher, late.append, None)
        await eventually(lambda: len(late) == 2 and len(told) == 4)
    add(dispatcher, late.append, None)
    async with running(dispatcher, deliver=False):
        await asyncio.sleep(0)
    assert told == states
    assert late == states[2:]


# The end


@pytest.mark.parametrize("kind", ["sync", "on_loop"])
async def test_draining_delivers_orders_and_ends_when_all_have_returned(kind: str) -> None:
    dispatcher, gate = Dispatcher(), Gate()
    add(dispatcher, getattr(gate, kind), ORDERS)
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    for number in range(100):
        dispatcher.event(ORDERS, order(number))
    await gate.until(1)
    dispatcher.finish(deliver=True, timeout_s=30)
    gate.let(100)
    async with asyncio.timeout(10):
        await task
    assert len(gate.seen) == 100
    assert dispatcher.stats()[0].dropped == 0


@pytest.mark.parametrize("kind", ["sync", "on_loop"])
async def test_draining_has_a_deadline(kind: str) -> None:
    dispatcher, gate = Dispatcher(), Gate()
    add(dispatcher, getattr(gate, kind), ORDERS)
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    for number in range(100):
        dispatcher.event(ORDERS, order(number))
    await gate.until(1)
    dispatcher.finish(deliver=True, timeout_s=0.05)
    async with asyncio.timeout(PATIENCE_S):
        await task
    assert_exact(dispatcher, 100)
    assert dispatcher.stats()[0].dropped == 99
    gate.let()


async def test_draining_can_be_cut_short() -> None:
    dispatcher, gate = Dispatcher(), Gate()
    add(dispatcher, gate.on_loop, ORDERS)
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    dispatcher.event(ORDERS, order(1))
    dispatcher.event(ORDERS, order(2))
    await gate.until(1)
    dispatcher.finish(deliver=True, timeout_s=60)
    dispatcher.finish(deliver=False)
    async with asyncio.timeout(PATIENCE_S):
        await task
    assert len(gate.seen) == 1


# Calls past the queues


async def test_a_call_returns_when_every_handler_has() -> None:
    dispatcher, first, second = Dispatcher(), Gate(), Gate()
    add(dispatcher, first.on_loop, ORDERS)
    add(dispatcher, second.sync, ORDERS)
    async with running(dispatcher, deliver=False):
        call = asyncio.create_task(dispatcher.call(ORDERS, order(1), None, "live", "a-1"))
        await first.until(1)
        assert second.seen == []
        first.let()
        await second.until(1)
        assert not call.done()
        second.let()
        async with asyncio.timeout(PATIENCE_S):
            await call
        await dispatcher.call("portfolio", {}, None, "live", "a-1")  # nobody's
    assert first.seen == second.seen == [order(1)]
    assert [stats.delivered for stats in dispatcher.stats()] == [1, 1]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_call_that_fails_says_who_and_why_and_calls_the_others(
    *, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, seen = Dispatcher(), list[dict[str, Any]]()

    def fail(data: dict[str, Any]) -> None:
        data.clear()
        raise ZeroDivisionError

    async def fail_on_loop(data: dict[str, Any]) -> None:
        fail(data)

    add(dispatcher, fail_on_loop if is_async else fail, ORDERS)
    add(dispatcher, seen.append, ORDERS)
    fields = order(1)
    async with running(dispatcher, deliver=False):
        with pytest.raises(HandlerFailed) as caught:
            await dispatcher.call(ORDERS, fields, None, "live", None)
    assert caught.value.name.endswith("fail_on_loop" if is_async else "fail")
    assert caught.value.topic == ORDERS
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert seen == [order(1)]
    assert fields == order(1)
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert dispatcher.stats()[0].errors == len(logged) == 1


@pytest.mark.parametrize("kind", ["sync", "on_loop"])
async def test_a_cancelled_call_leaves_and_the_next_one_is_made(kind: str) -> None:
    dispatcher, gate = Dispatcher(), Gate()
    add(dispatcher, getattr(gate, kind), ORDERS)
    async with running(dispatcher, deliver=False):
        calls = [asyncio.create_task(dispatcher.call(ORDERS, order(n), None, "live", None)) for n in range(3)]
        await gate.until(1)
        for call in calls[:2]:
            call.cancel()
        gate.let(2)
        async with asyncio.timeout(PATIENCE_S):
            await calls[2]
    assert [data["order_id"] for data in gate.seen] == ["0", "2"]
    assert all(call.cancelled() for call in calls[:2])


async def test_a_call_without_running_handlers_is_told() -> None:
    dispatcher, gate = Dispatcher(), Gate()
    add(dispatcher, gate.sync, ORDERS)
    with pytest.raises(HandlersEnded):
        await dispatcher.call(ORDERS, order(1), None, "live", None)
    async with running(dispatcher, deliver=False):
        calls = [asyncio.create_task(dispatcher.call(ORDERS, order(n), None, "live", None)) for n in range(2)]
        await gate.until(1)
    for call in calls:
        with pytest.raises(HandlersEnded):
            await call
    gate.let(2)


async def test_room_for_one_price_is_enough_to_lose_none_but_replaced_ones() -> None:
    """With room for one, the price that was replaced was counted and told as lost."""
    dispatcher, gate, told = Dispatcher(), Gate(), Gate()
    told.let(10)
    add(dispatcher, gate.on_loop, BTC, max_queue=1)
    add(dispatcher, told.on_loop, None)
    async with running(dispatcher, deliver=False):
        dispatcher.event(BTC, tick(0))
        await gate.until(1)
        for price in range(1, 10):
            dispatcher.event(BTC, tick(price))
        gate.let(10)
        await eventually(lambda: bool(gate.seen) and gate.prices[-1] == "9")
    assert dispatcher.stats()[0].dropped == 0
    assert dispatcher.stats()[0].conflated > 0
    assert told.seen == []


@pytest.mark.parametrize("kind", ["sync", "on_loop"])
async def test_the_end_of_a_loss_is_told_though_no_further_event_comes(kind: str) -> None:
    timeline, gate, told = Timeline(), Gate(), Gate()
    dispatcher = Dispatcher(sleep=timeline.sleep)
    told.let(10)
    add(dispatcher, getattr(gate, kind), ORDERS, policy="drop_oldest", max_queue=2)
    add(dispatcher, told.on_loop, None)
    async with running(dispatcher, deliver=False):
        dispatcher.event(ORDERS, order(0))
        await gate.until(1)
        for number in range(1, 6):
            dispatcher.event(ORDERS, order(number))
        gate.let(10)
        await gate.until(3)
        await told.until(1)
        while len(told.seen) < 2:
            await sweep(timeline, 1)
    began, ended = told.seen
    assert (began.until, ended.count) == (None, 3)

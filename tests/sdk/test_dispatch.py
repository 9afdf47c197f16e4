from __future__ import annotations

import asyncio
import functools
import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from agentexchange import EventMeta, FeedState, FeedStatus, OrderUpdate, Ticker, Topic
from agentexchange._dispatch import Dispatcher
from agentexchange_schemas import Envelope
from tests._patience import PATIENCE_S
from tests.sdk._dispatching import ALL, BTC, ETH, ORDERS, add, running


class Priced(Ticker):
    price_in_euro: str


def tick(price: object = "1", symbol: str = "BTCUSDT") -> dict[str, Any]:
    return {"symbol": symbol, "price": str(price), "timestamp": "2026-02-23T15:30:45.123Z"}


def order(number: object) -> dict[str, Any]:
    return {"order_id": str(number), "status": "filled"}


class Calls:
    """A handler that records; `until` waits for a number of calls, from whatever thread they come."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def sync(self, data: dict[str, Any]) -> None:
        self.seen.append(data)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def on_loop(self, data: dict[str, Any]) -> None:
        self.sync(data)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.seen) < count:
                self._changed.clear()
                await self._changed.wait()


# Routes


async def test_each_handler_gets_its_topic_and_the_wildcard_gets_every_ticker() -> None:
    dispatcher = Dispatcher()
    btc, every, orders = Calls(), Calls(), Calls()
    add(dispatcher, btc.on_loop, BTC)
    add(dispatcher, every.on_loop, ALL)
    add(dispatcher, orders.on_loop, ORDERS)
    async with running(dispatcher):
        dispatcher.event(BTC, tick(1))
        dispatcher.event(ETH, tick(2, "ETHUSDT"))
        dispatcher.event(ORDERS, order(1))
        dispatcher.event("portfolio", {})
        await every.until(2)
    assert [data["price"] for data in btc.seen] == ["1"]
    assert [data["price"] for data in every.seen] == ["1", "2"]
    assert orders.seen == [order(1)]


async def test_one_function_registered_twice_is_called_for_both() -> None:
    dispatcher, calls = Dispatcher(), Calls()
    add(dispatcher, calls.on_loop, BTC)
    add(dispatcher, calls.on_loop, ETH)
    async with running(dispatcher):
        dispatcher.event(BTC, tick(1))
        dispatcher.event(ETH, tick(2))
        await calls.until(2)


async def test_a_closed_topic_is_silent_until_it_is_opened_again() -> None:
    dispatcher, single, every = Dispatcher(), Calls(), Calls()
    add(dispatcher, single.on_loop, BTC)
    add(dispatcher, every.on_loop, ALL)
    async with running(dispatcher):
        dispatcher.close(Topic.parse(BTC))
        dispatcher.event(BTC, tick(1))  # still wanted by the wildcard
        dispatcher.open(Topic.parse(BTC))
        dispatcher.close(Topic.parse(ALL))
        dispatcher.event(BTC, tick(2))
        dispatcher.event(ETH, tick(3))  # nobody's
        await every.until(2)
    assert [data["price"] for data in single.seen] == ["2"]
    assert [data["price"] for data in every.seen] == ["1", "2"]


async def test_a_handler_added_while_running_takes_effect() -> None:
    dispatcher, calls = Dispatcher(), Calls()
    async with running(dispatcher):
        dispatcher.event(BTC, tick(1))
        add(dispatcher, calls.sync, BTC)
        dispatcher.event(BTC, tick(2))
        await calls.until(1)
    assert calls.seen == [tick(2)]


async def test_no_handler_sees_what_another_does_to_its_dict() -> None:
    dispatcher, calls = Dispatcher(), Calls()

    async def spoil(data: dict[str, Any]) -> None:
        data["nested"]["deep"].append("spoilt")
        data.clear()

    add(dispatcher, spoil, BTC)
    add(dispatcher, calls.on_loop, BTC)
    add(dispatcher, spoil, ALL)
    async with running(dispatcher):
        dispatcher.event(BTC, {**tick(), "nested": {"deep": [1]}})
        await calls.until(1)
    assert calls.seen == [{**tick(), "nested": {"deep": [1]}}]


async def test_forming_candles_only_for_those_who_ask() -> None:
    topic = "candles:BTCUSDT:1m"
    dispatcher, closed, every = Dispatcher(), Calls(), Calls()
    add(dispatcher, closed.on_loop, topic)
    add(dispatcher, every.on_loop, topic, closed_only=False)
    candle = {"symbol": "BTCUSDT", "interval": "1m", "open": "1", "high": "1", "low": "1", "close": "1"}
    async with running(dispatcher):
        for flag in ({"is_closed": False}, {"is_closed": True}, {}):
            dispatcher.event(topic, candle | flag)
        await every.until(3)
    assert [data.get("is_closed") for data in closed.seen] == [True, None]


# Arguments


async def test_models_and_metadata() -> None:
    dispatcher = Dispatcher()
    got: list[tuple[Ticker, EventMeta]] = []

    async def on_tick(data: Ticker, meta: EventMeta) -> None:
        got.append((data, meta))

    add(dispatcher, on_tick, BTC)
    async with running(dispatcher):
        before = datetime.now(UTC)
        dispatcher.event(BTC, tick("64000.10"))
        envelope = Envelope(BTC, 7, 3, 1_700_000_000_000, 1_700_000_000_500_250, tick(), 1_700_000_000_501_000)
        dispatcher.event(BTC, tick(), envelope, "latest", "m0")
    (first, direct), (_, shared) = got
    assert first == Ticker(**tick("64000.10"))
    assert (direct.topic, direct.scope, direct.epoch, direct.seq, direct.log_id) == (BTC, None, None, None, None)
    assert direct.source == "live"
    assert direct.upstream_time == datetime(2026, 2, 23, 15, 30, 45, 123000, UTC)
    assert abs((direct.received_time - before).total_seconds()) < 5
    assert (shared.scope, shared.epoch, shared.seq, shared.source) == ("m0", 7, 3, "latest")
    assert shared.log_id == "1700000000500-250"
    assert shared.received_time == datetime(2023, 11, 14, 22, 13, 20, 500250, UTC)
    assert shared.written_time == datetime(2023, 11, 14, 22, 13, 20, 501000, UTC)
    assert direct.written_time is None
    assert before <= direct.received_time <= direct.delivered_time <= shared.delivered_time <= datetime.now(UTC)


async def test_a_status_reaches_status_handlers() -> None:
    dispatcher, calls = Dispatcher(), Calls()
    add(dispatcher, calls.sync, None)
    status = FeedStatus(state=FeedState.LIVE, since=datetime.now(UTC))
    async with running(dispatcher):
        dispatcher.status(status)
        await calls.until(1)
    assert calls.seen == [status]


# Failures


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of failures; a thread of an earlier test may still end meanwhile, and say so."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_handler_that_raises_is_logged_and_stops_nothing(
    *, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher, calls = Dispatcher(), Calls()

    def fail(data: dict[str, Any]) -> None:
        calls.sync(data)
        raise ZeroDivisionError

    async def fail_on_loop(data: dict[str, Any]) -> None:
        fail(data)

    add(dispatcher, fail_on_loop if is_async else fail, BTC)
    async with running(dispatcher):
        dispatcher.event(BTC, tick(1))
        dispatcher.event(BTC, tick(2))
        await calls.until(2)
    assert len(errors(caplog)) == 2
    assert all(".fail" in line and BTC in line for line in errors(caplog))
    assert dispatcher.stats()[0].errors == 2


async def test_a_handler_that_fails_all_the_time_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher()

    async def fail(_data: dict[str, Any]) -> None:
        raise ZeroDivisionError

    add(dispatcher, fail, BTC)
    async with running(dispatcher):
        for number in range(1000):
            dispatcher.event(BTC, tick(number))
    assert dispatcher.stats()[0].errors == 1000
    assert 10 <= len(errors(caplog)) < 20


async def test_a_model_that_does_not_fit_is_a_failure_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, calls = Dispatcher(), Calls()

    async def on_tick(_data: Priced) -> None:
        pytest.fail("not called")

    add(dispatcher, on_tick, BTC)
    add(dispatcher, calls.on_loop, BTC)
    async with running(dispatcher):
        dispatcher.event(BTC, tick())
        await calls.until(1)
    assert "price_in_euro" in caplog.text


async def test_a_sync_handler_that_returns_a_coroutine_is_told(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher()

    async def real(_data: dict[str, Any]) -> None: ...

    add(dispatcher, lambda data: real(data), BTC)  # noqa: PLW0108 - the mistake that is meant
    async with running(dispatcher):
        dispatcher.event(BTC, tick())
    assert "async def" in caplog.text


async def test_a_handler_that_awaits_something_cancelled_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, calls = Dispatcher(), Calls()

    async def on_tick(data: dict[str, Any]) -> None:
        calls.sync(data)
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    add(dispatcher, on_tick, BTC)
    async with running(dispatcher):
        dispatcher.event(BTC, tick(1))
        dispatcher.event(BTC, tick(2))
        await calls.until(2)
    assert len(errors(caplog)) == 2


async def test_a_sync_handler_that_raises_cancelled_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher, calls = Dispatcher(), Calls()

    def on_tick(data: dict[str, Any]) -> None:
        calls.sync(data)
        raise asyncio.CancelledError

    add(dispatcher, on_tick, BTC)
    async with running(dispatcher):
        dispatcher.event(BTC, tick(1))
        dispatcher.event(BTC, tick(2))
        await calls.until(2)
    assert len(errors(caplog)) == 2


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("is_async", [True, False])
def test_system_exit_in_a_handler_ends_the_program(exc: BaseException, *, is_async: bool) -> None:
    def leave(_data: dict[str, Any]) -> None:
        raise exc

    async def leave_on_loop(data: dict[str, Any]) -> None:
        leave(data)

    async def main() -> None:
        dispatcher = Dispatcher()
        add(dispatcher, leave_on_loop if is_async else leave, BTC)
        async with running(dispatcher) as task:
            dispatcher.event(BTC, tick())
            await asyncio.wait_for(task, PATIENCE_S)

    with pytest.raises(type(exc)):
        asyncio.run(main())


# Slow handlers


async def test_a_slow_handler_delays_nobody() -> None:
    dispatcher, calls = Dispatcher(), Calls()
    release = threading.Event()

    async def forever(_data: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    add(dispatcher, forever, BTC)
    add(dispatcher, lambda _data: release.wait(60), BTC)
    add(dispatcher, calls.on_loop, BTC)
    add(dispatcher, calls.sync, BTC)
    async with running(dispatcher):
        for number in range(100):
            dispatcher.event(BTC, tick(number))
        await calls.until(200)
        dispatcher.finish(deliver=False)
    release.set()


async def test_the_end_waits_a_second_for_calls_under_way_and_no_longer() -> None:
    dispatcher = Dispatcher()
    started, release, cancelled = asyncio.Event(), threading.Event(), asyncio.Event()

    async def forever(_data: dict[str, Any]) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    add(dispatcher, forever, BTC)
    add(dispatcher, lambda _data: release.wait(60), BTC)
    async with running(dispatcher) as task:
        dispatcher.event(BTC, tick())
        await started.wait()
        dispatcher.finish(deliver=False)
        async with asyncio.timeout(PATIENCE_S):
            await task
    assert cancelled.is_set()
    release.set()


async def test_what_waits_is_delivered_or_dropped_as_told() -> None:
    for deliver in (True, False):
        dispatcher, calls = Dispatcher(), Calls()
        add(dispatcher, calls.on_loop, BTC)
        task = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(0)
        dispatcher.event(BTC, tick(1))
        dispatcher.finish(deliver=deliver)
        await task
        assert len(calls.seen) == deliver


async def test_a_full_ticker_queue_keeps_the_newest_of_each_symbol() -> None:
    dispatcher, calls = Dispatcher(max_queue=100), Calls()
    gate = asyncio.Event()

    async def slow(data: dict[str, Any]) -> None:
        calls.sync(data)
        await gate.wait()

    add(dispatcher, slow, ALL)
    async with running(dispatcher):
        dispatcher.event(BTC, tick("first"))
        await calls.until(1)
        for number in range(1000):
            dispatcher.event(BTC, tick(number))
            dispatcher.event(ETH, tick(number, "ETHUSDT"))
        assert dispatcher.stats()[0].waiting <= 100
        gate.set()
    stats = dispatcher.stats()[0]
    assert stats.conflated + stats.delivered == 2001
    assert stats.dropped == 0
    for symbol in ("BTCUSDT", "ETHUSDT"):
        prices = [int(data["price"]) for data in calls.seen[1:] if data["symbol"] == symbol]
        assert prices == sorted(prices)
        assert prices[-1] == 999


async def test_more_symbols_than_room_is_bounded_too() -> None:
    dispatcher = Dispatcher(max_queue=10)
    add(dispatcher, lambda _data: None, ALL)
    for number in range(1000):
        dispatcher.event(f"ticker:S{number}", tick(number, f"S{number}"))
    stats = dispatcher.stats()[0]
    assert stats.waiting <= 10
    assert stats.waiting + stats.dropped == 1000


async def test_orders_wait_far_longer_and_their_loss_is_told() -> None:
    dispatcher, calls, told = Dispatcher(max_queue=10), Calls(), Calls()
    gate, delivered = asyncio.Event(), asyncio.Event()

    async def slow(data: OrderUpdate) -> None:
        await gate.wait()
        calls.seen.append(data.order_id)
        if data.order_id == "149":
            delivered.set()

    add(dispatcher, slow, ORDERS)
    add(dispatcher, told.on_loop, None)
    async with running(dispatcher):
        dispatcher.event(ORDERS, order("first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number in range(150):
            dispatcher.event(ORDERS, order(number))
        await told.until(1)
        gate.set()
        await delivered.wait()
        await asyncio.sleep(0)
        dispatcher.event(ORDERS, order("last"))
        await told.until(2)
    dropped = dispatcher.stats()[0].dropped
    assert dropped == 50
    assert calls.seen == ["first", *map(str, range(50, 150)), "last"]
    began, ended = told.seen
    assert (began.cause, began.topic, began.until, began.count) == ("dropped", ORDERS, None, None)
    assert (ended.cause, ended.topic, ended.count) == ("dropped", ORDERS, 50)
    assert ended.since == began.since
    assert ended.until is not None


async def test_order_within_a_handler_holds_on_a_thread_under_load() -> None:
    dispatcher, calls = Dispatcher(), Calls()
    add(dispatcher, lambda data: calls.seen.append(data["price"]), BTC)
    async with running(dispatcher):
        for number in range(5000):
            dispatcher.event(BTC, tick(number))
            if number % 500 == 0:
                await asyncio.sleep(0)
    assert calls.seen == [str(number) for number in range(5000)]


async def test_it_runs_again_with_empty_queues() -> None:
    dispatcher, calls = Dispatcher(), Calls()
    add(dispatcher, calls.sync, BTC)
    async with running(dispatcher):
        dispatcher.event(BTC, tick(1))
        await calls.until(1)
    dispatcher.event(BTC, tick("left over"))
    async with running(dispatcher):
        dispatcher.event(BTC, tick(2))
        await calls.until(2)
    assert [data["price"] for data in calls.seen] == ["1", "2"]


async def test_cancelling_ends_the_handlers() -> None:
    dispatcher = Dispatcher()
    ended = asyncio.Event()

    async def forever(_data: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    add(dispatcher, forever, BTC)
    add(dispatcher, functools.partial(print, end=""), ETH)
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    dispatcher.event(BTC, tick())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_routes_are_bounded() -> None:
    dispatcher = Dispatcher()
    add(dispatcher, lambda _data: None, BTC)
    for number in range(20_000):
        dispatcher.event(f"ticker:S{number}", {})
    assert len(dispatcher.routes) <= 8192

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import (
    AgentExchangeWS,
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the documented name
    FeedStatus,
    OrderUpdate,
    Ticker,
    Topic,
    UsageError,
)
from agentexchange.testing import DEMO_KEY, SandboxExchange, SandboxThread
from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BTC, SOL, ALL = "ticker:BTCUSDT", "ticker:SOLUSDT", "ticker:all"


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(pairs=10, rate=0) as exchange:
        yield exchange


class Box:
    """What handlers were given, and a way to wait for it on the test's loop."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def put(self, data: Any) -> None:
        self.seen.append(data)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                self._changed.clear()
                await self._changed.wait()


def client(sandbox: SandboxExchange, **options: Any) -> AgentExchangeWS:
    return AgentExchangeWS(DEMO_KEY, sandbox.url, **options)


# Construction


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": None}, "api_key"),
        ({"api_key": "k", "base_url": "ftp://x"}, "redis://"),
        ({"api_key": "k", "base_url": ""}, "ws://"),
        ({"api_key": "k", "max_queue": 0}, "max_queue"),
        ({"api_key": "k", "stale_after": -1}, "stale_after"),
        ({"api_key": "k", "open_timeout": float("nan")}, "open_timeout"),
    ],
)
def test_bad_arguments_are_value_errors(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AgentExchangeWS(**options)


def test_the_key_is_not_in_the_repr() -> None:
    ws = AgentExchangeWS("ak_live_secret", "ws://localhost:8000")
    assert repr(ws) == "<AgentExchangeWS ws://localhost:8000/ws/v1 api_key='***' new>"
    assert "secret" not in repr(vars(ws))


@pytest.mark.parametrize("symbol", ["", "  ", "../etc", "BTC USDT", "A" * 33, "ticker:BTC", "ÄTH", None, 7])
def test_an_empty_or_hostile_symbol(symbol: Any) -> None:
    ws = AgentExchangeWS("k")
    with pytest.raises(ValueError, match="BTCUSDT"):
        ws.on_ticker(symbol)
    with pytest.raises(ValueError, match="BTCUSDT"):
        ws.on_candles(symbol, "1m")


@pytest.mark.parametrize("interval", ["", "2m", "1M", "60", None])
def test_a_wrong_interval_names_the_valid_ones(interval: Any) -> None:
    with pytest.raises(ValueError, match="1m, 5m, 15m, 1h, 4h, 1d"):
        AgentExchangeWS("k").on_candles("BTCUSDT", interval)


@pytest.mark.parametrize("topic", ["", "ticker", "BTCUSDT", "candles:BTCUSDT", "candles:all:1m", "orders:1", None])
def test_a_wrong_topic(topic: Any) -> None:
    ws = AgentExchangeWS("k")
    for method in (ws.subscribe, ws.unsubscribe):
        with pytest.raises(ValueError, match=r"topic|wildcard"):
            method(topic)


def test_decorators_return_the_function_and_stack() -> None:
    ws = AgentExchangeWS("k")

    def handler(data: dict[str, Any]) -> None: ...

    decorated = ws.on_ticker(" btcusdt ")(ws.on_ticker("ALL")(ws.on_candles("BTCUSDT", "1m")(handler)))
    assert decorated is handler
    assert ws.on_order_update()(handler) is handler
    assert ws.on_portfolio()(handler) is handler
    assert ws.on_status()(handler) is handler
    topics = [stats.topic for stats in ws.stats().handlers]
    assert topics == ["candles:BTCUSDT:1m", ALL, BTC, "orders", "portfolio", "status"]


def test_a_wrong_handler_is_a_type_error() -> None:
    ws = AgentExchangeWS("k")
    with pytest.raises(TypeError, match="handler"):
        ws.on_ticker("BTCUSDT")(lambda: None)
    with pytest.raises(TypeError, match="OrderUpdate"):

        @ws.on_ticker("BTCUSDT")
        def handler(order: OrderUpdate) -> None: ...


# Delivery


async def test_handlers_get_flat_dicts_models_and_statuses(sandbox: SandboxExchange) -> None:
    ws, dicts, models, orders, statuses = client(sandbox), Box(), Box(), Box(), Box()
    portfolios, candles = Box(), Box()
    ws.on_portfolio()(portfolios.put)
    ws.on_candles("BTCUSDT", "1m")(candles.put)

    @ws.on_ticker("BTCUSDT")
    async def on_dict(data: dict[str, Any]) -> None:
        dicts.put(data)

    @ws.on_ticker("all")
    def on_model(tick: Ticker) -> None:
        models.put(tick)

    @ws.on_order_update()
    async def on_order(order: OrderUpdate) -> None:
        orders.put(order)

    @ws.on_status()
    def on_status(status: FeedStatus) -> None:
        statuses.put(str(status.state))

    async with ws:
        await sandbox.control.wait_for_subscriptions(ALL, "orders", "portfolio", "candles:BTCUSDT:1m")
        candle = {"time": "2026-02-23T15:30:00Z"} | dict.fromkeys(("open", "high", "low", "close", "volume"), "1")
        for is_closed in (False, True):
            sandbox.control.push_candle("BTCUSDT", "1m", candle | {"is_closed": is_closed})
        sandbox.control.send_portfolio()
        sandbox.control.push_tick("BTCUSDT", price="64000.10")
        sandbox.control.push_tick("ETHUSDT", price="3000")
        sandbox.control.step_orders(1)
        await dicts.until(1)
        await models.until(2)
        await orders.until(1)
        await statuses.until(2)
        await candles.until(1)
        await portfolios.until(1)
    assert [data["open_time"] for data in candles.seen] == ["2026-02-23T15:30:00Z"]
    assert list(portfolios.seen[0])[:4] == ["total_equity", "available_cash", "unrealized_pnl", "roi_pct"]
    assert dicts.seen[0].keys() >= {"symbol", "price", "timestamp", "quantity", "is_buyer_maker"}
    assert [tick.price for tick in models.seen] == ["64000.10", "3000"]
    assert statuses.seen == ["connecting", "live"]
    assert sandbox.control.frames_sent["tick"] == 2, "a symbol is not subscribed both ways"


async def test_subscribe_and_unsubscribe_while_connected(sandbox: SandboxExchange) -> None:
    ws, btc, sol, every = client(sandbox), Box(), Box(), Box()
    ws.on_ticker("BTCUSDT")(btc.put)
    ws.on_ticker("all")(every.put)
    ws.unsubscribe(ALL)
    async with ws:
        await sandbox.control.wait_for_subscriptions(BTC)
        ws.subscribe("ticker:solusdt", sol.put)
        ws.subscribe(Topic.ticker("ETHUSDT"))
        await sandbox.control.wait_for_subscriptions(SOL, "ticker:ETHUSDT")
        for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"):
            sandbox.control.push_tick(symbol, price="1")
        await every.until(3)
        ws.unsubscribe(BTC)
        await sandbox.control.wait_for_no_subscriptions(BTC)
        ws.subscribe(BTC)
        await sandbox.control.wait_for_subscriptions(BTC)
        sandbox.control.push_tick("BTCUSDT", price="2")
        await btc.until(2)
    assert [data["price"] for data in btc.seen] == ["1", "2"]
    assert [data["symbol"] for data in sol.seen] == ["SOLUSDT"]
    assert [data["symbol"] for data in every.seen[:3]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


async def test_private_events_stop_at_unsubscribe_though_upstream_sends_them(sandbox: SandboxExchange) -> None:
    ws, orders, btc = client(sandbox), Box(), Box()
    ws.on_order_update()(orders.put)
    ws.on_ticker("BTCUSDT")(btc.put)
    async with ws:
        await sandbox.control.wait_for_subscriptions(BTC, "orders")
        ws.unsubscribe("orders")
        await sandbox.control.wait_for_no_subscriptions("orders")
        sandbox.control.step_orders(1)
        sandbox.control.push_tick("BTCUSDT", price="1")
        await btc.until(1)
    assert orders.seen == []


async def test_a_topic_without_handlers_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    ws = AgentExchangeWS("k")
    ws.subscribe("ticker:SOLUSDT")
    assert "ticker:SOLUSDT" in caplog.text


async def test_subscribe_from_another_thread_and_from_a_handler(sandbox: SandboxExchange) -> None:
    ws, sol = client(sandbox), Box()

    @ws.on_ticker("BTCUSDT")
    def on_btc(_data: dict[str, Any]) -> None:
        ws.on_ticker("SOLUSDT")(sol.put)

    async with ws:
        await sandbox.control.wait_for_subscriptions(BTC)
        await asyncio.to_thread(ws.subscribe, "ticker:ETHUSDT")
        sandbox.control.push_tick("BTCUSDT", price="1")
        await sandbox.control.wait_for_subscriptions(SOL, "ticker:ETHUSDT")
        sandbox.control.push_tick("SOLUSDT", price="1")
        await sol.until(1)


# Life


async def test_connect_twice_at_once_and_again_afterwards(sandbox: SandboxExchange) -> None:
    ws, box = client(sandbox), Box()
    ws.on_ticker("BTCUSDT")(box.put)
    for number in range(1, 3):
        task = asyncio.create_task(ws.connect())
        await sandbox.control.wait_for_subscriptions(BTC)
        with pytest.raises(UsageError, match="already"):
            await ws.connect()
        sandbox.control.push_tick("BTCUSDT", price=str(number))
        await box.until(number)
        await ws.disconnect()
        assert task.done()
        await task
        await sandbox.control.wait_for_connections(0)
    await ws.disconnect()


async def test_a_handler_may_disconnect(sandbox: SandboxExchange) -> None:
    ws, box = client(sandbox), Box()

    @ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any]) -> None:
        box.put(data)
        await ws.disconnect()

    task = asyncio.create_task(ws.connect())
    await sandbox.control.wait_for_subscriptions(BTC)
    for _ in range(3):
        sandbox.control.push_tick("BTCUSDT", price="1")
    async with asyncio.timeout(PATIENCE_S):
        await task
    assert len(box.seen) == 1


@pytest.mark.parametrize("leave", ["disconnect", "block"])
async def test_orders_that_wait_are_delivered_when_asked_for(sandbox: SandboxExchange, leave: str) -> None:
    ws, orders, gate, every = client(sandbox), Box(), asyncio.Event(), Box()

    @ws.on_order_update()
    async def on_order(order: OrderUpdate) -> None:
        orders.put(order)
        await gate.wait()

    ws.on_order_update()(every.put)
    async with ws:
        await sandbox.control.wait_for_subscriptions("orders")
        sandbox.control.step_orders(5)
        await every.until(5)
        await orders.until(1)
        asyncio.get_running_loop().call_soon(gate.set)
        if leave == "disconnect":
            await ws.disconnect(drain=True, timeout=20)
    stats = ws.stats()
    assert len(orders.seen) == len(every.seen) == stats.handlers[0].delivered == 5
    assert stats.transport["events"] >= 5  # the platform sends portfolios unasked
    with pytest.raises(ValueError, match="timeout"):
        ws.stop(drain=True, timeout=0)


async def test_stop_before_connect_ends_it_as_it_starts() -> None:
    ws = AgentExchangeWS("k", "ws://127.0.0.1:1")
    ws.stop()
    async with asyncio.timeout(PATIENCE_S):
        await ws.connect()


async def test_stop_after_the_end_does_not_spoil_the_next_connect(sandbox: SandboxExchange) -> None:
    ws = client(sandbox)
    ws.on_ticker("BTCUSDT")(lambda _data: None)
    async with ws:
        await sandbox.control.wait_for_subscriptions(BTC)
    ws.stop()
    async with ws:
        await sandbox.control.wait_for_subscriptions(BTC)


async def test_cancelling_connect(sandbox: SandboxExchange) -> None:
    ws = client(sandbox)
    ws.on_ticker("BTCUSDT")(lambda _data: None)
    task = asyncio.create_task(ws.connect())
    await sandbox.control.wait_for_subscriptions(BTC)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sandbox.control.wait_for_connections(0)


async def test_an_authentication_error_leaves_connect_and_is_told_first(sandbox: SandboxExchange) -> None:
    ws, statuses = AgentExchangeWS("ak_wrong", sandbox.url), Box()

    @ws.on_status()
    async def on_status(status: FeedStatus) -> None:
        statuses.put(str(status.state))

    with pytest.raises(AuthenticationError) as caught:
        await ws.connect()
    assert caught.value.status_code == 403
    assert statuses.seen == ["connecting", "auth_failed"]


async def test_a_terminal_error_ends_the_block_and_is_raised_from_it(sandbox: SandboxExchange) -> None:
    ws = AgentExchangeWS("ak_wrong", sandbox.url)
    with pytest.raises(AuthenticationError):
        async with asyncio.timeout(10), ws:
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_blocks_own_error_is_not_replaced(sandbox: SandboxExchange) -> None:
    ws = client(sandbox)
    with pytest.raises(ZeroDivisionError):
        async with ws:
            raise ZeroDivisionError
    await sandbox.control.wait_for_connections(0)


async def test_cancelling_a_block_disconnects(sandbox: SandboxExchange) -> None:
    ws = client(sandbox)
    ws.on_ticker("BTCUSDT")(lambda _data: None)

    async def block() -> None:
        async with ws:
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await sandbox.control.wait_for_subscriptions(BTC)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await sandbox.control.wait_for_connections(0)


async def test_run_forever_in_a_running_loop_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="await connect"):
        AgentExchangeWS("k").run_forever()


def test_run_forever_in_a_thread_until_stop() -> None:
    with SandboxThread(pairs=3, rate=500) as sandbox:
        ws = AgentExchangeWS(DEMO_KEY, sandbox.url)
        came = threading.Event()
        ws.on_ticker("BTCUSDT")(lambda _data: came.set())
        for _ in range(2):
            came.clear()
            thread = threading.Thread(target=ws.run_forever, daemon=True)
            thread.start()
            assert came.wait(10)
            ws.stop()
            thread.join(10)
            assert not thread.is_alive()


def test_stop_races_the_start_of_run_forever() -> None:
    with SandboxThread(pairs=3, rate=0) as sandbox:
        for _ in range(20):
            ws = AgentExchangeWS(DEMO_KEY, sandbox.url)
            thread = threading.Thread(target=ws.run_forever, daemon=True)
            thread.start()
            ws.stop()
            thread.join(10)
            assert not thread.is_alive()


def test_run_forever_raises_what_connect_raises() -> None:
    with SandboxThread(pairs=3, rate=0) as sandbox, pytest.raises(AuthenticationError):
        AgentExchangeWS("ak_wrong", sandbox.url).run_forever()


async def test_a_port_without_a_websocket_server() -> None:
    talker = await asyncio.start_server(_answer_ssh, "127.0.0.1", 0)
    async with talker:
        port = talker.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError, match="base_url"):
            await AgentExchangeWS("k", f"ws://127.0.0.1:{port}").connect()


async def _answer_ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_a_handler_that_sleeps_costs_no_heartbeat_and_no_other_handler_an_event(
    sandbox: SandboxExchange,
) -> None:
    ws, box, release = client(sandbox), Box(), threading.Event()
    ws.on_ticker("BTCUSDT")(lambda _data: release.wait(60))
    ws.on_ticker("BTCUSDT")(box.put)

    @ws.on_ticker("BTCUSDT")
    async def asleep(_data: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    async with ws:
        await sandbox.control.wait_for_subscriptions(BTC)
        for number in range(100):
            sandbox.control.push_tick("BTCUSDT", price=str(number))
        await box.until(100)
        sandbox.control.ping()
        await sandbox.control.wait_for_pongs(1)
    release.set()
    assert [data["price"] for data in box.seen] == [str(number) for number in range(100)]


@pytest.mark.parametrize(
    "ending",
    ["signal.raise_signal(signal.SIGINT)", "os.kill(os.getpid(), signal.SIGINT)"],
)
def test_ctrl_c_ends_run_forever_cleanly(ending: str) -> None:
    program = f"""
import os, signal, sys, threading, time
from agentexchange import AgentExchangeWS
ws = AgentExchangeWS({DEMO_KEY!r}, sys.argv[1])

@ws.on_ticker("BTCUSDT")
async def on_btc(data):
    {ending}

@ws.on_ticker("BTCUSDT")
def stuck(data):
    time.sleep(60)

ws.run_forever()
print("ended")
"""
    with SandboxThread(pairs=3, rate=500) as sandbox:
        done = subprocess.run(
            [sys.executable, "-c", program, sandbox.url], capture_output=True, text=True, timeout=30, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


@pytest.mark.parametrize("turns", range(8))
async def test_a_block_that_is_left_at_any_step_of_the_start_ends(sandbox: SandboxExchange, turns: int) -> None:
    """Draining before the dispatcher's first step found nothing to finish: the dispatcher ran for ever."""
    ws = client(sandbox)
    ws.on_ticker("BTCUSDT")(Box().put)
    async with asyncio.timeout(10):
        async with ws:
            for _ in range(turns):
                await asyncio.sleep(0)
    assert "ended" in repr(ws)

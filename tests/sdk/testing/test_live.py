"""The live dialect, line by line of the protocol table."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosedOK

from tests.sdk.testing._bare import bare, error

if TYPE_CHECKING:
    from agentexchange.testing import SandboxExchange
    from agentexchange.testing._server import LocalExchange

pytestmark = pytest.mark.sandbox_exchange(rate=0, pairs=10)


async def test_no_greeting_and_exact_acks_in_order(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        await client.send({"action": "subscribe", "channel": "ticker", "symbol": "BTCUSDT", "id": 7})
        await client.send({"action": "subscribe", "channel": "ticker_all"})
        await client.send({"action": "subscribe", "channel": "candles", "symbol": "BTCUSDT", "interval": "1m"})
        await client.send({"action": "subscribe", "channel": "orders"})
        await client.send({"action": "unsubscribe", "channel": "portfolio"})
        assert [await client.raw() for _ in range(5)] == [
            '{"type":"subscribed","channel":"ticker:BTCUSDT"}',
            '{"type":"subscribed","channel":"ticker:all"}',
            '{"type":"subscribed","channel":"candles:BTCUSDT:1m"}',
            '{"type":"subscribed","channel":"orders"}',
            '{"type":"unsubscribed","channel":"portfolio"}',
        ]


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d"])
async def test_candle_intervals_that_are_taken(exchange: LocalExchange, interval: str) -> None:
    async with bare(exchange.url) as client:
        ack = await client.subscribe("candles", symbol="BTCUSDT", interval=interval)
        assert ack == {"type": "subscribed", "channel": f"candles:BTCUSDT:{interval}"}


@pytest.mark.parametrize(
    "request_fields",
    [
        {"channel": "candles", "symbol": "BTCUSDT", "interval": "15m"},
        {"channel": "candles", "symbol": "BTCUSDT", "interval": "4h"},
        {"channel": "candles", "symbol": "BTCUSDT"},
        {"channel": "candles", "symbol": "BTCUSDT", "interval": 1},
        {"channel": "ticker:BTCUSDT"},
        {"channel": "candles:BTCUSDT:1m"},
        {"channel": "ticker"},
        {"channel": "ticker", "symbol": "  "},
        {"channel": "trades", "symbol": "BTCUSDT"},
        {"channel": 5},
        {"channel": ["ticker"]},
        {},
    ],
)
@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
async def test_invalid_channels(exchange: LocalExchange, request_fields: dict[str, Any], action: str) -> None:
    async with bare(exchange.url) as client:
        assert await client.ask({"action": action, **request_fields}) == error("INVALID_CHANNEL")
        await client.proves_silent()


async def test_the_eleventh_subscription_is_refused_and_the_connection_stays(
    exchange: LocalExchange,
) -> None:
    async with bare(exchange.url) as client:
        for number in range(10):
            assert (await client.subscribe("ticker", symbol=f"S{number}"))["type"] == "subscribed"
        assert await client.subscribe("ticker", symbol="S10") == error("SUBSCRIPTION_LIMIT")
        assert (await client.subscribe("ticker", symbol="S3"))["type"] == "subscribed"
        assert (await client.unsubscribe("ticker", symbol="S0"))["type"] == "unsubscribed"
        assert (await client.subscribe("orders"))["type"] == "subscribed"
        assert await client.subscribe("portfolio") == error("SUBSCRIPTION_LIMIT")


@pytest.mark.parametrize("message", [{"action": "dance"}, {}, {"action": 3}, {"action": None}, {"type": "pong"}])
async def test_unknown_actions_are_told_and_the_connection_stays(
    exchange: LocalExchange, message: dict[str, Any]
) -> None:
    async with bare(exchange.url) as client:
        assert await client.ask(message) == error("UNKNOWN_ACTION")
        await client.proves_silent()


@pytest.mark.parametrize(
    "junk",
    [
        "not json",
        "",
        "[" * 60_000,
        "[]",
        '"text"',
        "5",
        "null",
        b'{"action":"pong"}',
        '{"action":"subscribe","channel":"ticker","symbol":5}',
        '{"action":"subscribe","channel":"ticker","symbol":null}',
        '{"action":"unsubscribe","channel":"candles","symbol":["BTCUSDT"],"interval":"1m"}',
    ],
    ids=lambda junk: repr(junk[:40]),
)
async def test_junk_closes_with_1000_and_no_error_frame(exchange: LocalExchange, junk: str | bytes) -> None:
    async with bare(exchange.url) as client:
        await client.send(junk)
        with pytest.raises(ConnectionClosedOK):
            await client.raw()
        assert client.socket.protocol.close_code == 1000


async def test_symbols_are_trimmed_upper_cased_and_never_checked(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        assert (await client.subscribe("ticker", symbol=" btcusdt\t"))["channel"] == "ticker:BTCUSDT"
        assert (await client.subscribe("ticker", symbol='no "such" päir'))["channel"] == 'ticker:NO "SUCH" PÄIR'
        assert (await client.subscribe("ticker", symbol="\ud800"))["channel"] == "ticker:\ud800"
        sandbox_exchange.control.push_tick("BTCUSDT", price="1")
        assert (await client.next())["symbol"] == "BTCUSDT"


async def test_symbol_all_is_acknowledged_and_silent(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        assert (await client.subscribe("ticker", symbol="all"))["channel"] == "ticker:ALL"
        sandbox_exchange.control.tick(100)
        await client.proves_silent()


async def test_a_tick_frame_in_every_character(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker", symbol="BTCUSDT")
        sandbox_exchange.control.push_tick(
            "BTCUSDT",
            price="64521.30000000",
            quantity="0.01200000",
            timestamp="2026-02-23T15:30:45.123Z",
        )
        assert await client.raw() == (
            '{"channel":"ticker","symbol":"BTCUSDT","data":{"price":"64521.30000000","quantity":"0.01200000",'
            '"timestamp":"2026-02-23T15:30:45.123Z","is_buyer_maker":false}}'
        )


async def test_the_market_s_own_ticks_have_the_same_form(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker_all")
        sandbox_exchange.control.tick(200)
        for _ in range(200):
            frame = await client.next()
            assert list(frame) == ["channel", "symbol", "data"]
            assert list(frame["data"]) == ["price", "quantity", "timestamp", "is_buyer_maker"]
            assert re.fullmatch(r"\d+\.\d{8}", frame["data"]["price"])
            assert re.fullmatch(r"\d+\.\d{8}", frame["data"]["quantity"])
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", frame["data"]["timestamp"])
            assert isinstance(frame["data"]["is_buyer_maker"], bool)


async def test_subscribed_both_ways_each_tick_comes_twice_identical_and_adjacent(
    sandbox_exchange: SandboxExchange,
) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker_all")
        await client.subscribe("ticker", symbol="BTCUSDT")
        sandbox_exchange.control.tick(60)
        sandbox_exchange.control.push({"end": True})
        frames = []
        while (frame := await client.raw()) != '{"end":true}':
            frames.append(frame)
        doubled = [f for f in frames if json.loads(f)["symbol"] == "BTCUSDT"]
        others = [f for f in frames if json.loads(f)["symbol"] != "BTCUSDT"]
        assert len(doubled) // 2 + len(others) == 60
        assert doubled
        position = 0
        while position < len(frames):
            twin = json.loads(frames[position])["symbol"] == "BTCUSDT"
            assert not twin or frames[position] == frames[position + 1]
            position += 2 if twin else 1


async def test_after_unsubscribing_one_way_a_tick_comes_once(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker_all")
        await client.subscribe("ticker", symbol="BTCUSDT")
        await client.unsubscribe("ticker_all")
        sandbox_exchange.control.push_tick("BTCUSDT", price="1")
        sandbox_exchange.control.push_tick("ETHUSDT", price="2")
        assert (await client.next())["data"]["price"] == "1"
        await client.unsubscribe("ticker", symbol="BTCUSDT")
        sandbox_exchange.control.push_tick("BTCUSDT", price="3")
        await client.proves_silent()


@pytest.mark.sandbox_exchange(api_keys=("ak_a", "ak_b"))
async def test_private_events_reach_every_connection_of_the_key_unasked(sandbox_exchange: SandboxExchange) -> None:
    control, url = sandbox_exchange.control, sandbox_exchange.url
    async with bare(url, key="ak_a") as one, bare(url, key="ak_a") as two, bare(url, key="ak_b") as other:
        await control.wait_for_connections(3)
        await two.unsubscribe("orders")
        control.push_order({"order_id": "1", "status": "filled"}, api_key="ak_a")
        control.push_portfolio({"total_equity": "5.00000000", "roi_pct": "1"}, api_key="ak_a")
        for client in (one, two):
            assert await client.next() == {"channel": "orders", "data": {"order_id": "1", "status": "filled"}}
            assert await client.next() == {"channel": "portfolio", "data": {"total_equity": "5.00000000"}}
        await other.proves_silent()


async def test_candles_are_announced_and_never_pushed(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("candles", symbol="BTCUSDT", interval="1m")
        sandbox_exchange.control.tick(500)
        await client.proves_silent()


async def test_no_compression_unless_configured(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        assert client.socket.protocol.extensions == []


@pytest.mark.sandbox_exchange(compression=True)
async def test_compression_when_configured(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        assert len(client.socket.protocol.extensions) == 1
        await client.subscribe("ticker_all")
        sandbox_exchange.control.tick(20)
        assert {(await client.next())["channel"] for _ in range(20)} == {"ticker"}


async def test_stopping_closes_with_1012(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        await exchange.control.wait_for_connections(1)
        await exchange.stop()
        assert await client.close_code() == 1012

"""The page dialect: a server that does just what the documentation page promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sdk.testing._bare import bare, error

if TYPE_CHECKING:
    from agentexchange.testing import SandboxExchange
    from agentexchange.testing._server import LocalExchange

pytestmark = pytest.mark.sandbox_exchange(rate=0, pairs=10, dialect="page")


async def test_flat_tickers_with_the_documented_fields(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker", symbol="SOLUSDT")
        sandbox_exchange.control.push_tick("SOLUSDT", price="148.2", timestamp="2026-02-23T15:30:45.123Z")
        assert await client.next() == {
            "type": "ticker",
            "symbol": "SOLUSDT",
            "price": "148.2",
            "timestamp": "2026-02-23T15:30:45.123Z",
        }


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "1h", "4h", "1d"])
async def test_every_promised_interval_is_taken(exchange: LocalExchange, interval: str) -> None:
    async with bare(exchange.url) as client:
        ack = await client.subscribe("candles", symbol="BTCUSDT", interval=interval)
        assert ack == {"type": "subscribed", "channel": f"candles:BTCUSDT:{interval}"}


async def test_the_wildcard_works_both_ways_and_there_are_no_twins(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        assert (await client.subscribe("ticker", symbol="all"))["channel"] == "ticker:all"
        await client.subscribe("ticker", symbol="BTCUSDT")
        sandbox_exchange.control.push_tick("BTCUSDT", price="1")
        sandbox_exchange.control.push_tick("ETHUSDT", price="2")
        assert [(await client.next())["symbol"] for _ in range(2)] == ["BTCUSDT", "ETHUSDT"]
        assert (await client.unsubscribe("ticker_all"))["channel"] == "ticker:all"
        sandbox_exchange.control.push_tick("ETHUSDT", price="3")
        await client.proves_silent()


async def test_private_events_only_to_those_who_subscribed(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as asked, bare(sandbox_exchange.url) as silent:
        await asked.subscribe("orders")
        await asked.subscribe("portfolio")
        sandbox_exchange.control.push_order({"order_id": "1", "status": "filled", "type": "limit", "side": "buy"})
        sandbox_exchange.control.push_portfolio({"total_equity": "5", "roi_pct": "1", "realized_pnl": "2"})
        assert await asked.next() == {
            "type": "order_update",
            "order_id": "1",
            "symbol": None,
            "side": "buy",
            "status": "filled",
            "executed_price": None,
            "executed_quantity": None,
        }
        assert await asked.next() == {
            "type": "portfolio",
            "total_equity": "5",
            "available_cash": None,
            "unrealized_pnl": None,
            "roi_pct": "1",
        }
        await silent.proves_silent()


async def test_no_subscription_limit_is_documented(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        for number in range(25):
            assert (await client.subscribe("ticker", symbol=f"S{number}"))["type"] == "subscribed"


@pytest.mark.sandbox_exchange(subscription_limit=1)
async def test_a_limit_can_be_set(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        await client.subscribe("orders")
        assert await client.subscribe("portfolio") == error("SUBSCRIPTION_LIMIT")


async def test_a_bad_key_is_closed_with_4401(exchange: LocalExchange) -> None:
    async with bare(exchange.url, key="ak_wrong") as client:
        assert await client.close_code() == 4401
    assert exchange.control.handshakes_refused == 1


async def test_the_base_url_alone_is_an_endpoint_too(exchange: LocalExchange) -> None:
    async with bare(exchange.url, path="/") as client:
        assert (await client.subscribe("orders"))["type"] == "subscribed"


async def test_the_live_platform_s_pong_is_unknown_here(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        assert await client.ask({"action": "pong"}) == error("UNKNOWN_ACTION")

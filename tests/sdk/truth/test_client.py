"""Straight from a real exchange: a program learns what a blind span did to its account."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from agentexchange import AgentExchangeWS, Cause, EventMeta, FeedState, FeedStatus, OrderUpdate, Portfolio
from agentexchange.testing import DEMO_KEY, SandboxExchange


def order(order_id: str, status: str = "pending", executed: str | None = None) -> dict[str, Any]:
    fields = {"order_id": order_id, "status": status, "symbol": "BTCUSDT", "side": "buy"}
    return fields if executed is None else fields | {"executed_quantity": executed}


async def test_a_program_is_told_what_may_be_missing_and_what_must_have_happened() -> None:
    orders: asyncio.Queue[tuple[OrderUpdate, EventMeta]] = asyncio.Queue()
    portfolios: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    models: asyncio.Queue[Portfolio] = asyncio.Queue()
    statuses: asyncio.Queue[FeedStatus] = asyncio.Queue()
    async with SandboxExchange(pairs=3, rate=0) as exchange:
        control = exchange.control
        ws = AgentExchangeWS(DEMO_KEY, exchange.url)

        @ws.on_order_update()
        async def on_order(data: OrderUpdate, meta: EventMeta) -> None:
            orders.put_nowait((data, meta))

        @ws.on_portfolio()
        async def on_portfolio(data: dict[str, Any]) -> None:
            portfolios.put_nowait(data)

        @ws.on_portfolio()
        async def on_model(data: Portfolio) -> None:
            models.put_nowait(data)

        @ws.on_status()
        async def on_status(status: FeedStatus) -> None:
            statuses.put_nowait(status)

        async with ws, asyncio.timeout(15):
            await control.wait_for_subscriptions("orders", "portfolio")
            for order_id in ("1", "2"):
                control.push_order(order(order_id))
                data, meta = await orders.get()
                assert (data.reconciled, meta.reconciled) == (False, False)
            control.push_portfolio({"total_equity": "9", "available_cash": "9", "realized_pnl": "0"})
            assert "reconciled" not in await portfolios.get()
            control.drop()
            await control.wait_for_connections(0)
            control.push_order(order("1", "filled", "1"))
            while (status := await statuses.get()).cause != Cause.ORDERS_UNKNOWN:
                blind = status
            assert (blind.state, blind.cause) == (FeedState.LIVE, Cause.RECONNECTED)
            assert abs(status.since - blind.since) < timedelta(milliseconds=1)
            assert (status.until, status.count) == (blind.until, 2)
            assert "(1, 2)" in str(status.message)
            control.push_order(order("2", "cancelled", "1"))
            data, meta = await orders.get()
            assert (data.status, data.reconciled, meta.reconciled) == ("cancelled", True, True)
            control.push_portfolio({"total_equity": "8", "available_cash": "5", "realized_pnl": "-1"})
            assert (await portfolios.get())["reconciled"] is True
            assert [(await models.get()).reconciled for _ in range(2)] == [False, True]
            assert "available_cash from 9 to 5" in str((await statuses.get()).message)

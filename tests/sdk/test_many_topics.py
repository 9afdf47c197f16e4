"""More topics than one connection takes, straight from a platform as strict as the live one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from agentexchange import AgentExchangeWS, FeedStatus, Topic
from agentexchange.testing import DEMO_KEY, SandboxExchange
from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentexchange.testing import JournalEntry


@contextlib.asynccontextmanager
async def connected(ws: AgentExchangeWS) -> AsyncIterator[None]:
    task = asyncio.create_task(ws.connect())
    try:
        yield
    finally:
        await ws.disconnect(drain=True)
        await asyncio.wait_for(task, 10)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - handlers and the sandbox are looked at
            await asyncio.sleep(0.005)


async def test_twenty_five_handlers_of_single_symbols_are_fed() -> None:
    async with SandboxExchange(pairs=30, rate=0) as sandbox:
        symbols = sandbox.control.symbols[:25]
        ws, prices, orders = AgentExchangeWS(DEMO_KEY, sandbox.url), defaultdict[str, list[str]](list), list[str]()
        for symbol in symbols:

            @ws.on_ticker(symbol)
            async def on_price(data: dict[str, Any], own: str = symbol) -> None:
                assert data["symbol"] == own
                prices[own].append(data["price"])

        @ws.on_order_update()
        async def on_order(data: dict[str, Any]) -> None:
            orders.append(data["order_id"])

        async with connected(ws):
            await sandbox.control.wait_for_subscriptions(*(f"ticker:{symbol}" for symbol in symbols), "orders")
            for number in range(1, 4):
                sandbox.control.push_order({"order_id": str(number), "status": "pending"})
                for symbol in symbols:
                    sandbox.control.push_tick(symbol, price=str(number))
            await until(lambda: sum(map(len, prices.values())) + len(orders) == 78)
            assert ws.stats().transport["sessions_open"] == 3
            assert max(len(one.subscriptions) for one in sandbox.control.connections) <= 10
    assert prices == {symbol: ["1", "2", "3"] for symbol in symbols}
    assert orders == ["1", "2", "3"]


async def test_topics_that_come_and_go_at_run_time_lose_and_double_no_price() -> None:
    sent: dict[str, list[str]] = defaultdict(list)

    def note(entry: JournalEntry) -> None:
        if entry.kind == "tick":
            data = json.loads(entry.payload)["data"]
            sent[entry.topic].append(data["price"] + data["quantity"] + data["timestamp"])

    async with SandboxExchange(pairs=40, rate=2000, journal=note) as sandbox:
        topics = [f"ticker:{symbol}" for symbol in sandbox.control.symbols]
        ws = AgentExchangeWS(DEMO_KEY, sandbox.url, ticker_all_from=30)
        got: dict[str, list[str]] = defaultdict(list)
        statuses: list[FeedStatus] = []

        async def on_price(data: dict[str, Any]) -> None:
            got[f"ticker:{data['symbol']}"].append(data["price"] + data["quantity"] + data["timestamp"])

        ws.on_status()(statuses.append)
        for topic in topics[:12]:
            ws.on_ticker(Topic.parse(topic).symbol or "", policy="wait")(on_price)
        async with connected(ws):
            await sandbox.control.wait_for_subscriptions(*topics[:12])
            for topic in topics[12:]:
                ws.subscribe(topic, on_price)
            await sandbox.control.wait_for_subscriptions("ticker:all")
            await sandbox.control.wait_for_no_subscriptions(*topics)
            for topic in topics[12:]:
                ws.unsubscribe(topic)
            await sandbox.control.wait_for_subscriptions(*topics[:12])
            await sandbox.control.wait_for_no_subscriptions("ticker:all")
            sandbox.control.stall()
            for topic in topics[:12]:
                sandbox.control.push_tick(topic.removeprefix("ticker:"), price="0.5")
            await until(lambda: all(got[topic] and got[topic][-1].startswith("0.51") for topic in topics[:12]))
    for topic in topics[:12]:
        assert got[topic] == sent[topic]
    assert {status.cause for status in statuses if status.topic} <= {"overlap"}


async def test_symbols_that_fit_into_no_connection_ride_on_the_wildcard() -> None:
    async with SandboxExchange(pairs=30, rate=0) as sandbox:
        ws, seen = AgentExchangeWS(DEMO_KEY, sandbox.url, max_sessions=1), list[str]()

        async def on_price(data: dict[str, Any]) -> None:
            seen.append(data["symbol"])

        for symbol in sandbox.control.symbols[:25]:
            ws.on_ticker(symbol)(on_price)
        async with connected(ws):
            await sandbox.control.wait_for_subscriptions("ticker:all")
            for symbol in sandbox.control.symbols:
                sandbox.control.push_tick(symbol, price="1")
            await until(lambda: len(seen) == 25)
            assert len(sandbox.control.connections) == 1
    assert seen == list(sandbox.control.symbols[:25])

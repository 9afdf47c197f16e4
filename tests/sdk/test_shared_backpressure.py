"""A handler that must not miss anything, and is slow, on a real shared client: the log waits, memory does not grow."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS
from tests.sdk._shared_client import KEY

if TYPE_CHECKING:
    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server
ORDERS = 5000


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_slow_order_handler_gets_every_order_and_delays_nobody(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer, kind: str
) -> None:
    ws = AgentExchangeWS(KEY, redis_server.url)
    gate, thread_gate = asyncio.Event(), threading.Event()
    orders: list[str] = []
    ticks: list[str] = []
    done, tick_came = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def note(data: dict[str, Any]) -> None:
        orders.append(data["price"])
        if len(orders) == ORDERS:
            loop.call_soon_threadsafe(done.set)

    if kind == "sync":

        @ws.on_order_update(max_queue=100)
        def slow(data: dict[str, Any]) -> None:
            thread_gate.wait(20)
            note(data)
    else:

        @ws.on_order_update(max_queue=100)
        async def slow_async(data: dict[str, Any]) -> None:
            await gate.wait()
            note(data)

    @ws.on_ticker("BTCUSDT")
    async def tick(data: dict[str, Any]) -> None:
        ticks.append(data["price"])
        tick_came.set()

    live = asyncio.Event()
    ws.on_status()(lambda _status: loop.call_soon_threadsafe(live.set))
    async with asyncio.timeout(30), ws:
        await live.wait()
        await asyncio.sleep(0)
        await asyncio.to_thread(account.bulk, ["orders"], ORDERS, channel=True)
        writer.ticker("BTCUSDT", "1")
        await tick_came.wait()
        (slow_stats,) = [stats for stats in ws.stats().handlers if stats.topic == "orders"]
        assert slow_stats.waiting <= 1000, "ten times its bound is the most that may wait"
        assert len(orders) < ORDERS
        gate.set()
        thread_gate.set()
        await done.wait()
        assert ws.stats().transport["gaps"] == 0
        assert sum(stats.dropped for stats in ws.stats().handlers) == 0
    assert orders == [str(number) for number in range(1, ORDERS + 1)]
    assert ticks == ["1"]

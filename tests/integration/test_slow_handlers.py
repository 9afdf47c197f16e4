"""A handler that does not come back costs no heartbeat, and no other handler an event."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.testing import SandboxExchange
from tests.integration._system import KEY, TICKS_ON_DEMAND, client, eventually, worker

if TYPE_CHECKING:
    from pathlib import Path

    from agentexchange import AgentExchangeWS
    from tests._servers import RedisServer

TICKS = 3000
HEARTBEATS = 20


@pytest.mark.server
@pytest.mark.parametrize("way", ["straight", "shared"])
async def test_a_handler_that_hangs_delays_nobody_else(redis_server: RedisServer, tmp_path: Path, way: str) -> None:
    got: dict[str, list[str]] = {name: [] for name in ("hangs", "hangs in a thread", "async", "sync", "orders")}
    never, release = asyncio.Event(), threading.Event()

    def register(ws: AgentExchangeWS) -> None:
        @ws.on_ticker("BTCUSDT")
        async def hang(data: dict[str, Any]) -> None:
            got["hangs"].append(data["price"])
            await never.wait()

        @ws.on_ticker("BTCUSDT")
        def hang_in_a_thread(data: dict[str, Any]) -> None:
            got["hangs in a thread"].append(data["price"])
            release.wait(60)

        @ws.on_ticker("BTCUSDT", policy="wait")  # on a busy machine it may lag as well, and conflate
        async def quick(data: dict[str, Any]) -> None:
            got["async"].append(data["price"])

        @ws.on_ticker("BTCUSDT", policy="wait")
        def quick_in_a_thread(data: dict[str, Any]) -> None:
            got["sync"].append(data["price"])

        @ws.on_order_update()
        async def on_order(data: dict[str, Any]) -> None:
            got["orders"].append(data["order_id"])

    async with SandboxExchange(rate=0, api_keys=[KEY], heartbeat_interval=0.1, pong_timeout=10.0) as exchange:
        with worker(exchange.url, redis_server.url, log=tmp_path / "worker.log", args=TICKS_ON_DEMAND):
            control = exchange.control
            await control.wait_for_subscriptions("ticker:all")

            def probe() -> bool:
                control.push_tick("BTCUSDT", price="0")
                return all(got[name] for name in ("hangs", "hangs in a thread", "async", "sync"))

            async with client(exchange.url if way == "straight" else redis_server.url, register):
                await eventually(probe, what="every handler to be reached")
                for number in range(1, TICKS + 1):
                    control.push_tick("BTCUSDT", price=str(number))
                    if number % 100 == 0:
                        control.push_order({"order_id": f"o-{number}", "status": "filled"})
                await eventually(lambda: got["orders"][-1:] == [f"o-{TICKS}"])
                await eventually(lambda: got["async"][-1] == got["sync"][-1] == str(TICKS))
                connections = control.connections_total
                await control.wait_for_pongs(control.pongs + HEARTBEATS)
                assert control.connections_total == connections, "no session was closed for a missing pong"
                release.set()

    wanted = [str(number) for number in range(1, TICKS + 1)]
    for name in ("async", "sync"):
        assert [price for price in got[name] if price != "0"] == wanted
    assert got["hangs"] == ["0"]

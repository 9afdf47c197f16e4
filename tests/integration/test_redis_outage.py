"""Redis killed under load and restarted: everything goes on by itself, no order is missing, memory stays bounded."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from agentexchange.testing import JournalEntry, SandboxExchange
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import decode
from tests.integration._system import KEY, client, eventually, worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentexchange import AgentExchangeWS
    from tests._servers import RedisServer

AWAY_S = float(os.environ.get("AGENTEXCHANGE_TEST_OUTAGE_S", "6"))
"""How long Redis is away: 30 in the long run."""
MAX_WORKER_MB = 150
PRIVATE_LOG = f"ax:{{{account_scope(KEY)}}}:log"


@pytest.mark.server
@pytest.mark.timeout(120)
async def test_redis_killed_under_load_loses_no_order(make_redis: Callable[..., RedisServer], tmp_path: Path) -> None:
    server = make_redis(appendonly=True)
    sent: list[dict[str, Any]] = []
    got: dict[str, list[Any]] = {"orders": [], "ticks": [], "states": []}

    def journal(entry: JournalEntry) -> None:
        if entry.kind == "order" and entry.connections:
            sent.append(json.loads(entry.payload)["data"])

    def register(ws: AgentExchangeWS) -> None:
        @ws.on_order_update()
        async def on_order(data: dict[str, Any]) -> None:
            got["orders"].append(data)

        @ws.on_ticker("BTCUSDT")
        async def on_tick(data: dict[str, Any]) -> None:
            got["ticks"].append(data)

        @ws.on_status()
        async def on_status(status: Any) -> None:
            got["states"].append((status.scope, str(status.state)))

    async with SandboxExchange(rate=5000, api_keys=[KEY], journal=journal) as exchange:
        with worker(exchange.url, server.url, log=tmp_path / "worker.log") as bridge:
            async with client(server.url, register):
                # before the account's own session is up, orders are sent to the market's, where nobody takes them
                await eventually(lambda: _is_live(server), what="the account to be live")
                exchange.control.set_order_rate(100)
                await eventually(lambda: len(got["orders"]) > 50 and len(got["ticks"]) > 50)
                server.kill()
                await asyncio.sleep(AWAY_S)  # the outage itself: its length is what is tested
                memory = bridge.memory_mb()
                server.start()
                orders, ticks = len(got["orders"]), len(got["ticks"])
                await eventually(
                    lambda: len(got["orders"]) > orders + 50 and len(got["ticks"]) > ticks + 50, within_s=40
                )
                await eventually(lambda: _of_the_market(got["states"])[-1] == "live", what="the end of the outage")
                told = [state for state in _of_the_market(got["states"]) if state in ("live", "blind")]
                exchange.control.set_order_rate(0)
                exchange.control.set_rate(0)  # from here on it is mute, which is told as well
                await eventually(lambda: _orders(server)[-1:] == sent[-1:], what="the last order in the log")
                await eventually(lambda: "redis_lost" in _causes(server), what="the span to be told")

    assert _orders(server) == sent, "every order, in order, once"
    assert memory < MAX_WORKER_MB
    assert told[0] == told[-1] == "live"
    assert "blind" in told


def _orders(server: RedisServer) -> list[dict[str, Any]]:
    """What the log holds, with the fields that the exchange sent."""
    events = [decode(entry[b"e"]) for _, entry in Redis.from_url(server.url).xrange(PRIVATE_LOG)]
    return [
        {name: value for name, value in event.data.items() if value is not None}
        for event in events
        if event.topic == "orders"
    ]


def _of_the_market(states: list[tuple[str, str]]) -> list[str]:
    return [state for scope, state in states if scope == "m0"]


def _is_live(server: RedisServer) -> bool:
    return bool(Redis.from_url(server.url).hget(f"ax:{{{account_scope(KEY)}}}:status", "state") == b"live")


def _causes(server: RedisServer) -> set[Any]:
    """What the market's notices give as their causes."""
    entries = Redis.from_url(server.url).xrange("ax:{m0}:log")
    return {decode(entry[b"e"]).data.get("cause") for _, entry in entries}

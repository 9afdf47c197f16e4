"""A market that goes mute while the platform is connected is told within seconds, straight and shared."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, EventMeta, FeedState, FeedStatus
from agentexchange.latest import LatestReader
from agentexchange.testing import SandboxExchange
from tests._patience import at_best
from tests.integration._system import KEY, client, eventually, worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

WITHIN_S = 5.0
TOPIC = "ticker:BTCUSDT"


class Agent:
    """What the handlers of a client were given."""

    def __init__(self) -> None:
        self.metas: list[EventMeta] = []
        self.market: list[FeedStatus] = []

    def register(self, ws: AgentExchangeWS) -> None:
        @ws.on_ticker("BTCUSDT")
        async def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
            del data
            self.metas.append(meta)

        @ws.on_order_update()
        async def on_order(data: dict[str, Any]) -> None: ...

        @ws.on_status()
        async def on_status(status: FeedStatus) -> None:
            if status.scope in (None, "m0") and status.topic is None:
                self.market.append(status)


async def goes_mute_and_comes_back(sandbox: SandboxExchange, ws: AgentExchangeWS, agent: Agent) -> None:
    """Let 100 ticks a second flow, stop them while pings go on, and let them flow again."""
    await eventually(lambda: len(agent.metas) > 400, what="ticks")
    assert ws.freshness(TOPIC).is_live
    pings = sandbox.control.pongs

    async def go_mute() -> float:
        if agent.market[-1].state is FeedState.STALE:
            await comes_back(sandbox, ws, agent)
        sandbox.control.stall()
        stalled_at = time.monotonic()
        await eventually(lambda: agent.market[-1].state is FeedState.STALE, what="stale")
        return time.monotonic() - stalled_at

    assert await at_best(go_mute, within_s=WITHIN_S) <= WITHIN_S
    answer = ws.freshness(TOPIC)
    assert (answer.state, answer.since) == (FeedState.STALE, agent.market[-1].since)
    assert answer.age_s is not None
    assert answer.age_s > 2.5
    assert ws.freshness("candles:BTCUSDT:1m").state is FeedState.STALE
    assert ws.freshness("orders").state is FeedState.LIVE
    await eventually(lambda: sandbox.control.pongs > pings, what="pings that went on")


async def comes_back(sandbox: SandboxExchange, ws: AgentExchangeWS, agent: Agent) -> None:
    sandbox.control.unstall()
    await eventually(lambda: agent.market[-1].state is FeedState.LIVE, what="live")
    assert agent.market[-1].until is not None
    assert ws.freshness(TOPIC).is_live


def clock_difference_s(ws: AgentExchangeWS) -> float:
    """Without end while it is not known."""
    found = ws.freshness(TOPIC).clock_difference_s
    return float("inf") if found is None else found


def exchange() -> SandboxExchange:
    return SandboxExchange(pairs=1, rate=100, api_keys=(KEY,), heartbeat_interval=0.5)


async def test_straight() -> None:
    agent = Agent()
    async with exchange() as sandbox, client(sandbox.url, agent.register) as ws:
        await goes_mute_and_comes_back(sandbox, ws, agent)
        await comes_back(sandbox, ws, agent)
        answer = ws.freshness(TOPIC)
        assert answer.upstream_delay_s is not None
        assert -0.01 < answer.upstream_delay_s < 5.0
    for meta in agent.metas:
        assert meta.upstream_time is not None
        assert meta.upstream_time <= meta.received_time <= meta.delivered_time


async def test_shared(redis_server: RedisServer, tmp_path: Path) -> None:
    agent = Agent()
    async with exchange() as sandbox:
        args = ("--topic", TOPIC)
        with worker(sandbox.url, redis_server.url, log=tmp_path / "worker.log", args=args):
            async with client(redis_server.url, agent.register) as ws:
                await goes_mute_and_comes_back(sandbox, ws, agent)
                with LatestReader(redis_server.url, KEY) as latest:
                    value = latest.ticker("BTCUSDT")
                    assert value is not None
                    assert (value.state, value.since) == (FeedState.STALE, agent.market[-1].since)
                    assert value.written_at is not None
                    assert value.received_at <= value.written_at
                await comes_back(sandbox, ws, agent)
                await eventually(lambda: abs(clock_difference_s(ws)) < 0.05, what="the clocks compared")
    for meta in agent.metas:
        assert meta.upstream_time is not None
        assert meta.written_time is not None
        assert meta.upstream_time <= meta.received_time <= meta.written_time <= meta.delivered_time

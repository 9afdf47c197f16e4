"""A live consumer beside a recorder, the bridge killed once: a replay calls the same handlers in the same way."""

from __future__ import annotations

import asyncio
import os
import signal
from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Final

import pytest

from agentexchange import AgentExchangeWS, EventMeta, FeedState, FeedStatus
from agentexchange.recording import Recording
from agentexchange.testing import SandboxExchange
from tests.bridge.cli._run import start
from tests.integration._system import KEY, TICKS_ON_DEMAND, client, eventually, worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer

RECORD_S = float(os.environ.get("AGENTEXCHANGE_TEST_RECORD_S", "8"))
"""How long the market runs: 600 in the long run."""
RATE: Final = 5000
LAST_PRICE: Final = "1.01010101"
LAST_ORDER: Final = "o-last"


@dataclass
class Calls:
    """What the handlers were called with: a digest of each call by handler, so that millions fit, and each status."""

    digests: dict[str, array[int]] = field(default_factory=dict)
    newest: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """The last data by handler and topic."""
    statuses: list[FeedStatus] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)

    def register(self, ws: AgentExchangeWS) -> None:
        def take(name: str, data: dict[str, Any], meta: EventMeta) -> None:
            if meta.source == "latest":  # the value that a live handler is given first; a replay gives none
                return
            self.sources.add(meta.source)
            self.newest[name, meta.topic] = data
            call = repr((meta.topic, meta.scope, meta.epoch, meta.seq, meta.received_time, data)).encode()
            digest = int.from_bytes(blake2b(call, digest_size=8).digest())
            self.digests.setdefault(name, array("Q")).append(digest)

        @ws.on_ticker("all", policy="wait")  # a busy machine may make a handler lag: then prices would be conflated
        async def every(data: dict[str, Any], meta: EventMeta) -> None:
            take("all", data, meta)

        @ws.on_ticker("ETHUSDT", policy="wait")
        def one(data: dict[str, Any], meta: EventMeta) -> None:
            take("one", data, meta)

        @ws.on_candles("BTCUSDT", "1m")
        async def candle(data: dict[str, Any], meta: EventMeta) -> None:
            take("candle", data, meta)

        @ws.on_order_update()
        async def order(data: dict[str, Any], meta: EventMeta) -> None:
            take("order", data, meta)

        @ws.on_portfolio(policy="wait")
        async def portfolio(data: dict[str, Any], meta: EventMeta) -> None:
            take("portfolio", data, meta)

        ws.on_status()(self.statuses.append)

    def count(self, name: str) -> int:
        return len(self.digests.get(name, ()))


@pytest.mark.server
@pytest.mark.timeout(60 + 8 * RECORD_S)
async def test_a_replay_calls_the_handlers_as_the_live_feed_did_blind_span_included(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    day, live = tmp_path / "day.axlog", Calls()
    async with SandboxExchange(rate=0, order_rate=0, api_keys=[KEY]) as exchange:
        recorder = start("record", "--url", redis_server.url, "--out", str(day), "--block-s", "0.5", key=KEY)
        async with recorder, client(redis_server.url, live.register, max_queue=1_000_000) as ws:
            with worker(exchange.url, redis_server.url, log=tmp_path / "first.log", args=TICKS_ON_DEMAND) as bridge:
                await exchange.control.wait_for_subscriptions("ticker:all", "orders", timeout=20)
                await eventually(day.exists)
                exchange.control.set_rate(RATE)
                exchange.control.set_order_rate(20)
                await asyncio.sleep(RECORD_S / 2)  # the market itself: its length is what is recorded
                bridge.end(signal.SIGKILL)
            with worker(exchange.url, redis_server.url, log=tmp_path / "second.log", args=TICKS_ON_DEMAND):
                await eventually(lambda: "takeover" in {status.cause for status in live.statuses}, within_s=30)
                await asyncio.sleep(RECORD_S / 2)
                exchange.control.set_rate(0)
                exchange.control.set_order_rate(0)
                await _has_come(live, exchange)
                stats = ws.stats()
        assert await recorder.end() == 0
    assert sum(handler.conflated + handler.dropped for handler in stats.handlers) == 0
    assert live.count("all") > RATE * RECORD_S / 4
    with Recording(day) as recording:
        assert recording.cut is None

    once, twice = await _replayed(day), await _replayed(day)
    for name, digests in live.digests.items():
        assert once.digests[name] == digests, f"{name}: {_first_difference(once.digests[name], digests)}"
    assert once == twice
    assert once.sources == {"replayed"}
    _assert_told_alike(live.statuses, once.statuses)


async def _replayed(day: Path) -> Calls:
    calls = Calls()
    ws = AgentExchangeWS(KEY, f"file://{day}?speed=0")
    calls.register(ws)
    await ws.connect()
    return calls


async def _has_come(calls: Calls, exchange: SandboxExchange) -> None:
    """Wait for a last event of each topic that flows: what was under way has arrived before it."""
    for symbol in exchange.control.symbols:
        exchange.control.push_tick(symbol, price=LAST_PRICE)
    exchange.control.push_order({"order_id": LAST_ORDER, "status": "filled"})
    tickers = [("all", f"ticker:{symbol}") for symbol in exchange.control.symbols] + [("one", "ticker:ETHUSDT")]

    def is_last() -> bool:
        prices = {calls.newest.get(key, {}).get("price") for key in tickers}
        return prices == {LAST_PRICE} and calls.newest.get(("order", "orders"), {}).get("order_id") == LAST_ORDER

    await eventually(is_last)


def _assert_told_alike(live: list[FeedStatus], replayed: list[FeedStatus]) -> None:
    """Every notice was told live too, in its scope's order; live, the client also told what it saw itself.

    Scopes have logs of their own and no order between them: live, whichever is read first; replayed, by arrival.
    And but for the very first ones: how a feed is that was live before, a live client reads from its status.
    """
    assert any(status.cause == "takeover" and status.until is not None for status in replayed)
    for scope in {status.scope for status in replayed}:
        rest = iter([_told(status) for status in live if status.scope == scope])
        notices = dropwhile(
            lambda status: status.state is FeedState.LIVE, (status for status in replayed if status.scope == scope)
        )
        missing = [status for status in map(_told, notices) if status not in rest]
        assert missing == []


def _told(status: FeedStatus) -> tuple[Any, ...]:
    return (status.scope, status.topic, status.state, status.since, status.until, status.cause, status.count)


def _first_difference(one: array[int], other: array[int]) -> str:
    for number, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return f"call {number} differs"
    return f"{len(one)} calls against {len(other)}"

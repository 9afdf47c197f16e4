"""A client that replays a recording of these tests, and what its handlers were called with."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentexchange import AgentExchangeWS, FeedStatus
from agentexchange_schemas.envelope import encode
from tests._patience import PATIENCE_S
from tests.sdk._timeline import Timeline
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, tick, write

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from pathlib import Path

    from agentexchange.recording import Lane
    from agentexchange.replay import ReplayControl

BTC, ETH = "ticker:BTCUSDT", "ticker:ETHUSDT"
CANDLE = "candles:BTCUSDT:1m"


def order(number: int, at_us: int) -> bytes:
    return encode("orders", 7, number, None, at_us, {"order_id": str(number), "status": "new", "symbol": "BTCUSDT"})


def candle(number: int, at_us: int, **more: Any) -> bytes:
    price = str(number)
    data = {"symbol": "BTCUSDT", "interval": "1m", "open": price, "high": price, "low": price, "close": price}
    data |= {"volume": "1", "open_time": "2026-11-22T09:55:00Z", "is_closed": True} | more
    return encode(CANDLE, 7, number, None, at_us, data)


def notice(number: int, at_us: int, state: str = "blind", **more: Any) -> bytes:
    fields = {"scope": "m0", "state": state, "since": "2026-11-22T09:55:18Z"} | more
    return encode("status", 7, number, None, at_us, fields)


def eth(number: int, *, received_us: int | None = None) -> bytes:
    return tick(number, symbol="ETHUSDT", received_us=received_us)


def a_day(path: Path) -> Path:
    """Ticks of two pairs each millisecond, a notice, two candles and two orders."""
    ticks = [
        raw for number in range(10) for raw in (tick(number), eth(number, received_us=START_US + number * 1000 + 1))
    ]
    market = [*ticks[:9], notice(1, START_US + 4_500), *ticks[9:]]
    market.sort(key=_received)
    candles = [candle(1, START_US + 3_000), candle(2, START_US + 6_500)]
    orders = [order(1, START_US + 2_500), order(2, START_US + 7_000)]
    return write(path, [(MARKET, market), (CANDLES, candles), (ACCOUNT, orders)])


def _received(raw: bytes) -> int:
    from agentexchange.recording import received_of

    return received_of(raw)


class Calls:
    """A client of a file, and the calls of its handlers in their order."""

    def __init__(
        self, path: Path | str, key: str | None = None, *, query: str = "speed=0", bar: bool | None = False
    ) -> None:
        self.ws = AgentExchangeWS(key, f"file://{path}?{query}")
        self.control: ReplayControl = self.ws.replay(progress_bar=bar)
        self.seen: list[Any] = []
        self._changed = asyncio.Event()

    def on(self, *topics: str) -> Calls:
        """Async handlers: each call is remembered as topic, seq and time."""
        for topic in topics:
            self.ws.subscribe(topic, self._handler())
        return self

    def on_sync(self, *topics: str) -> Calls:
        for topic in topics:
            self.ws.subscribe(topic, self._sync_handler())
        return self

    def on_status(self) -> Calls:
        @self.ws.on_status()
        async def on_status(status: FeedStatus) -> None:
            self.put(status)

        return self

    def _handler(self) -> Any:
        async def handler(data: dict[str, Any], meta: Any) -> None:
            self.put((meta.topic, meta.seq))

        return handler

    def _sync_handler(self) -> Any:
        def handler(data: dict[str, Any], meta: Any) -> None:
            self.put((meta.topic, meta.seq))

        return handler

    def put(self, what: Any) -> None:
        self.seen.append(what)
        self.ws._life._loop.call_soon_threadsafe(self._changed.set)  # type: ignore[union-attr]

    def timed(self) -> Timeline:
        """Let it run by a time that the test moves."""
        timeline = Timeline()
        options, control = self.ws._transports._replay  # type: ignore[misc]
        self.ws._transports._replay = (replace(options, clock=timeline.clock, sleep=timeline.sleep), control)
        return timeline

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.seen) < count:
                self._changed.clear()
                await self._changed.wait()

    async def play(self) -> list[Any]:
        async with asyncio.timeout(PATIENCE_S):
            await self.ws.connect()
        return self.seen


def lanes_of(content: Iterable[tuple[Lane, list[bytes]]]) -> list[tuple[Lane, list[bytes]]]:
    return [(lane, raws) for lane, raws in content if raws]


async def within(work: Awaitable[Any], seconds: float = PATIENCE_S) -> Any:
    async with asyncio.timeout(seconds):
        return await work

"""Envelopes, boards and a history in memory for these tests."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

from agentexchange.recording import Lane, received_of, topic_of
from agentexchange_bridge.inspector.past import LaneSpan, Page, Sample
from agentexchange_schemas import FeedState, FeedStatus
from agentexchange_schemas.envelope import Envelope, decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentexchange_bridge.inspector.past import Stretch

OWN = "a-" + "1" * 32
OTHER = "a-" + "2" * 32
LOG, CANDLES = Lane("m0", "log"), Lane("m0", "log:candles")
ACCOUNT = Lane(OWN, "log")
START_US = 1_795_341_318_000_000
SECOND = 1_000_000


def tick(at_us: int, price: str = "1.5", *, symbol: str = "BTCUSDT", seq: int = 1, epoch: int = 7) -> bytes:
    """A tick, received at `START_US` and so many µs."""
    data = {"symbol": symbol, "price": price, "quantity": "2"}
    return encode(f"ticker:{symbol}", epoch, seq, (START_US + at_us) // 1000, START_US + at_us, data, START_US + at_us)


def candle(at_us: int, minute: int, *, close: str = "2", is_closed: bool = True, symbol: str = "BTCUSDT") -> bytes:
    prices = {"open": "1", "high": "3", "low": "1", "close": close, "volume": "4"}
    time = {"open_time": f"2026-11-26T10:{minute:02}:00.000Z", "is_closed": is_closed}
    data = {"symbol": symbol, "interval": "1m"} | prices | time
    return encode(f"candles:{symbol}:1m", 7, minute + 1, None, START_US + at_us, data)


def order(at_us: int, order_id: str = "o-1", status: str = "pending") -> bytes:
    data = {"order_id": order_id, "symbol": "BTCUSDT", "side": "buy", "status": status}
    return encode("orders", 7, 1, None, START_US + at_us, data)


def portfolio(at_us: int, equity: str = "1000") -> bytes:
    return encode("portfolio", 7, 1, None, START_US + at_us, {"total_equity": equity})


def status(state: FeedState, since_us: int, *, until_us: int | None = None, **more: Any) -> FeedStatus:
    """A statement about ``m0``; times as in `tick`."""
    from agentexchange._shared.read import utc_of

    since, until = utc_of(START_US + since_us), None if until_us is None else utc_of(START_US + until_us)
    return FeedStatus(scope="m0", state=state, since=since, until=until, **more)


def notice(at_us: int, state: FeedState, since_us: int, *, until_us: int | None = None, **more: Any) -> bytes:
    fields = status(state, since_us, until_us=until_us, **more).to_fields()
    return encode("status", 7, 1, None, START_US + at_us, fields)


def read(raw: bytes) -> Envelope:
    return decode(raw)


class ListHistory:
    """A `History` of lists. Counts what was read; ``most`` bounds a page below what is asked for."""

    def __init__(self, lanes: Mapping[Lane, Sequence[bytes]], *, end_us: int | None = None, most: int = 10_000) -> None:
        self._raws = {lane: sorted(raws, key=received_of) for lane, raws in lanes.items()}
        self._end_us = end_us
        self._most = most
        self.lanes = tuple(self._raws)
        self.read = 0
        self.rated: list[Stretch] = []

    def key(self, lane: Lane) -> str:
        return f"{lane.scope}:{lane.log}"

    def end_us(self) -> int:
        lasts = [received_of(raws[-1]) for raws in self._raws.values() if raws]
        return max(lasts, default=0) if self._end_us is None else self._end_us

    async def spans(self) -> list[LaneSpan]:
        return [
            LaneSpan(lane, len(raws), None, received_of(raws[0]), received_of(raws[-1]))
            if raws
            else LaneSpan(lane, 0, None, None, None)
            for lane, raws in self._raws.items()
        ]

    async def back(self, lane: Lane, before_us: int, count: int, *, topic: str | None = None) -> Page:
        await asyncio.sleep(0)
        raws = self._raws[lane]
        raws = raws[: bisect_left(raws, before_us, key=received_of)]
        page = raws[-min(count, self._most) :][::-1]
        self.read += len(page)
        return Page(page, received_of(page[-1]) if len(page) < len(raws) else None, len(page))

    async def forth(self, lane: Lane, after_us: int, count: int, *, topic: str | None = None) -> Page:
        await asyncio.sleep(0)
        raws = self._raws[lane]
        raws = raws[bisect_right(raws, after_us, key=received_of) :]
        page = raws[: min(count, self._most)]
        self.read += len(page)
        return Page(page, received_of(page[-1]) if len(page) < len(raws) else None, len(page))

    async def topics(self, scope: str) -> set[str]:
        return {topic_of(raw) for lane, raws in self._raws.items() if lane.scope == scope for raw in raws}

    async def newest(self, scope: str, topics: list[str], before_us: int) -> list[bytes]:
        return []

    async def rates(self, lane: Lane, stretches: Sequence[Stretch]) -> list[Sample]:
        self.rated += stretches
        places = list(map(received_of, self._raws[lane]))
        counts = [bisect_left(places, until) - bisect_left(places, start) for start, until in stretches]
        return [
            Sample(count * SECOND / (until - start), is_exact=True)
            for count, (start, until) in zip(counts, stretches, strict=True)
        ]

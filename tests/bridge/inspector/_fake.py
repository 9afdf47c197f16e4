"""An inspection in memory: a made-up market of any size and speed, whose past can be travelled to."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from agentexchange_bridge.inspector.views import (
    AccountView,
    Bar,
    Bucket,
    ClientRow,
    DeadLetterRow,
    EventDetail,
    EventKey,
    EventRow,
    GapRow,
    LogRow,
    OrderRow,
    Overview,
    PriceRow,
    ScopeRow,
    TimeLine,
    WorkerRow,
)
from agentexchange_schemas import INTERVALS, FeedState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentexchange.recording import EventName
    from agentexchange_bridge.inspector.views import Window

__all__ = ["ACCOUNT", "FakeFeed", "FakeInspection", "FakeTravel"]

ACCOUNT = "a-0123456789abcdef0123456789abcdef"
KNOWN = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "AVAXUSDT")
HOUR_US = 3_600_000_000
_CLOSED = "the platform closed the session"
_KINDS = ("ticker", "ticker", "ticker", "ticker", "candles", "orders", "status")


def now_us() -> int:
    return time.time_ns() // 1000


class FakeInspection:
    """``symbols`` pairs that tick ``rate`` times a second together; ``clock`` gives µs."""

    def __init__(
        self, *, symbols: int = 600, rate: float = 5000, is_file: bool = False, clock: Callable[[], int] = now_us
    ) -> None:
        names = [*KNOWN, *(f"PAIR{number:03d}USDT" for number in range(len(KNOWN), symbols))]
        self.names = names[:symbols]
        self.rate = rate
        self.clock = clock
        self.end_us = clock()
        self.start_us = self.end_us - HOUR_US
        self.live = None if is_file else FakeFeed(self)
        self.travels: set[FakeTravel] = set()
        self.letters = _letters(self.end_us)
        self.retried: list[str] = []
        self.dropped: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        assert not self.travels, "a travel was left open"

    @property
    def grows(self) -> bool:
        return self.live is not None

    async def timeline(self, buckets: int = 240, window: Window | None = None) -> TimeLine:
        first_us, last_us = self.start_us, self.end_us if self.live is None else self.clock()
        start_us, end_us = (first_us, last_us) if window is None else window.ends(first_us, last_us)
        gaps = [gap for gap in _gaps(first_us) if gap.since_us <= end_us and (gap.until_us or end_us) >= start_us]
        step, rows = (end_us - start_us) / buckets, []
        for number in range(buckets):
            at_us = start_us + int(number * step)
            x = (at_us - first_us) * 240 / HOUR_US
            share = 0.6 + 0.25 * math.sin(x / 17) + 0.15 * math.sin(x / 3.1)
            is_blind = any(gap.state is FeedState.BLIND and _lies_in(at_us, gap) for gap in gaps)
            rows.append(Bucket(at_us, 0.0 if is_blind else self.rate * share))
        is_exact = self.live is None
        return TimeLine(
            start_us, end_us, tuple(rows), tuple(gaps), is_exact=is_exact, first_us=first_us, last_us=last_us
        )

    async def locate(self, name: EventName) -> int | None:
        step_us = max(1, int(1e6 / self.rate))
        for number in range(self.end_us // step_us, self.start_us // step_us, -1):
            row = FakeFeed(self)._event(number, step_us)
            if (row.key.topic, row.key.seq) == name:
                return row.key.received_us
        return None

    async def travel(self, at_us: int | None = None) -> FakeTravel:
        travel = FakeTravel(self, self.end_us if at_us is None else at_us)
        self.travels.add(travel)
        return travel

    async def dead_letters(self) -> list[DeadLetterRow]:
        return list(self.letters)

    async def retry(self, letter: DeadLetterRow) -> bool:
        self.retried.append(letter.id)
        return self._take(letter)

    async def drop(self, letter: DeadLetterRow) -> bool:
        self.dropped.append(letter.id)
        return self._take(letter)

    def _take(self, letter: DeadLetterRow) -> bool:
        was_there = letter in self.letters
        self.letters = [each for each in self.letters if each != letter]
        return was_there


class FakeFeed:
    """Everything is a function of the moment, so that the past is always the same."""

    _second = FeedState.BLIND  # state of a second market partition

    def __init__(self, inspection: FakeInspection) -> None:
        self._all = inspection

    @property
    def at_us(self) -> int:
        return self._all.clock()

    def overview(self) -> Overview:
        at_us = self.at_us
        since_us, blind_us = at_us - HOUR_US, at_us - 42_000_000
        lag = (0.6 + 0.1 * math.sin(at_us / 1e6), 1.8, 4.2)
        return Overview(
            at_us=at_us,
            source="day.axlog" if self._all.live is None else "redis://localhost:6379/0",
            scopes=(
                ScopeRow(ACCOUNT, FeedState.LIVE, at_us - HOUR_US, None, "bridge-1", 7, 2, 3.4, at_us - 400_000, lag),
                ScopeRow("m0", FeedState.LIVE, since_us, None, "bridge-1", 12, 600, self._all.rate, at_us - 900, lag),
                ScopeRow("m1", self._second, blind_us, _CLOSED, "bridge-2", 3, 40, 0.0, blind_us, None),
            ),
            workers=(
                WorkerRow("bridge-1", at_us + 2_600_000, (ACCOUNT, "m0")),
                WorkerRow("bridge-2", at_us + 1_900_000, ("m1",)),
                WorkerRow("bridge-3", at_us + 2_200_000, ()),
            ),
            clients=(
                ClientRow(ACCOUNT, "c1", "momentum", "trader-1", ("candles:BTCUSDT:1m", "orders"), at_us),
                ClientRow(ACCOUNT, "c2", "screener", "trader-2", ("ticker:all",), at_us),
            ),
            logs=(
                LogRow("ax:{m0}:log", 1_204_118, 96_300_000, self._all.start_us, at_us),
                LogRow("ax:{m0}:log:candles", 84_210, 9_100_000, self._all.start_us, at_us),
            ),
            memory_bytes=None if self._all.live is None else 184_000_000,
            memory_limit_bytes=None if self._all.live is None else 1_000_000_000,
        )  # fmt: skip

    def prices(self, since: int = 0) -> tuple[int, list[PriceRow]]:
        at_us = self.at_us
        elapsed_s = 10.0 if since == 0 else max(0.0, at_us - since) / 1e6
        names = self._all.names
        ticks = min(len(names), int(elapsed_s * self._all.rate))
        dice = random.Random(at_us)
        changed = names if since == 0 or ticks >= len(names) else dice.sample(names, ticks)
        return at_us, [self._price(name, at_us) for name in changed]

    def _price(self, name: str, at_us: int) -> PriceRow:
        seed = _seed(name)
        is_old = seed % 41 == 0
        moment_us = at_us - (40_000_000 if is_old else seed % 700 * 1000)
        spark = (*_line(seed, moment_us // 5_000_000), _value(seed, moment_us))
        return PriceRow(
            symbol=name,
            price=_text(spark[-1]),
            change_pct=(spark[-1] / spark[0] - 1) * 100,
            spark=spark,
            received_us=moment_us,
            age_s=(at_us - moment_us) / 1e6,
            state=FeedState.STALE if seed % 83 == 0 else FeedState.LIVE,
            seq=moment_us // 1000,
        )

    async def candles(self, symbol: str, interval: str, limit: int = 200) -> list[Bar]:
        if interval not in INTERVALS:
            raise ValueError(f"{interval!r} is no interval")
        length_us = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400}[interval] * 1_000_000
        last = self.at_us // length_us
        return [self._bar(symbol, number * length_us, length_us) for number in range(last - limit + 1, last + 1)]

    def _bar(self, symbol: str, open_us: int, length_us: int) -> Bar:
        seed = _seed(symbol)
        end_us = min(self.at_us, open_us + length_us)
        steps = [_value(seed, open_us + (end_us - open_us) * step // 11) for step in range(12)]
        volume, is_closed = 12 + 9 * _hash(seed, 1.0, open_us // length_us), end_us == open_us + length_us
        return Bar(open_us // 1000, steps[0], max(steps), min(steps), steps[-1], volume, is_closed)

    def symbols(self) -> Sequence[str]:
        return sorted(self._all.names)

    def accounts(self) -> Sequence[str]:
        return (ACCOUNT,)

    def account(self, scope: str) -> AccountView:
        if scope != ACCOUNT:
            return AccountView(scope, (), None, None)
        at_us = self.at_us
        orders = tuple(_order(number, at_us) for number in range(40))
        portfolio = {
            "balance": "10482.55",
            "equity": "11020.13",
            "positions": [{"symbol": "BTCUSDT", "quantity": "0.25"}],
        }
        return AccountView(scope, orders, portfolio, at_us - 2_000_000)

    async def events(
        self, *, filter_text: str = "", kinds: Sequence[str] = (), before: EventKey | None = None, limit: int = 200
    ) -> list[EventRow]:
        if filter_text.count("(") != filter_text.count(")"):
            raise ValueError(f"column {len(filter_text) + 1}: ')' is missing")
        step_us = max(1, int(1e6 / self._all.rate))
        number = (self.at_us if before is None else before.received_us - 1) // step_us
        rows: list[EventRow] = []
        for back in range(20 * limit):
            row = self._event(number - back, step_us)
            wanted = not kinds or row.kind in kinds
            if wanted and filter_text.lower() in f"{row.key.topic} {row.summary}".lower():
                rows.append(row)
            if len(rows) == limit:
                break
        return rows

    def _event(self, number: int, step_us: int) -> EventRow:
        received_us, kind = number * step_us, _KINDS[number * 7919 % len(_KINDS)]
        symbol = self._all.names[number * 104_729 % len(self._all.names)]
        topic = {"ticker": f"ticker:{symbol}", "candles": f"candles:{symbol}:1m"}.get(kind, kind)
        scope = ACCOUNT if kind == "orders" else "m0"
        price = f"{_value(_seed(symbol), received_us):.2f}"
        summary = {"orders": f"order_id=o-{number % 997} status=filled", "status": "state=live"}.get(
            kind, f"price={price} volume=1.5"
        )
        return EventRow(
            EventKey(scope, topic, 12, number % 1_000_000, received_us), kind, received_us // 1000 - 1, summary
        )

    async def event(self, key: EventKey) -> EventDetail | None:
        step_us = max(1, int(1e6 / self._all.rate))
        row = self._event(key.received_us // step_us, step_us)
        near = [
            replace(row, key=replace(key, seq=(key.seq or 0) + by, received_us=key.received_us + by * 240_000))
            for by in range(-3, 4)
        ]
        fields: dict[str, Any] = {"symbol": "BTCUSDT", "price": "64231.50", "volume": "1.5", "note": "<b>as text</b>"}
        return EventDetail(
            row,
            f"{key.received_us // 1000}-0",
            key.received_us + 700,
            fields,
            96,
            tuple(near[:3]),
            tuple(near[4:]),
            json.dumps({"channel": row.kind, "data": fields | {"price": 64231.5}}),
        )

    def gaps(self) -> list[GapRow]:
        return [gap for gap in _gaps(self._all.start_us) if gap.since_us <= self.at_us]


class FakeTravel(FakeFeed):
    """A moment that stands still until it is played; time passes by the inspection's clock."""

    _second = FeedState.LIVE

    def __init__(self, inspection: FakeInspection, at_us: int) -> None:
        super().__init__(inspection)
        self._moment_us = self._within(at_us)
        self._speed = 0.0
        self._began_us = 0

    @property
    def at_us(self) -> int:
        passed_us = (self._all.clock() - self._began_us) * self._speed if self._speed else 0
        return self._within(self._moment_us + int(passed_us))

    def _within(self, at_us: int) -> int:
        return min(max(at_us, self._all.start_us), self._all.clock())

    @property
    def is_playing(self) -> bool:
        return self._speed > 0

    @property
    def speed(self) -> float:
        return self._speed

    async def go(self, at_us: int) -> None:
        await asyncio.sleep(0)
        self._moment_us, self._began_us = self._within(at_us), self._all.clock()

    def play(self, speed: float) -> None:
        self._moment_us, self._began_us, self._speed = self.at_us, self._all.clock(), speed

    def pause(self) -> None:
        self._moment_us, self._speed = self.at_us, 0.0

    async def step(self, count: int = 1) -> None:
        await self.go(self.at_us + count * int(1e6 / self._all.rate))

    async def refresh(self) -> None:
        pass

    async def close(self) -> None:
        self._all.travels.discard(self)


def _lies_in(at_us: int, gap: GapRow) -> bool:
    return gap.since_us <= at_us < (gap.until_us or at_us + 1)


def _text(price: float) -> str:
    return f"{price:.{2 if price > 1 else 5}f}"


@lru_cache(maxsize=4096)
def _line(seed: int, five_s: int) -> tuple[float, ...]:
    return tuple(_value(seed, (five_s - back) * 5_000_000) for back in range(58, -1, -1))


@lru_cache(maxsize=4096)
def _seed(name: str) -> int:
    return sum(number * byte for number, byte in enumerate(name.encode(), 1))


def _value(seed: int, us: int) -> float:
    """A price that wanders at every scale, always the same at the same moment."""
    x, wander = us / 6e7 + seed, 0.0
    for step, height in ((240.0, 0.02), (47.0, 0.009), (11.0, 0.004), (2.3, 0.0018), (0.4, 0.0007)):
        cell = math.floor(x / step)
        part = x / step - cell
        part = part * part * (3 - 2 * part)
        wander += height * (_hash(seed, step, cell) * (1 - part) + _hash(seed, step, cell + 1) * part)
    return _BASES.get(seed, 0.5 + seed * 37 % 900) * (1 + wander)


@lru_cache(maxsize=65_536)
def _hash(seed: int, step: float, cell: int) -> float:
    return random.Random(f"{seed} {step} {cell}").uniform(-1, 1)


_BASES = {
    _seed(name): price
    for name, price in zip(KNOWN, (64_231.5, 3_182.4, 151.2, 584.1, 0.5213, 0.4419, 0.1587, 27.36), strict=True)
}


def _order(number: int, at_us: int) -> OrderRow:
    status = ("new", "partially_filled", "filled", "cancelled")[number % 4]
    fields = {
        "order_id": f"o-{900 - number}",
        "status": status,
        "quantity": f"{0.1 * (number + 1):.2f}",
        "price": _text(_value(_seed(KNOWN[number % 8]), at_us - number * 9_000_000)),
    }
    side, received_us = ("buy", "sell")[number % 2], at_us - number * 9_000_000
    return OrderRow(f"o-{900 - number}", KNOWN[number % 8], side, status, received_us, number % 4 < 2, fields)


def _gaps(start_us: int) -> list[GapRow]:
    blind, lost = start_us + HOUR_US // 2, start_us + HOUR_US // 5
    return [
        GapRow(
            "m0",
            None,
            FeedState.BLIND,
            "upstream_lost",
            blind,
            blind + 90_000_000,
            None,
            "the platform closed the session",
        ),
        GapRow(
            "m0", "ticker:ETHUSDT", FeedState.LIVE, "dropped", lost, lost + 4_000_000, 1_204, "the log had been trimmed"
        ),
    ]


def _letters(at_us: int) -> list[DeadLetterRow]:
    fields = {"order_id": "o-77", "status": "filled", "price": "64231.50"}
    return [
        DeadLetterRow(ACCOUNT, "executors", f"{at_us // 1000 - number}-0", "orders", "ValueError: no position", 5,
                      at_us - number * 60_000_000, fields)
        for number in range(3)
    ]  # fmt: skip

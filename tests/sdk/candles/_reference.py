"""Candles the plain way: every tick is kept, and each candle is computed from the ticks of its span."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import reduce
from typing import Any

MINUTE = 60_000
add = Context(prec=200).add
LENGTHS = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": 60 * MINUTE,
    "4h": 240 * MINUTE,
    "1d": 1440 * MINUTE,
}


@dataclass
class Tick:
    time: int
    price: str
    quantity: str | None

    @property
    def minute(self) -> int:
        return self.time // MINUTE


@dataclass
class Unseen:
    over: list[tuple[int, int]] = field(default_factory=list)
    since: int | None = None

    def end(self, since: int, until: int) -> None:
        if self.since is not None and self.since <= until:
            since, self.since = min(since, self.since), None
        self.over.append((since, until))

    def touches(self, start: int, end: int) -> bool:
        lasting = self.since is not None and self.since < end
        return lasting or any(since < end and until > start for since, until in self.over if since < until)


@dataclass
class Symbol:
    closed_to: int
    ticks: list[Tick] = field(default_factory=list)
    unseen: Unseen = field(default_factory=Unseen)
    data_from: dict[str, int] = field(default_factory=dict)
    partial: set[tuple[str, int]] = field(default_factory=set)


class Reference:
    """The same calls as `CandleBuilder`; a restart is told by `restarted`."""

    def __init__(self, allowance_ms: int) -> None:
        self.allowance = allowance_ms
        self.symbols: dict[str, Symbol] = {}
        self.unseen = Unseen()
        self.late = 0

    def limit(self, now_us: int) -> int:
        return (now_us // 1000 - self.allowance) // MINUTE * MINUTE

    def want(self, name: str, interval: str, now_us: int) -> None:
        if name not in self.symbols:
            limit = self.limit(now_us)
            self.symbols[name] = Symbol(limit, unseen=Unseen([(limit, now_us // 1000)]))
        symbol = self.symbols[name]
        if interval not in symbol.data_from:
            symbol.data_from[interval] = symbol.closed_to
            span = symbol.closed_to // LENGTHS[interval] * LENGTHS[interval]
            if span < symbol.closed_to and any(tick.time < symbol.closed_to for tick in symbol.ticks):
                symbol.partial.add((interval, span))

    def tick(self, name: str, price: str, quantity: str | None, upstream_ms: int | None, received_us: int) -> bool:
        symbol = self.symbols[name]
        time = received_us // 1000 if upstream_ms is None else upstream_ms
        if time < symbol.closed_to:
            minute = time // MINUTE * MINUTE
            symbol.unseen.over.append((minute, minute + MINUTE))
            self.late += 1
            return False
        symbol.ticks.append(Tick(time, price, quantity))
        return True

    def blind(self, since_us: int, until_us: int | None = None, *, symbol: str | None = None) -> None:
        unseen = self.unseen if symbol is None else self.symbols[symbol].unseen
        since = since_us // 1000 - self.allowance
        if until_us is None:
            unseen.since = since if unseen.since is None else min(since, unseen.since)
        else:
            unseen.end(since, until_us // 1000 + 1)

    def restarted(self, down_us: int, up_us: int) -> None:
        """The log has every one-minute candle, so every candle under way has its history again."""
        if self.unseen.since is not None:
            self.unseen.end(self.unseen.since, up_us // 1000 + 1)
        for symbol in self.symbols.values():
            symbol.unseen.end(down_us // 1000 - self.allowance, up_us // 1000)
            symbol.partial.clear()
            symbol.data_from = dict.fromkeys(symbol.data_from, 0)

    def close_due(self, now_us: int) -> list[tuple[str, dict[str, Any]]]:
        limit = self.limit(now_us)
        first = min((symbol.closed_to for symbol in self.symbols.values()), default=limit)
        closed = []
        for end in range(first + MINUTE, limit + MINUTE, MINUTE):
            for interval, length in LENGTHS.items():
                for name, symbol in self.symbols.items():
                    due = end % length == 0 and interval in symbol.data_from and symbol.closed_to < end
                    candle = self.candle(name, interval, end - length) if due else None
                    if candle is not None:
                        closed.append((f"candles:{name}:{interval}", candle))
        for symbol in self.symbols.values():
            symbol.closed_to = max(symbol.closed_to, limit)
        return closed

    def candle(self, name: str, interval: str, start: int) -> dict[str, Any] | None:
        symbol, end = self.symbols[name], start + LENGTHS[interval]
        data_from = max(start, symbol.data_from[interval])
        before = sorted((tick for tick in symbol.ticks if tick.time < data_from), key=lambda tick: tick.time)
        inside = [tick for tick in symbol.ticks if data_from <= tick.time < end]
        if not inside and not before:
            return None
        ordered = sorted(inside, key=lambda tick: tick.time) or before[-1:]
        by_minute = sorted(inside, key=lambda tick: tick.minute) or before[-1:]
        quantities = [Decimal(tick.quantity) for tick in inside if tick.quantity is not None]
        volume = format(reduce(add, quantities), "f") if quantities else None
        unseen = self.unseen.touches(start, end) or symbol.unseen.touches(start, end)
        time = datetime.fromtimestamp(start // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return {
            "symbol": name,
            "interval": interval,
            "open": ordered[0].price,
            "high": max((tick.price for tick in by_minute), key=Decimal),
            "low": min((tick.price for tick in by_minute), key=Decimal),
            "close": ordered[-1].price,
            "volume": volume if inside else "0",
            "open_time": time,
            "time": time,
            "is_closed": True,
            "source": "built",
            "complete": not unseen and (interval, start) not in symbol.partial,
            "trades": len(inside),
            "empty": not inside,
        }

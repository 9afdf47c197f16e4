"""Numbered events, drawn from a seed: what upstream sends, in the live platform's frames. Pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final, NamedTuple

from .history import NUMBER_FIELD

__all__ = ["CANDLE_TOPICS", "JUNK", "SYMBOLS", "Event", "Generator"]

SYMBOLS: Final = tuple(f"S{number:02}USDT" for number in range(30))
"""The first are busy, the last get an event every few seconds at 1,000 events/s."""

CANDLE_SYMBOLS: Final = SYMBOLS[:4]
CANDLE_TOPICS: Final = tuple(f"candles:{symbol}:1m" for symbol in CANDLE_SYMBOLS)

_WEIGHTS: Final = {"ticker": 93.0, "orders": 3.5, "portfolio": 1.5, "candles": 1.5, "forming": 0.5}
_STATUSES: Final = ("pending", "partially_filled", "filled")

JUNK: Final[tuple[bytes, ...]] = (
    b"not json",
    b"",
    b"[1,2,3]",
    b"42",
    b"null",
    b"\xff\xfe broken \x80",
    b'{"channel":7}',
    b'{"channel":"nonsense","data":{}}',
    b'{"channel":"ticker","symbol":"S00USDT","data":{"timestamp":"2026-01-01T00:00:00.000Z"}}',
    b'{"channel":"ticker","symbol":"no/symbol at all","data":{"price":"1"}}',
    b'{"channel":"ticker","symbol":"S00USDT","data":{"price":"one"}}',
    b'{"channel":"orders","data":{"status":"filled"}}',
    b'{"channel":"candles","symbol":"S00USDT","interval":"7m","data":{"open":"1","high":"1","low":"1","close":"1"}}',
    b'{"type":"subscribed","channel":"ticker:NEVERASKED"}',
    b'{"type":"subscribed"}',
    b'{"channel":"ticker","symbol":"S00USDT","data":{"price":"1","x":' + b"[" * 40 + b"]" * 40 + b"}}",
    b'{"channel":"ticker","symbol":"S00USDT","data":{"price":"1"}',
)
"""None of them is an event, in either dialect; none may end a session."""


class Event(NamedTuple):
    """One event: its topic, its number (None for a forming candle, which is not to reach a handler of closed ones)."""

    topic: str
    n: int | None
    frame: dict[str, Any]


class Generator:
    """The same seed gives the same topics, numbers and prices; times are the caller's."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"upstream:{seed}")
        self._numbers: dict[str, int] = {}
        self._prices = dict.fromkeys(SYMBOLS, 100_000)
        self._kinds = list(_WEIGHTS)
        self._kind_weights = list(accumulate(_WEIGHTS.values()))
        self._symbol_weights = list(accumulate(0.82**rank for rank in range(len(SYMBOLS))))

    def next(self, now_s: float) -> Event:
        """The next event at Unix time ``now_s``."""
        kind = self._draw.choices(self._kinds, cum_weights=self._kind_weights)[0]
        stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(now_s * 1000) % 1000:03d}Z"
        match kind:
            case "ticker":
                return self._ticker(stamp)
            case "orders":
                return self._order(stamp)
            case "portfolio":
                return self._portfolio(stamp)
        return self._candle(is_closed=kind == "candles")

    def _number(self, topic: str) -> int:
        self._numbers[topic] = number = self._numbers.get(topic, 0) + 1
        return number

    def _ticker(self, stamp: str) -> Event:
        symbol = self._draw.choices(SYMBOLS, cum_weights=self._symbol_weights)[0]
        n = self._number(topic := f"ticker:{symbol}")
        data = {"price": self._price(symbol), "quantity": "0.01000000", "timestamp": stamp, NUMBER_FIELD: n}
        return Event(topic, n, {"channel": "ticker", "symbol": symbol, "data": data})

    def _order(self, stamp: str) -> Event:
        n = self._number("orders")
        symbol = SYMBOLS[n % len(SYMBOLS)]
        data = {
            "order_id": f"order-{(n - 1) // len(_STATUSES)}",
            "status": _STATUSES[(n - 1) % len(_STATUSES)],
            "symbol": symbol,
            "side": "buy",
            "type": "limit",
            "quantity": "1.00000000",
            "filled_at": stamp,
            NUMBER_FIELD: n,
        }
        return Event("orders", n, {"channel": "orders", "data": data})

    def _portfolio(self, stamp: str) -> Event:
        n = self._number("portfolio")
        data = {"total_equity": f"{n}.00", "available_cash": "1.00", "unrealized_pnl": "0", "timestamp": stamp}
        return Event("portfolio", n, {"channel": "portfolio", "data": data | {NUMBER_FIELD: n}})

    def _candle(self, *, is_closed: bool) -> Event:
        symbol = self._draw.choice(CANDLE_SYMBOLS)
        price = self._price(symbol)
        topic = f"candles:{symbol}:1m"
        data: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), price)
        # without a time: there are many to a minute here, and where upstream is the only source each is passed on
        data |= {"volume": "1.0", "is_closed": is_closed}
        n = self._number(topic) if is_closed else None
        if n is not None:
            data[NUMBER_FIELD] = n
        return Event(topic, n, {"channel": "candles", "symbol": symbol, "interval": "1m", "data": data})

    def _price(self, symbol: str) -> str:
        self._prices[symbol] = price = max(1, self._prices[symbol] + self._draw.randint(-5, 5))
        return f"{price // 100}.{price % 100:02}000000"

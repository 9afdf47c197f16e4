"""Topics: what can be subscribed, as a small value that parses and prints.

``ticker:BTCUSDT``, ``ticker:all``, ``candles:BTCUSDT:1m``, ``orders``, ``portfolio``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from .errors import TopicError

__all__ = ["ALL", "INTERVALS", "SYMBOL_PATTERN", "Kind", "Topic", "normalize_symbol"]

ALL: Final = "all"
"""The wildcard symbol: every pair the platform has."""

INTERVALS: Final = ("1m", "5m", "15m", "1h", "4h", "1d")
"""Candle intervals, shortest first."""

SYMBOL_PATTERN: Final = "[A-Z0-9][A-Z0-9._-]{0,31}"
_is_symbol = re.compile(SYMBOL_PATTERN, re.ASCII).fullmatch
_MAX_RAW_SYMBOL: Final = 64  # characters looked at before trimming: bounds the work on hostile input


class Kind(StrEnum):
    """The four kinds of events."""

    TICKER = "ticker"
    CANDLES = "candles"
    ORDERS = "orders"
    PORTFOLIO = "portfolio"


def normalize_symbol(symbol: str) -> str:
    """Trim and upper-case ``symbol``, as the platform does.

    Raises:
        TopicError: the result is not 1 to 32 of ``A-Z 0-9 . _ -``, beginning with a letter or digit.
    """
    if not isinstance(symbol, str):
        raise TopicError(f"symbol must be a string such as 'BTCUSDT', not {type(symbol).__name__}", field="symbol")
    name = symbol[: _MAX_RAW_SYMBOL + 1].strip().upper() if symbol.isascii() else ""
    if len(symbol) > _MAX_RAW_SYMBOL or not _is_symbol(name):
        raise TopicError(
            f"symbol {symbol[:_MAX_RAW_SYMBOL]!r} is not valid: use 1 to 32 of A-Z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit, such as 'BTCUSDT'",
            field="symbol",
        )
    return name


def _check_interval(interval: str) -> str:
    if interval not in INTERVALS:
        raise TopicError(f"interval {interval!r} is not valid: use one of {', '.join(INTERVALS)}", field="interval")
    return interval


@dataclass(frozen=True, slots=True)
class Topic:
    """One subscribable stream. Build it with the class methods or `parse`; ``str()`` prints it."""

    kind: Kind
    symbol: str | None = None
    interval: str | None = None

    @classmethod
    def ticker(cls, symbol: str) -> Topic:
        """Prices of ``symbol``, or of every pair for ``"all"`` (in any case: no pair has that name)."""
        name = normalize_symbol(symbol)
        return cls(Kind.TICKER, ALL if name == "ALL" else name)

    @classmethod
    def candles(cls, symbol: str, interval: str) -> Topic:
        """Candles of one pair; there is no wildcard."""
        name = normalize_symbol(symbol)
        if name == "ALL":
            raise TopicError("candles have no 'all' wildcard: name one symbol, such as 'BTCUSDT'", field="symbol")
        return cls(Kind.CANDLES, name, _check_interval(interval))

    @classmethod
    def orders(cls) -> Topic:
        """The account's order updates."""
        return cls(Kind.ORDERS)

    @classmethod
    def portfolio(cls) -> Topic:
        """The account's portfolio snapshots."""
        return cls(Kind.PORTFOLIO)

    @classmethod
    def parse(cls, text: str) -> Topic:
        """Read a topic as `__str__` prints it; symbols are trimmed and upper-cased.

        Raises:
            TopicError: anything else, naming the valid forms.
        """
        if not isinstance(text, str):
            raise TopicError(f"topic must be a string, not {type(text).__name__}", field="topic")
        match text.split(":"):
            case ["ticker", symbol]:
                return cls.ticker(symbol)
            case ["candles", symbol, interval]:
                return cls.candles(symbol, interval)
            case ["orders"]:
                return cls.orders()
            case ["portfolio"]:
                return cls.portfolio()
        raise TopicError(
            f"topic {text[:_MAX_RAW_SYMBOL]!r} is not valid: use ticker:SYMBOL, ticker:all, "
            f"candles:SYMBOL:INTERVAL ({', '.join(INTERVALS)}), orders or portfolio",
            field="topic",
        )

    @property
    def is_private(self) -> bool:
        """Whether the topic belongs to one account rather than to the market."""
        return self.kind in (Kind.ORDERS, Kind.PORTFOLIO)

    @property
    def is_wildcard(self) -> bool:
        """Whether this is ``ticker:all``."""
        return self.symbol == ALL

    def __str__(self) -> str:
        return ":".join(part for part in (self.kind, self.symbol, self.interval) if part)


@lru_cache(maxsize=16_384)
def is_event_topic(text: str) -> bool:
    """Whether ``text`` is exactly how the topic of an event prints (so not the wildcard). Cached."""
    try:
        topic = Topic.parse(text)
    except TopicError:
        return False
    return str(topic) == text and not topic.is_wildcard

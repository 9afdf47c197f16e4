"""One candle while it is built."""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import Any

from ._numbers import MOST, NOTHING, amount_of, exceeds, plus, total, volume_text
from ._time import time_text

__all__ = ["Bar"]


class Bar:
    """Open, high, low, close as the texts upstream sent, and the exact volume, of a span that begins at ``start``.

    Floats order prices whose floats differ (reading a decimal keeps the order); where they are equal and the texts
    are not, the decimals decide. Open and close go by upstream's time, and by arrival within the same millisecond.

    Attributes:
        start: ms since the Unix epoch.
        ticks: how many ticks are in it, as far as that is known.
        trades_known: False where a part of it came without a count.
        volume: the sum of the quantities that ticks named, None where none did.
    """

    __slots__ = (
        "close",
        "close_ms",
        "end",
        "high",
        "high_value",
        "low",
        "low_value",
        "open",
        "open_ms",
        "start",
        "ticks",
        "trades_known",
        "volume",
    )

    def __init__(self, start: int, end: int, price: str, *, volume: Decimal | None = None, ticks: int = 0) -> None:
        self.start = start
        self.end = end
        self.open = self.high = self.low = self.close = price
        self.high_value = self.low_value = float(price)
        self.open_ms, self.close_ms = end, start
        self.volume = volume
        self.ticks = ticks
        self.trades_known = True

    @property
    def trades(self) -> int | None:
        """How many ticks are in it; None where that is not known."""
        return self.ticks if self.trades_known else None

    @property
    def is_empty(self) -> bool:
        """Whether no tick is in it: its prices repeat the close before."""
        return self.ticks == 0 and self.trades_known

    def add(self, time_ms: int, price: str, quantity: str | None) -> bool:
        """Count a tick in. The hot path.

        Returns:
            False where ``quantity`` is no number; the price counts all the same.

        Raises:
            ValueError: ``price`` is no number; nothing has changed.
        """
        value = float(price)
        if value > self.high_value:
            self.high, self.high_value = price, value
        elif value < self.low_value:
            self.low, self.low_value = price, value
        elif (value == self.high_value and price != self.high) or (value == self.low_value and price != self.low):
            self._stretch(price, price, value, value)
        if time_ms >= self.close_ms:
            self.close, self.close_ms = price, time_ms
        if time_ms < self.open_ms:
            self.open, self.open_ms = price, time_ms
        self.ticks += 1
        if quantity is None:
            return True
        try:
            amount = Decimal(quantity)
            if NOTHING <= amount <= MOST and self.volume is not None:
                self.volume = plus(self.volume, amount)
                return True
        except DecimalException:
            return False
        return self._first_quantity(quantity)

    def extend(self, later: Bar) -> None:
        """Take in a candle that follows. One without ticks adds nothing; after some it takes their place."""
        if later.is_empty:
            return
        if self.is_empty:
            self._become(later)
            return
        self._stretch(later.high, later.low, later.high_value, later.low_value)
        self.close = later.close
        self.ticks += later.ticks
        self.trades_known = self.trades_known and later.trades_known
        if later.volume is not None:
            self.volume = later.volume if self.volume is None else total(self.volume, later.volume)

    def within(self, start: int, end: int) -> Bar:
        """The same as a candle of its own over a longer span."""
        other = Bar(start, end, self.open)
        other._become(self)
        return other

    def fields(self, symbol: str, interval: str, *, complete: bool, is_closed: bool) -> dict[str, Any]:
        """What a handler gets."""
        time = time_text(self.start)
        return {
            "symbol": symbol,
            "interval": interval,
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self._volume_text(),
            "open_time": time,
            "time": time,
            "is_closed": is_closed,
            "source": "built",
            "complete": complete,
            "trades": self.trades,
            "empty": self.is_empty,
        }

    def _become(self, other: Bar) -> None:
        self.open, self.close = other.open, other.close
        self.high, self.high_value, self.low, self.low_value = other.high, other.high_value, other.low, other.low_value
        self.volume, self.ticks, self.trades_known = other.volume, other.ticks, other.trades_known

    def _volume_text(self) -> str | None:
        if self.volume is None:
            return None if self.ticks or not self.trades_known else "0"
        return volume_text(self.volume)

    def _stretch(self, high: str, low: str, high_value: float, low_value: float) -> None:
        if high_value > self.high_value or (high_value == self.high_value and exceeds(high, self.high)):
            self.high, self.high_value = high, high_value
        if low_value < self.low_value or (low_value == self.low_value and exceeds(self.low, low)):
            self.low, self.low_value = low, low_value

    def _first_quantity(self, quantity: str) -> bool:
        amount = amount_of(quantity)
        if amount is None or self.volume is not None:
            return False
        self.volume = amount
        return True

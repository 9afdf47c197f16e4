"""Candles that agree with the ticks: one-minute candles are built, the longer ones are put together of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.testing._dialect import INTERVAL_MINUTES
from agentexchange.testing._frames import timestamp
from agentexchange.testing._market import decimal_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentexchange.testing._market import Pair

__all__ = ["Bar", "CandleBook"]

_LONGER = {name: minutes for name, minutes in INTERVAL_MINUTES.items() if minutes > 1}


class Bar:
    """Open, high, low, close in price units and volume in quantity units, from minute ``start`` since the epoch."""

    __slots__ = ("close", "high", "low", "open", "start", "volume")

    def __init__(self, start: int, price: int, volume: int) -> None:
        self.start = start
        self.open = self.high = self.low = self.close = price
        self.volume = volume

    def copy(self, start: int) -> Bar:
        """The same prices as a candle of its own that begins at ``start``."""
        other = Bar(start, self.open, self.volume)
        other.high, other.low, other.close = self.high, self.low, self.close
        return other

    def extend(self, later: Bar) -> None:
        """Take in the candle that follows."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume

    def fields(self, pair: Pair, *, is_closed: bool) -> dict[str, Any]:
        """The candle in the platform's names and strings."""
        scale = pair.price_scale
        return {
            "time": timestamp(self.start * 60),
            "open": decimal_text(self.open, scale),
            "high": decimal_text(self.high, scale),
            "low": decimal_text(self.low, scale),
            "close": decimal_text(self.close, scale),
            "volume": decimal_text(self.volume, pair.lot_scale),
            "is_closed": is_closed,
        }


class CandleBook:
    """The forming candles of every pair. A minute without a tick has no candle."""

    def __init__(self) -> None:
        self._minute = 0
        self._bars: dict[Pair, Bar] = {}
        self._longer: dict[str, dict[Pair, Bar]] = {name: {} for name in _LONGER}

    def trade(self, pair: Pair, price: int, quantity: int) -> None:
        """One tick of the minute that ``roll`` was last told."""
        bar = self._bars.get(pair)
        if bar is None:
            self._bars[pair] = Bar(self._minute, price, quantity)
            return
        if price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        bar.close = price
        bar.volume += quantity

    def roll(self, seconds: float) -> list[tuple[Pair, str, Bar]]:
        """Move on to the minute of ``seconds``.

        Returns:
            (pair, interval, candle) for each candle that this closes, the shortest interval first.
        """
        minute = int(seconds // 60)
        if minute <= self._minute:
            return []
        closed = [(pair, "1m", bar) for pair, bar in self._bars.items()]
        for pair, bar in self._bars.items():
            self._lengthen(pair, bar)
        self._bars = {}
        self._minute = minute
        return closed + list(self._close_longer(minute))

    def _lengthen(self, pair: Pair, bar: Bar) -> None:
        for name, minutes in _LONGER.items():
            start = bar.start - bar.start % minutes
            longer = self._longer[name].get(pair)
            if longer is None:
                self._longer[name][pair] = bar.copy(start)
            else:
                longer.extend(bar)

    def _close_longer(self, minute: int) -> Iterator[tuple[Pair, str, Bar]]:
        for name, minutes in _LONGER.items():
            bars = self._longer[name]
            for pair in [pair for pair, bar in bars.items() if bar.start + minutes <= minute]:
                yield pair, name, bars.pop(pair)

    def forming(self, pair: Pair, interval: str) -> Bar | None:
        """The candle that is not closed yet, None when it has no tick."""
        now = self._bars.get(pair)
        if interval == "1m":
            return now
        longer = self._longer[interval].get(pair)
        if longer is None:
            return now and now.copy(now.start - now.start % _LONGER[interval])
        whole = longer.copy(longer.start)
        if now is not None:
            whole.extend(now)
        return whole

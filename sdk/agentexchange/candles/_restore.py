"""How a symbol continues from closed candles and a saved state."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._bar import Bar
from ._numbers import amount_of
from ._series import NEVER, Slot
from ._spans import Spans
from ._time import INTERVAL_MS, MINUTE_MS, floor, open_ms_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._series import Series
    from ._state import Saved

__all__ = ["Histories", "History", "adopt"]


class History:
    """The closed candles of one symbol, folded as they come.

    Attributes:
        next_ms: the end of the last one-minute candle; None where there was none.
        last: its close.
        folded_to: by interval, the end of the last minute that is in its slot.
    """

    def __init__(self, series: Series) -> None:
        self.next_ms: int | None = None
        self.last: str | None = None
        self.slots = {name: Slot(name, 0) for name, slot in series.slots.items() if slot.length > MINUTE_MS}
        self.folded_to = dict.fromkeys(self.slots, 0)
        # what was folded as it happened is not folded again
        self._until = {name: series.slots[name].since if series.has_closed else sys.maxsize for name in self.slots}

    def minute(self, bar: Bar, *, complete: bool) -> None:
        """The next one-minute candle; one that came before is known."""
        if self.next_ms is not None and bar.start < self.next_ms:
            return
        for name, slot in self.slots.items():
            if bar.start < self._until[name]:
                self._fold(slot, bar, complete=complete)
                self.folded_to[name] = bar.end
        self.next_ms, self.last = bar.end, bar.close

    def _fold(self, slot: Slot, bar: Bar, *, complete: bool) -> None:
        span = floor(bar.start, slot.length)
        if slot.bar is None or slot.bar.start != span:
            slot.bar, slot.partial = None, bar.start != span
        elif bar.start != self.folded_to[slot.interval]:
            slot.partial = True
        slot.partial = slot.partial or not complete
        slot.extend(bar)


class Histories:
    """The closed candles of every symbol that is wanted."""

    def __init__(self, series: Mapping[str, Series]) -> None:
        self._series = series
        self._of: dict[str, History] = {}

    def of(self, symbol: str) -> History | None:
        """What is known of ``symbol``, None where nothing is."""
        return self._of.get(symbol)

    def add(self, fields: Mapping[str, Any], now_ms: int) -> None:
        """Take a candle; what is not wanted, not closed, not a candle or not of the past is skipped."""
        series = self._series.get(str(fields.get("symbol")))
        start, interval = open_ms_of(fields), str(fields.get("interval"))
        length = INTERVAL_MS.get(interval)
        if series is None or start is None or length is None or start % length or start >= now_ms:
            return
        if fields.get("is_closed") is False or (interval != "1m" and interval not in series.slots):
            return
        history = self._of.get(series.symbol)
        if history is None:
            history = self._of[series.symbol] = History(series)
        if interval != "1m":
            slot = history.slots[interval]
            slot.published = max(slot.published, start)
        elif (bar := _bar_of(fields, start)) is not None:
            history.minute(bar, complete=fields.get("complete") is not False)


def _bar_of(fields: Mapping[str, Any], start: int) -> Bar | None:
    try:
        prices = [str(fields[name]) for name in ("open", "high", "low", "close")]
        bar = Bar(start, start + MINUTE_MS, prices[0])
        _, bar.high, bar.low, bar.close = prices
        bar.high_value, bar.low_value = float(bar.high), float(bar.low)
    except (KeyError, ValueError):
        return None
    trades, volume = fields.get("trades"), fields.get("volume")
    bar.volume = amount_of(volume) if isinstance(volume, str) else None
    if type(trades) is int:
        bar.ticks = trades
    else:  # upstream's: without a volume nothing was traded
        bar.trades_known = bar.volume == 0
    if bar.is_empty:
        bar.volume = None
    return bar


def adopt(
    series: Series, history: History | None, saved: Saved | None, *, now_ms: int, allowance_ms: int
) -> list[tuple[str, Bar, bool]]:
    """Continue ``series`` from what is known of it; ticks are seen again from ``now_ms`` on.

    Returns:
        (interval, candle, whether minutes are missing) of spans that ended before and were never published.
    """
    begun = None if saved is None or series.has_begun else saved.series.get(series.symbol)
    for name, past in ({} if history is None else history.slots).items():
        series.slots[name].published = max(series.slots[name].published, past.published)
    if series.has_closed:
        if history is not None:
            _put_in_front(series, history)
        return []
    closed_to = None if history is None else history.next_ms
    if begun is None and closed_to is None:
        return []
    seen_ms = max(closed_to or 0, 0 if saved is None or begun is None else saved.as_of_us // 1000)
    series.unseen = _unseen(begun, closed_to, since=seen_ms - allowance_ms, until=now_ms)
    if begun is not None:
        series.has_begun = True
        series.next_ms, series.last = begun.next_ms, begun.last
    if history is not None and history.next_ms is not None:
        series.next_ms, series.last = history.next_ms, history.last
    series.drop_open(series.next_ms)
    if begun is not None:
        _take_open(series, begun)
    wanted = {} if begun is None else begun.slots
    continued = [_continue(series, slot, history, wanted.get(name)) for name, slot in series.slots.items()]
    return [late for late in continued if late is not None]


def _unseen(begun: Series | None, closed_to: int | None, *, since: int, until: int) -> Spans:
    """What the last builder did not see, and the time from its end until now."""
    spans = Spans() if begun is None else Spans(begun.unseen.pairs())
    if begun is not None:
        if closed_to is not None:
            spans.add(closed_to, begun.next_ms)  # closed there, but in no log: lost
        if begun.unseen.lasts_since is not None:
            since = min(since, begun.unseen.lasts_since)
    spans.add(since, until)
    return spans


def _take_open(series: Series, begun: Series) -> None:
    """The open minutes of the state, in front of what has come since."""
    for start, bar in begun.open.items():
        if start < series.next_ms:
            continue
        later = series.open.get(start)
        if later is not None:
            bar.extend(later)
            bar.close_ms = max(bar.close_ms, later.close_ms)
        series.open[start] = bar
    if series.open:
        series.minute = series.open[max(series.open)]


def _continue(series: Series, slot: Slot, history: History | None, before: Slot | None) -> tuple[str, Bar, bool] | None:
    """Begin ``slot`` at the series' next minute; a candle that ended just there, wanted and unpublished, goes back."""
    if slot.length == MINUTE_MS:
        return None
    past = None if history is None or history.next_ms is None else history.slots[slot.interval]
    next_ms = slot.since = series.next_ms
    slot.bar, slot.partial = None, series.last is not None and floor(next_ms, slot.length) < next_ms
    if past is None or past.bar is None:
        return None
    if past.bar.end > next_ms:
        slot.bar, slot.partial = past.bar, past.partial
    elif past.bar.start > slot.published and (slot.published != NEVER or (before and before.since < next_ms)):
        slot.published = past.bar.start
        return slot.interval, past.bar, past.partial
    return None


def _put_in_front(series: Series, history: History) -> None:
    """Complete the first spans of slots that were wanted late."""
    for name, past in history.slots.items():
        slot = series.slots[name]
        span = floor(slot.since, slot.length)
        if not slot.partial or past.bar is None or past.bar.start != span:
            continue
        if slot.bar is not None:
            past.bar.extend(slot.bar)
        slot.bar, slot.partial = past.bar, past.partial or history.folded_to[name] != slot.since
        slot.since = span  # a second history of it must not be folded in again

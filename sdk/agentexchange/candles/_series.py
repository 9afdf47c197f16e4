"""What the builder keeps of one symbol: its open minutes, its last price, and a slot per wanted interval."""

from __future__ import annotations

from typing import Final

from ._bar import Bar
from ._spans import Spans
from ._time import INTERVAL_MS, MINUTE_MS, floor

__all__ = ["NEVER", "Series", "Slot"]

NEVER: Final = -1
_NO_BAR: Final = Bar(0, 0, "0")
"""Stands for "no open minute": no time is inside it."""


class Slot:
    """One wanted interval of a symbol.

    Attributes:
        since: the first minute that was folded in as it happened, ms since the Unix epoch.
        bar: the closed minutes of the span that is under way; None where there are none.
        partial: whether minutes of that span are missing in it.
        published: the last span known to be published already (its start), so that a restart publishes none twice.
        told: what the last forming candle held; `forming_due_us` says when the next one may follow.
    """

    __slots__ = ("bar", "forming", "forming_due_us", "interval", "length", "partial", "published", "since", "told")

    def __init__(self, interval: str, since: int) -> None:
        self.interval = interval
        self.length = INTERVAL_MS[interval]
        self.since = since
        self.bar: Bar | None = None
        self.partial = floor(since, self.length) < since
        self.published = NEVER
        self.forming = False
        self.forming_due_us = 0
        self.told: tuple[int, int] | None = None

    def extend(self, minute: Bar) -> None:
        """Take in the next closed minute."""
        if self.bar is None:
            start = floor(minute.start, self.length)
            self.bar = minute.within(start, start + self.length)
        else:
            self.bar.extend(minute)

    def close(self) -> tuple[Bar | None, bool]:
        """End the span: its candle, None where there is none or it is known, and whether minutes are missing."""
        bar, partial = self.bar, self.partial
        self.bar, self.partial = None, False
        return (bar if bar is not None and bar.start > self.published else None), partial


class Series:
    """One symbol.

    Attributes:
        next_ms: the first minute that is not closed.
        has_closed: whether a minute was closed here, so that what came before can only be put in front.
        has_begun: whether it has taken what a saved state had of it: once only.
        minute: the newest open minute, where most ticks belong.
        open: every open minute that has ticks, by its start.
        last: the close of the last closed minute; None while there was never a price.
        unseen: spans in which ticks of this symbol may have been missed.
    """

    __slots__ = ("has_begun", "has_closed", "last", "minute", "next_ms", "open", "slots", "symbol", "topics", "unseen")

    def __init__(self, symbol: str, next_ms: int) -> None:
        self.symbol = symbol
        self.next_ms = next_ms
        self.has_begun = False
        self.has_closed = False
        self.minute = _NO_BAR
        self.open: dict[int, Bar] = {}
        self.last: str | None = None
        self.unseen = Spans()
        self.slots: dict[str, Slot] = {}
        self.topics: dict[str, str] = {}

    def want(self, interval: str) -> Slot:
        """The slot of an interval, a new one where there was none."""
        slot = self.slots.get(interval)
        if slot is None:
            slot = self.slots[interval] = Slot(interval, self.next_ms)
            slot.partial = slot.partial and self.last is not None
            self.topics[interval] = f"candles:{self.symbol}:{interval}"
        return slot

    def wanted(self) -> list[tuple[str, bool]]:
        """Its intervals, and whether they are told while they form."""
        return [(interval, slot.forming) for interval, slot in self.slots.items()]

    def opened(self, start: int, price: str) -> Bar:
        """The open minute that begins at ``start``, a new one where it had no tick.

        Raises:
            ValueError: ``price`` is no number.
        """
        bar = self.open.get(start)
        if bar is None:
            bar = self.open[start] = Bar(start, start + MINUTE_MS, price)
            if start > self.minute.start:
                self.minute = bar
        return bar

    def close_minute(self, start: int, *, told: bool) -> Bar | None:
        """Close the minute at ``start``.

        Returns:
            Its candle; None where there was never a price, or where it is empty and that is not ``told``.
        """
        self.next_ms = start + MINUTE_MS
        self.has_closed = True
        bar = self.open.pop(start, None)
        if bar is None:
            if self.last is None or not told:
                return None
            bar = Bar(start, self.next_ms, self.last)
        else:
            self.last = bar.close
            if bar is self.minute:
                self.minute = _NO_BAR
        for slot in self.slots.values():
            if slot.length != MINUTE_MS:
                slot.extend(bar)
        return bar

    def drop_open(self, before: int) -> None:
        """Let go of open minutes that were closed elsewhere."""
        for start in [start for start in self.open if start < before]:
            if self.open.pop(start) is self.minute:
                self.minute = _NO_BAR

    def version(self, slot: Slot) -> tuple[int, int] | None:
        """What each tick of the newest tick's span changes; None where no open minute has a tick."""
        if not self.open:
            return None
        span = floor(self.minute.start, slot.length)
        closed = slot.bar.ticks if slot.bar is not None and slot.bar.start == span else 0
        return span, closed + sum(bar.ticks for start, bar in self.open.items() if start >= span)

    def forming(self, slot: Slot) -> Bar | None:
        """The candle of the span that the newest tick is in, as it stands."""
        span = floor(self.minute.start or self.next_ms, slot.length)
        parts = [self.open[start] for start in sorted(self.open) if start >= span]
        if slot.bar is not None and slot.bar.start == span:
            parts.insert(0, slot.bar)
        if not parts:
            return None
        whole = parts[0].within(span, span + slot.length)
        for part in parts[1:]:
            whole.extend(part)
        return whole

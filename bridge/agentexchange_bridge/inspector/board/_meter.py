"""How much comes in a scope, and how late."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Meter"]

_LAGS: Final = 1_000
_MARKS: Final = 6  # with a mark a second: the rate of the last five seconds


class Meter:
    """Counts events; a mark now and then turns counts into a rate.

    Attributes:
        count: events taken.
        last_us: ``r`` of the newest one; None before any.
        rate: events a second, as of the last mark.
    """

    __slots__ = ("_lags", "_marks", "count", "last_us", "rate")

    def __init__(self) -> None:
        self.count = 0
        self.last_us: int | None = None
        self.rate = 0.0
        self._lags: deque[float] = deque(maxlen=_LAGS)
        self._marks: deque[tuple[float, int]] = deque(maxlen=_MARKS)

    def mark(self, clock: float) -> None:
        """Work out the rate; ``clock`` in seconds."""
        self._marks.append((clock, self.count))
        since, before = self._marks[0]
        if clock > since:
            self.rate = (self.count - before) / (clock - since)

    def restart(self) -> None:
        """What was counted before says nothing of what comes from now on."""
        self._marks.clear()

    def lag(self, milliseconds: float) -> None:
        """An event came so long after the bridge had it."""
        self._lags.append(milliseconds)

    def lags(self) -> tuple[float, float, float] | None:
        """The 50th, 95th and 99th percentile of the last thousand samples."""
        if not self._lags:
            return None
        lags = sorted(self._lags)
        last = len(lags) - 1
        return (lags[last // 2], lags[last * 95 // 100], lags[last * 99 // 100])

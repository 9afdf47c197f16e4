"""Spans of time that were not seen: sorted, merged, bounded in number."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_SPANS", "Spans"]

MAX_SPANS: Final = 256
"""Spans kept; beyond that the oldest grow together, so that too much counts as unseen, never too little."""


class Spans:
    """Half-open spans ``[since, until)`` in ms since the Unix epoch, and perhaps one that lasts.

    Attributes:
        lasts_since: where the span began that has not ended yet; None where there is none.
    """

    __slots__ = ("_ends", "_starts", "lasts_since")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.lasts_since: int | None = None
        for since, until in spans:
            self.add(since, until)

    def add(self, since: int, until: int) -> None:
        """Take in a span; empty ones change nothing."""
        if since >= until:
            return
        first = bisect_left(self._ends, since)
        last = first
        while last < len(self._starts) and self._starts[last] <= until:
            since, until = min(since, self._starts[last]), max(until, self._ends[last])
            last += 1
        self._starts[first:last] = [since]
        self._ends[first:last] = [until]
        if len(self._starts) > MAX_SPANS:
            del self._starts[1]
            del self._ends[0]

    def begin(self, since: int) -> None:
        """A span begins whose end is not known."""
        self.lasts_since = since if self.lasts_since is None else min(since, self.lasts_since)

    def end(self, since: int, until: int) -> None:
        """A span is over: also the one that lasts, unless that began later."""
        if self.lasts_since is not None and self.lasts_since <= until:
            since, self.lasts_since = min(since, self.lasts_since), None
        self.add(since, until)

    def overlaps(self, since: int, until: int) -> bool:
        """Whether any of ``[since, until)`` was not seen."""
        if self.lasts_since is not None and self.lasts_since < until:
            return True
        place = bisect_left(self._ends, since + 1)
        return place < len(self._starts) and self._starts[place] < until

    def forget(self, before: int) -> None:
        """Let go of the spans that ended by ``before``."""
        count = bisect_left(self._ends, before + 1)
        del self._starts[:count]
        del self._ends[:count]

    def pairs(self) -> list[tuple[int, int]]:
        """The spans that are over, oldest first."""
        return list(zip(self._starts, self._ends, strict=True))

"""How long something took, over millions of times: percentiles in a few hundred counters."""

from __future__ import annotations

from typing import Final

__all__ = ["Lags"]

_EXACT_BITS: Final = 7
"""Of a number that are kept: percentiles are right to one part in 128."""


class Lags:
    """A histogram of spans in µs; negative ones, of clocks that disagree, are counted as such.

    Attributes:
        count: how many.
        most_us: the longest; None where there is none.
    """

    __slots__ = ("_buckets", "count", "most_us")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.most_us: int | None = None

    def add(self, lag_us: int) -> None:
        """Count one."""
        shift = max(0, lag_us.bit_length() - _EXACT_BITS)
        rounded = lag_us >> shift << shift
        buckets = self._buckets
        buckets[rounded] = buckets.get(rounded, 0) + 1
        self.count += 1
        if self.most_us is None or lag_us > self.most_us:
            self.most_us = lag_us

    def take(self, other: Lags) -> None:
        """Count what another one has."""
        for rounded, count in other._buckets.items():
            self._buckets[rounded] = self._buckets.get(rounded, 0) + count
        self.count += other.count
        if other.most_us is not None and (self.most_us is None or other.most_us > self.most_us):
            self.most_us = other.most_us

    def percentile_us(self, share: float) -> int | None:
        """The lag that ``share`` (0 to 1) of all do not exceed, rounded down by less than 1 %; None without any."""
        wanted = max(1.0, self.count * share)
        for rounded, count in sorted(self._buckets.items()):
            wanted -= count
            if wanted <= 0:
                return rounded
        return self.most_us

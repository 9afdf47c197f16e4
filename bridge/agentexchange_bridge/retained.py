"""What was written in the last seconds: a restarted server may have forgotten it (``appendfsync everysec``). Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .items import ITEM_OVERHEAD_BYTES, KEPT_FLAGS, TICKER, Item

if TYPE_CHECKING:
    from .batch import Batch

__all__ = ["Forgotten", "RetainLimits", "Retained"]

_ONLY_TICKS = "tf"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainLimits:
    """How much of what was written is held for writing again; the oldest batches go first."""

    age_s: float = 10.0
    batches: int = 20_000
    size_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the server turns out not to have: events to write again, and ticks that are gone.

    ``is_whole`` is False where it has forgotten more than is held here: then neither the list nor the count is all.
    """

    again: list[Item]
    ticks: int
    first_us: int
    last_us: int
    is_whole: bool


class _Record(NamedTuple):
    written_at: float
    first_us: int
    last_us: int
    ticks: int
    kept: list[Item]
    size_bytes: int


class Retained:
    """The batches that were acknowledged lately."""

    def __init__(self, limits: RetainLimits) -> None:
        self._limits = limits
        self._records: deque[_Record] = deque()
        self._bytes = 0
        self._left_us = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, batch: Batch, now: float) -> None:
        """Remember an acknowledged batch; forget what is older than the limits, counted from ``now`` (monotonic s)."""
        kept = [item for item in batch.items if item[1] in KEPT_FLAGS] if batch.flags.strip(_ONLY_TICKS) else []
        size = sum(len(item[5]) + ITEM_OVERHEAD_BYTES for item in kept)
        ticks = batch.flags.count(TICKER)
        self._records.append(_Record(now, batch.items[0][0], batch.last_us, ticks, kept, size))
        self._bytes += size
        limits, records = self._limits, self._records
        while (
            records[0].written_at < now - limits.age_s
            or len(records) > limits.batches
            or self._bytes > limits.size_bytes
        ):
            oldest = records.popleft()
            self._bytes -= oldest.size_bytes
            self._left_us = oldest.last_us
            if not records:
                break

    def take_above(self, received_us: int) -> Forgotten | None:
        """Remove and return what lies above the server's last ``r``; None where it has everything."""
        gone: list[_Record] = []
        while self._records and self._records[-1].last_us > received_us:
            gone.append(self._records.pop())
        is_whole = received_us >= self._left_us
        left_us, self._left_us = self._left_us, min(self._left_us, received_us)
        if not gone:
            return None if is_whole else Forgotten([], 0, left_us, left_us, is_whole)
        gone.reverse()
        self._bytes -= sum(record.size_bytes for record in gone)
        again = [item for record in gone for item in record.kept]
        ticks = sum(record.ticks for record in gone)
        return Forgotten(again, ticks, gone[0].first_us, gone[-1].last_us, is_whole)

    def clear(self, left_us: int = 0) -> None:
        """Forget everything; what the server has begins anew, with events of others up to ``left_us``."""
        self._records.clear()
        self._bytes, self._left_us = 0, left_us

"""The bounded buffer of one scope: tickers conflate when it is full, the rest waits. Pure, no I/O.

Two queues, merged by ``r`` on the way out: **ticks** (tickers and forming candles), of which only the newest
per topic matters in need, and **kept** events (orders, portfolio, closed candles, notices), of which the oldest are
dropped only at their own bound. Every loss is recorded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Cause

from .items import ITEM_OVERHEAD_BYTES, KIND_OF, Item

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BufferLimits", "EventBuffer", "Loss", "Losses"]

MAX_LOSS_TOPICS: Final = 1024
"""Topics whose losses are told apart; more are summed."""

_MIB: Final = 1024 * 1024
_SWEEP: Final = 64  # ticks taken before their size is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferLimits:
    """Bounds of one scope's buffer; bytes count the packed fields and what Python adds to them.

    The defaults keep a worker of one market and one account scope below 150 MB with both buffers full.
    """

    ticks: int = 150_000
    tick_bytes: int = 52 * _MIB
    kept: int = 20_000
    kept_bytes: int = 10 * _MIB

    def shared_by(self, scopes: int) -> BufferLimits:
        """The bounds of each of so many scopes that together may hold what one may."""
        return BufferLimits(
            ticks=max(1, self.ticks // scopes),
            tick_bytes=self.tick_bytes // scopes,
            kept=max(1, self.kept // scopes),
            kept_bytes=self.kept_bytes // scopes,
        )


@dataclass(frozen=True, slots=True)
class Loss:
    """Events that will not be written; topic None stands for several."""

    topic: str | None
    cause: Cause
    count: int
    first_us: int
    last_us: int


class Losses:
    """Losses summed per topic and cause until they are told."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str | None, Cause], tuple[int, int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, topic: str | None, cause: Cause, received_us: int, count: int = 1) -> None:
        """Count events of ``topic`` received at ``received_us`` as lost."""
        key = (topic, cause)
        if key not in self._sums and len(self._sums) >= MAX_LOSS_TOPICS:
            key = (None, cause)
        before, first, last = self._sums.get(key, (0, received_us, received_us))
        self._sums[key] = (before + count, min(first, received_us), max(last, received_us))

    def drain(self) -> list[Loss]:
        """What was lost since the last call."""
        sums, self._sums = self._sums, {}
        return [Loss(topic, cause, *told) for (topic, cause), told in sums.items()]


class EventBuffer:
    """Events waiting to be encoded, in order of ``r``; every operation is amortised O(1) per event."""

    def __init__(self, limits: BufferLimits) -> None:
        self._limits = limits
        self._ticks: deque[Item] = deque()
        self._kept: deque[Item] = deque()
        self._tick_bytes = 0
        self._kept_bytes = 0
        self.losses = Losses()
        self.conflated = 0
        self.dropped = 0
        self.lost: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._ticks) + len(self._kept)

    @property
    def ticks(self) -> int:
        """Tickers and forming candles waiting."""
        return len(self._ticks)

    @property
    def kept(self) -> int:
        """Other events waiting."""
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """What the waiting events weigh."""
        return self._tick_bytes + self._kept_bytes

    def add_tick(self, item: Item) -> None:
        """Append an event that may be replaced by a newer one of its topic; ``r`` must be above every earlier one."""
        self._ticks.append(item)
        self._tick_bytes += len(item[5]) + ITEM_OVERHEAD_BYTES
        if self._tick_bytes > self._limits.tick_bytes or len(self._ticks) > self._limits.ticks:
            self._conflate()

    def add_kept(self, item: Item) -> None:
        """Append an event that waits whatever happens; ``r`` must be above every earlier one."""
        self._kept.append(item)
        self._kept_bytes += len(item[5]) + ITEM_OVERHEAD_BYTES
        while self._kept_bytes > self._limits.kept_bytes or len(self._kept) > self._limits.kept:
            oldest = self._kept.popleft()
            self._kept_bytes -= len(oldest[5]) + ITEM_OVERHEAD_BYTES
            self._lose(oldest, Cause.DROPPED)

    def holds(self, flag: str) -> bool:
        """Whether a kept event with this flag waits."""
        return any(item[1] == flag for item in self._kept)

    def take(self, max_events: int, max_bytes: int) -> list[Item]:
        """Remove and return the oldest events: at most ``max_events``, and few more once ``max_bytes`` are passed."""
        taken: list[Item] = []
        ticks, kept = self._ticks, self._kept
        size = 0
        while len(taken) < max_events and size < max_bytes and (ticks or kept):
            if kept and not (ticks and ticks[0][0] < kept[0][0]):
                size += self._move(kept, taken, 1)
            else:
                # ticks alone go in one sweep: their sizes are much alike, and the bound is about
                room = max_events - len(taken)
                size += self._move(ticks, taken, 1 if kept else min(room, len(ticks), _SWEEP))
        return taken

    def clear(self) -> None:
        """Forget everything, the recorded losses included."""
        self._ticks.clear()
        self._kept.clear()
        self._tick_bytes = self._kept_bytes = 0
        self.losses.drain()

    def _move(self, queue: deque[Item], taken: list[Item], count: int) -> int:
        """Move the oldest ``count`` events; returns what their packed fields weigh."""
        pop = queue.popleft
        moved = [pop() for _ in range(count)]
        taken += moved
        size = sum([len(item[5]) for item in moved])
        if queue is self._ticks:
            self._tick_bytes -= size + count * ITEM_OVERHEAD_BYTES
        else:
            self._kept_bytes -= size + count * ITEM_OVERHEAD_BYTES
        return size

    def _conflate(self) -> None:
        """Keep the newest tick per topic, at its place. Frees half the room at least: the cost is spread over it."""
        newest: list[Item] = []
        seen: set[str] = set()
        for item in reversed(self._ticks):
            if item[2] in seen:
                self._lose(item, Cause.CONFLATED)
            else:
                seen.add(item[2])
                newest.append(item)
        self._ticks = deque(reversed(newest))
        self._tick_bytes = _weigh(newest)
        self._drop_ticks_to_half()

    def _drop_ticks_to_half(self) -> None:
        """More topics than half the room holds: only then does a topic lose its newest."""
        while len(self._ticks) > self._limits.ticks // 2 or self._tick_bytes > self._limits.tick_bytes // 2:
            oldest = self._ticks.popleft()
            self._tick_bytes -= len(oldest[5]) + ITEM_OVERHEAD_BYTES
            self._lose(oldest, Cause.DROPPED)

    def _lose(self, item: Item, cause: Cause) -> None:
        if cause is Cause.CONFLATED:
            self.conflated += 1
        else:
            self.dropped += 1
        key = (cause.value, KIND_OF[item[1]])
        self.lost[key] = self.lost.get(key, 0) + 1
        self.losses.add(item[2], cause, item[0])


def _weigh(items: Iterable[Item]) -> int:
    return sum(len(item[5]) + ITEM_OVERHEAD_BYTES for item in items)

"""One handler's bounded queue, and what happens when its handler is slow."""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ._policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._meta import Origin

__all__ = ["LAG_SWEEPS", "MAX_BYTES", "HandlerQueue", "Item", "Loss"]

Item = tuple[str, Any, "Origin | None"]
"""Topic, fields (or a FeedStatus), and where it came from if the handler asks for metadata."""

MAX_BYTES: Final = 32 * 1024 * 1024
"""Memory, roughly, that events waiting for one handler may take; twice as much where no log keeps the rest."""
LAG_SWEEPS: Final = 5
"""Sweeps that an event may wait before its conflating queue gives only the newest of each topic."""

_MIN_CONFLATED: Final = 2  # the newest waits beside what it replaces: with room for one, that is lost, not conflated
_HARD_FACTOR: Final = 10  # how many times the bound may wait where nothing keeps the rest
_HARD_BYTES: Final = 2 * MAX_BYTES
_EVENT_BYTES: Final = 500  # a dict, a tuple, an envelope
_FIELD_BYTES: Final = 60  # what a string takes beside its characters


class Loss:
    """Events that a full queue dropped, from when on, and how many so far."""

    __slots__ = ("count", "since")

    def __init__(self) -> None:
        self.since = datetime.now(UTC)
        self.count = 0


class HandlerQueue:
    """Filled on the event loop's thread, emptied by one runner, perhaps on another thread.

    Filling appends to ``items`` and taking on the loop pops from its left, both without a lock; all else that touches
    the left end holds the lock and leaves alone what is appended meanwhile.

    Args:
        policy: what happens when ``bound`` events wait.
        bound: how many may.
        on_loss: told when a loss begins, and again when the runner has caught up (``ended``).
        on_full: told when a waiting queue is full.

    Attributes:
        limit: at which length `make_room` is to be called before the next event goes in.
        lagging: whether only the newest event of each topic is to be given, until the runner has caught up.
        lock: for taking on another thread.
        is_full: whether a waiting queue was filled and has not had room since.
    """

    def __init__(
        self, policy: Policy, bound: int, *, on_loss: Callable[[Loss, bool], None], on_full: Callable[[], None]
    ) -> None:
        if policy is Policy.CONFLATE:
            bound = max(bound, _MIN_CONFLATED)
        self.items: deque[Item] = deque()
        self.limit = bound
        self.conflated = 0
        self.dropped = 0
        self.lagging = False
        self.is_full = False
        self.policy: Final = policy
        self._bound = bound
        self._on_loss = on_loss
        self._on_full = on_full
        self._loss: Loss | None = None
        self._bytes = 0  # of what waits, or more: what was taken is subtracted late
        self._mark = 0
        self._mark_age = 0
        self.lock = threading.Lock()

    def make_room(self) -> None:
        """Called with a full queue, before the next event goes in."""
        was_full = self.is_full
        with self.lock:
            if self.policy is Policy.CONFLATE:
                self._conflate()
                self.lagging = True
                lost = self._shed(self.limit * 3 // 4) if len(self.items) >= self.limit else 0
            elif self.policy is Policy.WAIT and not was_full:
                self._fill()
                lost = 0
            else:
                lost = self._shed(self.limit - 1)
        if self.is_full and not was_full:
            self._on_full()
        if lost:
            self._lose(lost)

    def weigh(self, fields: dict[str, Any]) -> None:
        """Count the memory of an event that goes into a waiting queue, and make room if there is too much."""
        self._bytes += _weight(fields)
        if self._bytes > (_HARD_BYTES if self.is_full else MAX_BYTES):
            self.make_room()

    def conflate(self) -> None:
        """Keep the newest event of each topic, in the place of the oldest. The runner's side."""
        with self.lock:
            self._conflate()

    def sweep(self, delivered: int) -> None:
        """Called at regular times: begin to conflate when an event has waited through `LAG_SWEEPS` of them.

        Sweeps are counted instead of seconds, so that a process that was stopped does not find its events old.
        """
        gone = delivered + self.conflated + self.dropped
        if gone >= self._mark:
            self._mark = gone + len(self.items)
            self._mark_age = 0
            return
        self._mark_age += 1
        if self._mark_age >= LAG_SWEEPS:
            self.lagging = True

    def caught_up(self) -> None:
        """The runner found the queue empty: a loss, if there was one, has ended."""
        self._bytes = 0
        self.lagging = False
        if self._loss is not None:
            loss, self._loss = self._loss, None
            self._on_loss(loss, True)

    @property
    def has_lost(self) -> bool:
        """Whether a loss began and its end was not told."""
        return self._loss is not None

    @property
    def is_half_empty(self) -> bool:
        """Whether at most half of the bound waits."""
        return len(self.items) <= self._bound // 2

    def reopen(self) -> bool:
        """End `is_full` if there is room again: whether it was ended."""
        with self.lock:
            if not self.is_full or not self.is_half_empty or self._weigh_all() > MAX_BYTES // 2:
                return False
            self.is_full, self.limit = False, self._bound
            return True

    def clear(self) -> None:
        """Drop what waits."""
        with self.lock:
            self.dropped += len(self.items)
            self.items.clear()
            self.lagging = self.is_full = False
            self.limit, self._bytes = self._bound, 0
        self._loss = None

    # Under the lock

    def _conflate(self, *, only_forming: bool = False) -> None:
        newest: dict[Any, Item] = {}
        count = len(self.items)
        for number in range(count):
            item = self.items.popleft()
            key = number if only_forming and not _is_forming(item) else item[0]
            if only_forming:
                newest.pop(
                    key, None
                )  # a candle's order is kept; a price moves up, lest a busy topic never has its turn
            newest[key] = item
        self.conflated += count - len(newest)
        self.items.extendleft(reversed(newest.values()))

    def _fill(self) -> None:
        """Called when the bound is reached, in events or in bytes: full, unless forming candles made room."""
        self._conflate(only_forming=True)
        if not self.is_half_empty or self._weigh_all() > MAX_BYTES // 2:
            self.is_full = True
            self.limit = self._bound * _HARD_FACTOR

    def _shed(self, keep: int) -> int:
        """Drop the oldest until ``keep`` are left, and those that take too much memory; returns how many."""
        lost = max(0, len(self.items) - keep)
        for _ in range(lost):
            self.items.popleft()
        if self._bytes > _HARD_BYTES and self._weigh_all() > _HARD_BYTES:
            while self.items and self._bytes > MAX_BYTES:
                self._bytes -= _weight(self.items.popleft()[1])
                lost += 1
        return lost

    def _weigh_all(self) -> int:
        self._bytes = sum(_weight(fields) for _, fields, _ in tuple(self.items))
        return self._bytes

    # On the loop

    def _lose(self, count: int) -> None:
        self.dropped += count
        begins = self._loss is None
        self._loss = self._loss or Loss()
        self._loss.count += count
        if begins:
            self._on_loss(self._loss, False)


def _is_forming(item: Item) -> bool:
    return item[0].startswith("candles:") and item[1].get("is_closed") is False


def _weight(fields: dict[str, Any]) -> int:
    sizes = (len(value) if type(value) is str else len(str(value)) for value in fields.values())
    return _EVENT_BYTES + sum(_FIELD_BYTES + size for size in sizes)

"""One handler's bounded queue, and what happens when it is full."""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._meta import Origin

__all__ = ["FullPolicy", "HandlerQueue", "Item", "Loss"]

Item = tuple[str, Any, "Origin | None"]
"""Topic, fields (or a FeedStatus), and where it came from if the handler asks for metadata."""

_FINISH: Final = None


class FullPolicy(Enum):
    """What a full queue does."""

    CONFLATE = "conflate"
    """Keeps the newest event of each topic: a price that was replaced is worth nothing."""
    DROP_OLDEST = "drop_oldest"
    """Keeps all up to its bound, which is ten times larger; beyond it the oldest is lost, and that is told."""


class Loss:
    """Events that a full queue dropped, from when on, and how many so far."""

    __slots__ = ("count", "since")

    def __init__(self) -> None:
        self.since = datetime.now(UTC)
        self.count = 0


class HandlerQueue:
    """Filled on the event loop's thread, emptied by one runner, perhaps on another thread.

    Args:
        policy: what happens when ``limit`` events wait.
        limit: the bound.
        on_loss: told when a loss begins, and again when the runner has caught up (``ended``).
    """

    def __init__(self, policy: FullPolicy, limit: int, on_loss: Callable[[Loss, bool], None]) -> None:
        self.limit = limit
        self.items: deque[Item | None] = deque()
        self.conflated = 0
        self.dropped = 0
        self._policy = policy
        self._on_loss = on_loss
        self._loss: Loss | None = None
        # append and popleft are atomic; the lock keeps a runner's batch from seeing a half-made room
        self._lock = threading.Lock()

    def take(self, most: int) -> list[Item | None]:
        """Remove and return up to ``most`` items. The runner's side."""
        with self._lock:
            return [self.items.popleft() for _ in range(min(most, len(self.items)))]

    def make_room(self) -> None:
        """Called with a full queue, before the next event goes in."""
        with self._lock:
            if self._policy is FullPolicy.CONFLATE:
                self._conflate()
            surplus = len(self.items) - self.limit + 1
            lost = surplus if self._policy is FullPolicy.DROP_OLDEST else max(0, len(self.items) - self.limit * 3 // 4)
            for _ in range(lost):
                self.items.popleft()
        if lost > 0:
            self._lose(lost)

    def caught_up(self) -> None:
        """The runner found the queue empty: a loss, if there was one, has ended."""
        if self._loss is not None:
            loss, self._loss = self._loss, None
            self._on_loss(loss, True)

    def finish(self, *, deliver: bool) -> None:
        """Put the end mark, behind what waits or in its place."""
        with self._lock:
            if not deliver:
                self.items.clear()
            self.items.append(_FINISH)

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self.items.clear()
        self._loss = None

    def _conflate(self) -> None:
        newest = {item[0]: item for item in reversed(self.items) if item is not None}
        self.conflated += len(self.items) - len(newest)
        self.items.clear()
        self.items.extend(reversed(newest.values()))

    def _lose(self, count: int) -> None:
        self.dropped += count
        begins = self._loss is None
        self._loss = self._loss or Loss()
        self._loss.count += count
        if begins:
            self._on_loss(self._loss, False)

"""How fresh what upstream sends for each scope is: one watch per scope, told through its writer. Synchronous."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from agentexchange.freshness import FeedWatch

from .notices import from_us
from .outbox import wall_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentexchange_schemas import FeedStatus

    from .writer import ScopeWriter

__all__ = ["ScopeFreshness"]

MAX_ARRIVALS: Final = 8192
"""Topics of one scope that are watched; there are some hundreds."""


class ScopeFreshness:
    """Of the scopes of one pipeline.

    Args:
        writers: by scope.
        is_watched: whether ticks of a symbol are wanted, so that their silence means something.
        clock: seconds, monotonic. wall: µs since the Unix epoch.
    """

    def __init__(
        self,
        writers: Mapping[str, ScopeWriter],
        *,
        is_watched: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._writers = writers
        self._is_watched = is_watched
        self._clock = clock
        self._wall = wall
        self._watches: dict[str, FeedWatch] = {}
        self._arrivals: dict[str, dict[str, object]] = {}

    def arrivals(self, scope: str, symbol: str) -> dict[str, Any] | None:
        """Where the newest tick of ``symbol`` is to be put under its topic; None where nobody asks for it."""
        return self._arrivals.setdefault(scope, {}) if self._is_watched(symbol) else None

    def unwatch(self) -> None:
        """Other symbols are wanted: forget those that are not."""
        for arrivals in self._arrivals.values():
            for topic in [topic for topic in arrivals if not self._is_watched(topic.partition(":")[2])]:
                del arrivals[topic]

    def said(self, scope: str, status: FeedStatus) -> bool:
        """The feed said ``status`` of the scope or of a topic: whether that is to be told."""
        return self._watch(scope).said(status, self._clock())

    def paused(self, scope: str) -> None:
        """What came lately was not this worker's: until the feed says that it is live again, nothing is judged."""
        self._watch(scope).paused()

    def ended(self) -> None:
        """The feed is gone."""
        for watch in self._watches.values():
            watch.ended()

    def look(self) -> Iterator[tuple[str, FeedStatus]]:
        """To be called twice a second: what is to be told, by scope."""
        clock, now = self._clock(), from_us(self._wall())
        for scope, writer in self._writers.items():
            watch, arrivals = self._watch(scope), self._arrivals.get(scope, {})
            if len(arrivals) > MAX_ARRIVALS:
                arrivals.clear()
            if writer.outbox.is_open:
                yield from ((scope, status) for status in watch.look(arrivals, clock=clock, now=now))
            last_at = watch.ticks.last_tick_at
            writer.stats.tick_age_s = None if last_at is None or not writer.outbox.is_open else clock - last_at
            writer.stats.topics_not_live = len(writer.outbox.narrator.states.topics)

    def _watch(self, scope: str) -> FeedWatch:
        if scope not in self._watches:
            self._watches[scope] = FeedWatch(scope)
        return self._watches[scope]

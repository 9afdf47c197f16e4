"""Plain counters of a feed, for anyone to read at any time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import FeedState

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FeedStats", "PoolStats"]

_SUMS: Final = ("frames", "bytes", "events", "pings", "folded_twins", "refused_topics", "sessions", "reconnects")


@dataclass(slots=True)
class FeedStats:
    """Counters since the feed was built. ``last_frame_at`` is in seconds of the feed's clock, None before the first."""

    state: FeedState = FeedState.CONNECTING
    frames: int = 0
    bytes: int = 0
    events: int = 0
    pings: int = 0
    folded_twins: int = 0
    refused_topics: int = 0
    sessions: int = 0
    reconnects: int = 0
    last_frame_at: float | None = None
    junk: dict[str, int] = field(default_factory=dict)

    @property
    def oldest_session(self) -> int:
        """The number, counted from 1, of the oldest session that may be open."""
        return self.sessions


@dataclass(slots=True)
class PoolStats(FeedStats):
    """The sums over a pool's sessions.

    Attributes:
        sessions_open: sessions that are open now.
        unclaimed: events that were not delivered: another session delivers them, or nobody wants them; ``events`` does
            not count them.
        oldest: the number of the oldest session that is open, counted from 1 over all of them; 0 where none is.
        ambiguous: moves of a symbol between sessions after which it is not certain that no tick was taken for a repeat.
    """

    sessions_open: int = 0
    unclaimed: int = 0
    ambiguous: int = 0
    oldest: int = 0

    @property
    def oldest_session(self) -> int:
        """The number, counted from 1, of the oldest session that is open."""
        return self.oldest

    def add(self, parts: Iterable[FeedStats]) -> None:
        """Add the counters of each."""
        for part in parts:
            for name in _SUMS:
                setattr(self, name, getattr(self, name) + getattr(part, name))
            if part.last_frame_at is not None:
                self.last_frame_at = max(part.last_frame_at, self.last_frame_at or part.last_frame_at)
            for kind, count in tuple(part.junk.items()):
                self.junk[kind] = self.junk.get(kind, 0) + count

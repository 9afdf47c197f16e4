"""Plain counters of a feed, for anyone to read at any time."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentexchange_schemas import FeedState

__all__ = ["FeedStats"]


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

"""The answer of `AgentExchangeWS.freshness`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentexchange_schemas import FeedState

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Freshness"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """How fresh a topic is at this client, now.

    Attributes:
        topic: such as ``ticker:BTCUSDT``.
        state: of the topic, else of its kind, else of the feed.
        since: since when (UTC); None where that is not known.
        message: why, in a sentence, where there is anything to say.
        age_s: seconds since the last event of the topic came to this client, by its own clock; None before the first.
        upstream_time: when the platform says that event happened (UTC), None where it does not say.
        received_time: when this client (straight) or the bridge (shared) received it (UTC).
        written_time: when the bridge wrote it; None straight from the platform.
        delivered_time: when a handler was last called with an event of the topic; None while none was.
        clock_difference_s: how far this machine's clock is ahead of the bridge's, as both compare theirs with Redis's.
            None straight from the platform, and until it is known.
        upstream_delay_s: straight from the platform, the least time lately between an event's own time stamp and its
            receipt: the trip, and what the clocks differ by. None on a shared feed, and until it is known.
    """

    topic: str
    state: FeedState
    since: datetime | None
    message: str | None = None
    age_s: float | None = None
    upstream_time: datetime | None = None
    received_time: datetime | None = None
    written_time: datetime | None = None
    delivered_time: datetime | None = None
    clock_difference_s: float | None = None
    upstream_delay_s: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether the topic can be relied on."""
        return self.state is FeedState.LIVE

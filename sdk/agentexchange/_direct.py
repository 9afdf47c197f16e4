"""Straight from the platform: one upstream session feeds the handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .truth import TruthFilter
from .upstream import UpstreamFeed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from agentexchange_schemas import FrameError, Topic

    from ._dispatch import Dispatcher
    from ._urls import UpstreamUrl
    from .upstream import AuthJudge, FeedOptions

__all__ = ["DirectTransport"]

_COUNTERS: Final = ("frames", "bytes", "events", "pings", "folded_twins", "refused_topics", "sessions", "reconnects")


class DirectTransport:
    """Moves events from one session to the dispatcher."""

    def __init__(
        self,
        url: UpstreamUrl,
        api_key: SecretStr,
        *,
        dispatcher: Dispatcher,
        topics: Iterable[Topic],
        auth: AuthJudge,
        options: FeedOptions,
    ) -> None:
        self._feed = UpstreamFeed(url, api_key, sink=_Sink(dispatcher), topics=topics, auth=auth, options=options)
        self.run = self._feed.run
        self.subscribe = self._feed.subscribe
        self.unsubscribe = self._feed.unsubscribe
        self.stop = self._feed.stop

    def stats(self) -> dict[str, int | float]:
        """What the platform's connection has brought."""
        stats = self._feed.stats
        return {name: getattr(stats, name) for name in _COUNTERS} | {"junk": sum(tuple(stats.junk.values()))}


class _Sink:
    """Hands everything on, private events by way of what is known of the account."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        truth = TruthFilter(dispatcher.event, dispatcher.status)
        self.on_event = truth.on_event
        self.on_status = truth.on_status

    def on_junk(self, error: FrameError) -> None:
        """Nothing to add: the feed has counted and logged it."""

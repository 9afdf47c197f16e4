"""Straight from the platform: one upstream session feeds the handlers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ._direct_freshness import DirectFreshness
from ._tasks import end
from ._transport import Outlook
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
        self._wanted = dict.fromkeys(topics)
        self._freshness = DirectFreshness(dispatcher, options, self._wanted)
        sink = _Sink(dispatcher, self._freshness)
        self._feed = UpstreamFeed(url, api_key, sink=sink, topics=self._wanted, auth=auth, options=options)
        self.stop = self._feed.stop

    async def run(self) -> None:
        """Deliver until `stop`."""
        tasks = [asyncio.create_task(work) for work in (self._feed.run(), self._freshness.run())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(tasks)
        for task in done:
            task.result()

    def subscribe(self, topic: Topic) -> None:
        """Want ``topic``; asks again for a refused one."""
        self._wanted[topic] = None
        self._feed.subscribe(topic)

    def unsubscribe(self, topic: Topic) -> None:
        """Want it no more."""
        self._wanted.pop(topic, None)
        self._feed.unsubscribe(topic)

    def stats(self) -> dict[str, int | float]:
        """What the platform's connection has brought."""
        stats = self._feed.stats
        return {name: getattr(stats, name) for name in _COUNTERS} | {"junk": sum(tuple(stats.junk.values()))}

    def outlook(self, topic: Topic) -> Outlook:
        """Nothing but what its events say."""
        del topic
        return Outlook(upstream_delay_s=self._freshness.upstream_delay_s)


class _Sink:
    """Hands everything on, private events by way of what is known of the account."""

    def __init__(self, dispatcher: Dispatcher, freshness: DirectFreshness) -> None:
        truth = TruthFilter(dispatcher.event, freshness.on_status)
        self.on_event = truth.on_event
        self.on_status = truth.on_status

    def on_junk(self, error: FrameError) -> None:
        """Nothing to add: the feed has counted and logged it."""

"""Straight from the platform: upstream sessions feed the handlers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Kind

from ._candle_sink import CandleSink
from ._direct_freshness import DirectFreshness
from ._tasks import end, next_turn
from ._transport import Outlook
from .candles import CandleDesk, upstream_topics
from .truth import TruthFilter
from .upstream import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from agentexchange_schemas import Topic

    from ._transport import EventTaker
    from ._urls import UpstreamUrl
    from .candles import CandleSource
    from .upstream import AuthJudge, FeedOptions, PoolOptions

__all__ = ["DirectTransport"]

_COUNTERS: Final = (
    "frames",
    "bytes",
    "events",
    "pings",
    "folded_twins",
    "refused_topics",
    "sessions",
    "reconnects",
    "sessions_open",
    "unclaimed",
    "ambiguous",
)


_POLL_S: Final = 0.25
"""Between two looks at which candles are due."""


class DirectTransport:
    """Moves events from as many sessions as the topics need to the dispatcher.

    On the way candles are chosen and built, and private events judged by what is known of the account.
    """

    def __init__(
        self,
        url: UpstreamUrl,
        api_key: SecretStr,
        *,
        dispatcher: EventTaker,
        topics: Iterable[Topic],
        auth: AuthJudge,
        options: FeedOptions,
        pool: PoolOptions,
        candles: CandleSource,
    ) -> None:
        self._options = options
        self._desk = CandleDesk(candles)
        self._wanted: dict[Topic, None] = {}
        self._freshness = DirectFreshness(dispatcher, options, self._wanted)
        truth = TruthFilter(dispatcher.event, self._freshness.on_status)
        self._sink = CandleSink(
            self._desk, deliver=dispatcher.event, private=truth.on_event, tell=truth.on_status, wall=options.wall
        )
        self._has_candles = asyncio.Event()
        self._feed = UpstreamPool(
            url, api_key, sink=self._sink, auth=auth, options=options, on_answer=self._settle, pool=pool
        )
        for topic in topics:
            self.subscribe(topic)
        self.stop = self._feed.stop

    async def run(self) -> None:
        """Deliver until `stop`."""
        tasks = [asyncio.create_task(work) for work in (self._feed.run(), self._poll(), self._freshness.run())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(tasks)
        for task in done:
            task.result()

    def subscribe(self, topic: Topic) -> None:
        """Want ``topic``, and what it is made from; asks again for what was refused."""
        self._wanted[topic] = None
        if topic.kind is Kind.CANDLES:
            self._sink.want(topic)
            self._has_candles.set()
        for needed, optional in upstream_topics((topic,), self._desk.mode).items():
            self._feed.subscribe(needed, optional=optional)

    def unsubscribe(self, topic: Topic) -> None:
        """Want it no more, nor what only it was made from."""
        self._wanted.pop(topic, None)
        if topic.kind is Kind.CANDLES:
            self._sink.unwant(topic)
        needed = upstream_topics(self._wanted, self._desk.mode)
        for unneeded in upstream_topics((topic,), self._desk.mode).keys() - needed.keys():
            self._feed.unsubscribe(unneeded)
            self._freshness.forget(unneeded)

    def stats(self) -> dict[str, int | float]:
        """What the platform's connections have brought, and what became of candles."""
        stats, built, chosen = self._feed.stats, self._desk.stats.builder, self._desk.stats.chooser
        return {name: getattr(stats, name) for name in _COUNTERS} | {
            "junk": sum(tuple(stats.junk.values())),
            "candles_built": chosen.from_ticks,
            "candles_from_upstream": chosen.from_upstream,
            "candle_source_switches": chosen.switches,
            "late_ticks": built.late,
        }

    def outlook(self, topic: Topic) -> Outlook:
        """Nothing but what its events say."""
        del topic
        return Outlook(upstream_delay_s=self._freshness.upstream_delay_s)

    def _settle(self) -> None:
        self._sink.settle(self._feed.has_settled)

    async def _poll(self) -> None:
        while True:
            await self._has_candles.wait()
            await next_turn(self._options.sleep, _POLL_S)
            self._settle()
            self._sink.poll()

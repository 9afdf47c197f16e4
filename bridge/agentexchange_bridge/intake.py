"""Intake: what upstream has for some scopes, taken in while any of them is this worker's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from agentexchange._backoff import backoff
from agentexchange._tasks import next_turn
from agentexchange.candles import CandleSource, upstream_topics
from agentexchange.errors import ConnectionError  # noqa: A004 - the documented name
from agentexchange.freshness import LOOK_S
from agentexchange_schemas import ALL, Kind

from .outbox import wall_us
from .pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from structlog.typing import FilteringBoundLogger

    from agentexchange.upstream import FeedSink, FeedStats
    from agentexchange_schemas import FeedStatus, Layout, Topic

    from .candles import ScopeCandles
    from .pulse import Pulse
    from .reconcile import Reconciler
    from .stats import UpstreamStats, WorkerStats
    from .writer import ScopeWriter

__all__ = ["Feed", "Intake", "MakeFeed"]


class Feed(Protocol):
    """What an intake needs of a feed."""

    @property
    def stats(self) -> FeedStats:
        """Its counters."""

    async def run(self) -> None:
        """Keep its sessions up until `stop`."""

    def subscribe(self, topic: Topic, *, optional: bool = False) -> None:
        """Want ``topic``, or have it where there is room. Idempotent."""

    def unsubscribe(self, topic: Topic) -> None:
        """Want it no more. Idempotent."""

    def has_settled(self, topic: Topic) -> bool:
        """Whether upstream has answered for ``topic``."""

    def silent_s(self) -> float | None:
        """How long ago upstream was last heard; None where there is no session."""

    def renew(self, message: str) -> None:
        """Replace what may hold old events."""

    def stop(self) -> None:
        """Make `run` return."""


class MakeFeed(Protocol):
    """How a feed is made."""

    def __call__(self, sink: FeedSink, topics: Iterable[Topic], on_answer: Callable[[], None]) -> Feed:
        """Build the feed of one run."""


class Intake:
    """One feed for some scopes: it runs while this worker owns any of them, and stands still otherwise.

    Args:
        account: the account scope that private topics belong to, or None for the market.
        make_feed: called for each run of the feed.
        candle_source: where the candles among the topics may come from.
        pulse: whether the event loop stood still.
        on_status: told of every change of the feed's state, after the writers.
        reconciler: of an account: what its private events pass through.

    Attributes:
        writers: by scope; filled by the worker before `run`.
        candles: by market scope; the same.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        account: str | None,
        topics: Iterable[Topic],
        make_feed: MakeFeed,
        stats: WorkerStats,
        upstream: UpstreamStats,
        pulse: Pulse,
        log: FilteringBoundLogger,
        candle_source: CandleSource = CandleSource.AUTO,
        on_status: Callable[[FeedStatus], None] = lambda _status: None,
        reconciler: Reconciler | None = None,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self.writers: dict[str, ScopeWriter] = {}
        self.candles: dict[str, ScopeCandles] = {}
        self.reconciler = reconciler
        self.stats = upstream
        self._layout = layout
        self._account = account
        self._candle_source = candle_source
        self._wall = wall
        self._topics = dict.fromkeys(topics)
        self._symbols = _symbols_of(self._topics)
        self._upstream = upstream_topics(self._topics, candle_source)
        self._needs: dict[str, list[Topic]] = {}
        self._make_feed = make_feed
        self._pulse = pulse
        self._log = log.bind(upstream=upstream.name)
        self._on_status = on_status
        self.pipeline = Pipeline(
            self.writers,
            layout=layout,
            account=account,
            stats=stats,
            upstream=upstream,
            log=self._log,
            candles=self.candles,
            is_served=self.is_served,
            on_status=self._said,
            is_watched=self._is_watched,
            reconciler=reconciler,
            wall=wall,
        )
        self._feed: Feed | None = None
        self._sessions_before = self._reconnects_before = 0
        self._held: set[str] = set()
        self._lost_on: dict[str, int] = {}
        self._needed = asyncio.Event()
        self._stopped = asyncio.Event()
        self._let_go_us = 0
        self._restart_in_s = 0.0

    # What is wanted

    def want(self, topics: Iterable[Topic]) -> None:
        """Want these topics from now on, and no others."""
        self._topics = dict.fromkeys(topics)
        self._symbols = _symbols_of(self._topics)
        before, self._upstream = self._upstream, upstream_topics(self._topics, self._candle_source)
        self._needs.clear()
        self.want_candles()
        self.pipeline.wants_others(str(topic) for topic in before.keys() - self._upstream.keys())
        if self._feed is not None:
            for topic in before.keys() - self._upstream.keys():
                self._feed.unsubscribe(topic)
            # not the others: who asks for all again asks upstream for what it has refused
            self._ask(
                self._feed, (topic for topic, optional in self._upstream.items() if before.get(topic) != optional)
            )

    def want_candles(self) -> None:
        """Tell every scope which candles are wanted of it."""
        wanted: dict[str, list[Topic]] = {scope: [] for scope in self.candles}
        for topic in self._topics:
            if topic.kind is Kind.CANDLES:
                for scope in self._layout.scopes_of(topic):
                    wanted[scope].append(topic)
        for scope, topics in wanted.items():
            self.candles[scope].want(topics)

    def topics_of(self, scope: str) -> list[Topic]:
        """The topics that ``scope`` carries: those that are wanted, and those that their candles are built from."""
        wanted = (topic for topic in self._topics if self._is_of(topic, scope))
        return [*dict.fromkeys((*wanted, *self._needed_by(scope)))]

    def comes(self, topic: Topic) -> bool:
        """Whether what upstream sends of ``topic``, a single ticker, comes to its scope from here on."""
        (scope,) = self._layout.scopes_of(topic)
        return self._feed is not None and self._feed.has_settled(topic) and self.pipeline.admits(scope)

    def _needed_by(self, scope: str) -> list[Topic]:
        """The topics upstream without which ``scope`` is not served. Remembered: it is asked at each answer."""
        found = self._needs.get(scope)
        if found is None:
            needed = (topic for topic, optional in self._upstream.items() if not optional)
            found = self._needs[scope] = [topic for topic in needed if self._is_of(topic, scope)]
        return found

    def _is_of(self, topic: Topic, scope: str) -> bool:
        return scope in self._layout.scopes_of(topic, self._account)

    def _is_watched(self, symbol: str) -> bool:
        return symbol in self._symbols or ALL in self._symbols

    # The feed's life

    async def run(self) -> None:
        """Keep a feed up while it is needed; returns after `stop`, with upstream let go."""
        delays = backoff()
        while True:
            await self._needed.wait()
            if self._stopped.is_set():
                return
            delays = await self._one_feed(delays)
            await self._pause(self._restart_in_s)
            self._restart_in_s = 0.0

    async def look_on(self) -> None:
        """Watch whether ticks come, until cancelled."""
        while True:
            await next_turn(asyncio.sleep, LOOK_S)
            self.pipeline.look()

    def restart(self, after_s: float) -> None:
        """Replace the feed, by one that ``make_feed`` builds in so many seconds."""
        self._restart_in_s = after_s
        if self._feed is not None:
            self._feed.stop()

    def stop(self) -> None:
        """Let upstream go. Idempotent."""
        if not self._stopped.is_set():
            self._let_go_us = self.heard_us()
        self._stopped.set()
        self._needed.set()
        if self._feed is not None:
            self._feed.stop()

    @property
    def let_go_us(self) -> int:
        """Up to when upstream was heard when `stop` was called, µs since the Unix epoch."""
        return self._let_go_us

    def heard_us(self) -> int:
        """Up to when upstream was heard; now, where there is no session that could be silent."""
        silent_s = None if self._feed is None else self._feed.silent_s()
        return self._wall() - int((silent_s or 0.0) * 1_000_000)

    def is_served(self, scope: str) -> bool:
        """Whether upstream sends this worker what the scope is of."""
        feed = self._feed
        return feed is not None and all(feed.has_settled(topic) for topic in self._needed_by(scope))

    async def _one_feed(self, delays: Iterator[float]) -> Iterator[float]:
        topics = [topic for topic, optional in self._upstream.items() if not optional and self._is_wanted(topic)]
        self._sessions_before = self.stats.sessions
        self._reconnects_before = self.stats.reconnects + (self.stats.sessions > 0)
        self._feed = self._make_feed(self.pipeline, topics, self.pipeline.answered)
        self._ask(self._feed, self._upstream)
        self.stats.active = True
        try:
            await self._feed.run()
            return backoff()
        except ConnectionError as exc:
            # final for a client; a worker's operator may mend the certificate or the URL's other end
            self._log.error("upstream cannot be used; trying again slowly", error=str(exc))
            await self._pause(next(delays))
            return delays
        finally:
            self.note_sessions()
            self.stats.active = False
            self.pipeline.feed_ended(heard_us=None if self._stopped.is_set() else self.heard_us())
            self._feed = None

    def note_sessions(self) -> None:
        """Bring the numbers of sessions up to date."""
        if self._feed is not None and self._feed.stats.sessions:
            self.stats.sessions = self._sessions_before + self._feed.stats.sessions
            self.stats.reconnects = self._reconnects_before + self._feed.stats.reconnects

    def _said(self, status: FeedStatus) -> None:
        self.note_sessions()
        self._on_status(status)

    async def _pause(self, seconds: float) -> None:
        """Wait; `stop` ends it early."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    # Ownership

    def owns(self, scope: str) -> bool:
        """Whether ``scope`` is this worker's."""
        return scope in self.writers and self.writers[scope].is_owner

    def owner_changed(self, scope: str, owned: bool) -> None:  # noqa: FBT001 - the writer's callback
        """A scope is this worker's now, or no longer."""
        feed = self._feed
        if scope in self.candles:
            (self.candles[scope].granted if owned else self.candles[scope].lost)()
        if owned:
            self._renew_if_old(scope)
        else:
            self._let_go(scope)
        if self.reconciler is not None:
            (self.reconciler.granted if owned else self.reconciler.lost)()
        if not any(writer.is_owner for writer in self.writers.values()):
            self._needed.clear()
            if feed is not None:
                feed.stop()
            return
        self._needed.set()
        if feed is not None:
            self._ask(feed, self._upstream)
        if owned:
            self.pipeline.catch_up(scope)

    def _ask(self, feed: Feed, topics: Iterable[Topic]) -> None:
        for topic in topics:
            if self._is_wanted(topic):
                feed.subscribe(topic, optional=self._upstream[topic])
            else:
                feed.unsubscribe(topic)

    def _is_wanted(self, topic: Topic) -> bool:
        return any(self.owns(scope) for scope in self._layout.scopes_of(topic, self._account))

    def _renew_if_old(self, scope: str) -> None:
        """Replace a session that may still hold events from before the grant: others may have written them.

        It may where it served the scope before, and where the loop stood still. One that is drained all the time holds
        none, and replacing it would blind the other scopes.
        """
        self.note_sessions()
        was_its_own = scope in self._held or self._oldest_session() <= self._lost_on.get(scope, -1)
        self._held.add(scope)
        if self._feed is not None and (was_its_own or self._pulse.stood_still_lately()):
            self._feed.renew("a scope was granted while older events of it may lie unread")

    def _oldest_session(self) -> int:
        """The oldest session that is open, numbered as `stats` counts them; the last one where none is."""
        if self._feed is None or not self._feed.stats.oldest_session:
            return self.stats.sessions
        return self._sessions_before + self._feed.stats.oldest_session

    def _let_go(self, scope: str) -> None:
        self.note_sessions()
        self._held.discard(scope)
        self._lost_on[scope] = self.stats.sessions


def _symbols_of(topics: Iterable[Topic]) -> frozenset[str]:
    """Whose ticks are wanted, for themselves or for candles."""
    return frozenset(topic.symbol for topic in topics if topic.symbol is not None)

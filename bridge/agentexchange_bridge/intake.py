"""Intake: what upstream has for some scopes, taken in while any of them is this worker's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from agentexchange._backoff import backoff
from agentexchange.errors import ConnectionError  # noqa: A004 - the documented name

from .outbox import wall_us
from .pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from structlog.typing import FilteringBoundLogger

    from agentexchange.upstream import FeedSink, FeedStats
    from agentexchange_schemas import FeedStatus, Layout, Topic

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

    def subscribe(self, topic: Topic) -> None:
        """Want ``topic``. Idempotent."""

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
        pulse: whether the event loop stood still.
        on_status: told of every change of the feed's state, after the writers.
        reconciler: of an account: what its private events pass through.

    Attributes:
        writers: by scope; filled by the worker before `run`.
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
        on_status: Callable[[FeedStatus], None] = lambda _status: None,
        reconciler: Reconciler | None = None,
    ) -> None:
        self.writers: dict[str, ScopeWriter] = {}
        self.reconciler = reconciler
        self.stats = upstream
        self._layout = layout
        self._account = account
        self._topics = dict.fromkeys(topics)
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
            is_served=self.is_served,
            on_status=self._said,
            reconciler=reconciler,
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

    @property
    def topics(self) -> tuple[Topic, ...]:
        """What is wanted of upstream, as long as its scope is this worker's."""
        return tuple(self._topics)

    def want(self, topics: Iterable[Topic]) -> None:
        """Want these topics from now on, and no others."""
        before, self._topics = self._topics, dict.fromkeys(topics)
        if self._feed is not None:
            for topic in before.keys() - self._topics.keys():
                self._feed.unsubscribe(topic)
            self._ask(self._feed)

    def topics_of(self, scope: str) -> list[Topic]:
        """The wanted topics that ``scope`` carries."""
        return [topic for topic in self._topics if scope in self._layout.scopes_of(topic, self._account)]

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
        return wall_us() - int((silent_s or 0.0) * 1_000_000)

    def is_served(self, scope: str) -> bool:
        """Whether upstream sends this worker what the scope is of."""
        feed = self._feed
        return feed is not None and all(feed.has_settled(topic) for topic in self.topics_of(scope))

    async def _one_feed(self, delays: Iterator[float]) -> Iterator[float]:
        topics = [topic for topic in self._topics if self._is_wanted(topic)]
        self._sessions_before = self.stats.sessions
        self._reconnects_before = self.stats.reconnects + (self.stats.sessions > 0)
        self._feed = self._make_feed(self.pipeline, topics, self.pipeline.answered)
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
            self._ask(feed)
        if owned:
            self.pipeline.catch_up(scope)

    def _ask(self, feed: Feed) -> None:
        for topic in self._topics:
            (feed.subscribe if self._is_wanted(topic) else feed.unsubscribe)(topic)

    def _is_wanted(self, topic: Topic) -> bool:
        return any(self.owns(scope) for scope in self._layout.scopes_of(topic, self._account))

    def _renew_if_old(self, scope: str) -> None:
        """Replace a session that may still hold events from before the grant: others may have written them.

        It may where it served the scope before, and where the loop stood still. One that is drained all the time holds
        none, and replacing it would blind the other scopes.
        """
        self.note_sessions()
        was_its_own = scope in self._held or self._lost_on.get(scope) == self.stats.sessions
        self._held.add(scope)
        if self._feed is not None and (was_its_own or self._pulse.stood_still_lately()):
            self._feed.renew("a scope was granted while older events of it may lie unread")

    def _let_go(self, scope: str) -> None:
        self.note_sessions()
        self._held.discard(scope)
        self._lost_on[scope] = self.stats.sessions

"""The bridge worker: one upstream feed, a writer per scope, and their lives under one task group."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from agentexchange._backoff import backoff
from agentexchange.errors import AuthenticationError, ConnectionError  # noqa: A004 - the documented name
from agentexchange.redis import RedisLinkError, RespStream, StreamOptions, pack
from agentexchange.upstream import AuthPolicy, FeedOptions, UpstreamFeed
from agentexchange_schemas import FeedState, FeedStatus, Layout, Topic, account_scope

from .batch import BatchEncoder
from .config import WorkerConfig, new_worker_id
from .lease import Lease
from .meta import agree_on_layout
from .outbox import Outbox, OutboxLimits, wall_us
from .pipeline import Pipeline
from .pulse import Pulse
from .stats import WorkerStats
from .writer import ScopeWriter, WriterOptions

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from .stats import BatchObserver

__all__ = ["Worker"]

_REPLY_TIMEOUT_S: Final = 5.0
"""How long Redis may take to answer before the connection is given up; what was in flight is compared afterwards."""

_REGISTERED_S: Final = 5
"""How long a worker stays in ``ax:workers`` after its last sign of life, seconds."""

_PRIVATE: Final = (Topic.orders(), Topic.portfolio())


class Worker:
    """A bridge worker. One loop, one `run`.

    Args:
        config: what to do.
        log: where to say what happens.
        feed_options: of the upstream session.
        on_batch: told of each acknowledged batch, for metrics.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        log: FilteringBoundLogger | None = None,
        feed_options: FeedOptions | None = None,
        on_batch: BatchObserver = lambda _batch: None,
    ) -> None:
        self.config = config
        self.worker_id = config.worker_id or new_worker_id()
        self.layout = Layout(config.prefix, config.partitions)
        self.stats = WorkerStats()
        self._log: FilteringBoundLogger = (log or structlog.get_logger()).bind(worker=self.worker_id)
        self._feed_options = replace(feed_options or FeedOptions(), tick_stale_after_s=config.tick_stale_after_s)
        self._on_batch = on_batch
        self._account = account_scope(config.api_key.get_secret_value()) if config.account else None
        self._writers = {scope: self._writer(scope) for scope in self._scopes()}
        self.stats.scopes = {scope: writer.stats for scope, writer in self._writers.items()}
        self._pipeline = Pipeline(
            self._writers,
            layout=self.layout,
            account=self._account,
            stats=self.stats,
            log=self._log,
            is_served=self._is_served,
            on_status=self._upstream_said,
        )
        self._feed: UpstreamFeed | None = None
        self._sessions_before = self._reconnects_before = 0
        self._pulse = Pulse()
        self._held: set[str] = set()
        self._lost_on: dict[str, int] = {}
        self._needed = asyncio.Event()
        self._stop = asyncio.Event()
        self._left = asyncio.Event()
        self._let_go_us = 0
        self._auth_failed: FeedStatus | None = None

    @property
    def ready(self) -> bool:
        """Whether Redis answers for every scope: as the owner, or standing by."""
        return all(writer.is_ready for writer in self._writers.values())

    @property
    def healthy(self) -> bool:
        """Whether the worker does its work: for the scopes it owns, upstream and Redis are there."""
        owned = [writer for writer in self._writers.values() if writer.is_owner]
        return self.ready and (not owned or self.stats.upstream_state is FeedState.LIVE)

    def stop(self) -> None:
        """Begin a graceful stop; `run` returns when it is over. Idempotent."""
        if not self._stop.is_set():
            self._let_go_us = self._heard_us()
        self._stop.set()
        self._needed.set()
        if self._feed is not None:
            self._feed.stop()

    async def run(self) -> None:
        """Work until `stop`: own what is free, stand by for the rest.

        On stop, upstream is let go first, then what is held is written (for ``drain_s`` at most), then the leases are
        given back, so that a standby takes over at once.

        Raises:
            AuthenticationError: upstream keeps refusing the key, and ``exit_on_auth_failure`` is set.
            LayoutError: the server holds another layout version or partition count.
        """
        try:
            await self._live()
        except ExceptionGroup as failures:
            raise _first(failures) from None
        if self._auth_failed is not None:
            raise AuthenticationError(self._auth_failed.message or "the platform refuses the API key")

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(writer.run(), name=scope) for scope, writer in self._writers.items()]
            group.create_task(self._register(), name="register")
            pulse = group.create_task(self._pulse.run(), name="pulse")
            await self._upstream()
            await self._drain(writers)
            self._left.set()
            pulse.cancel()

    # Upstream

    async def _upstream(self) -> None:
        """A feed while any scope is this worker's; returns on `stop`."""
        delays = backoff()
        while True:
            await self._needed.wait()
            if self._stop.is_set():
                return
            self._feed = self._new_feed()
            try:
                await self._feed.run()
                delays = backoff()
            except ConnectionError as exc:
                # final for a client; a worker's operator may mend the certificate or the URL's other end
                self._log.error("upstream cannot be used; trying again slowly", error=str(exc))
                await self._pause(next(delays), until=self._stop)
            finally:
                self._pipeline.feed_ended(heard_us=None if self._stop.is_set() else self._heard_us())
                self._note_sessions()
                self._feed = None

    def _new_feed(self) -> UpstreamFeed:
        self._sessions_before, self._reconnects_before = self.stats.sessions, self.stats.reconnects
        return UpstreamFeed(
            self.config.upstream_url,
            self.config.api_key,
            sink=self._pipeline,
            topics=[topic for topic in self._topics() if self._is_wanted(topic)],
            auth=AuthPolicy.PATIENT,
            options=self._feed_options,
            on_answer=self._pipeline.answered,
        )

    def _topics(self) -> tuple[Topic, ...]:
        return (*self.config.topics, *(_PRIVATE if self._account else ()))

    def _is_wanted(self, topic: Topic) -> bool:
        return any(self._owns(scope) for scope in self.layout.scopes_of(topic, self._account))

    def _owns(self, scope: str) -> bool:
        return scope in self._writers and self._writers[scope].is_owner

    def _owner_changed(self, scope: str, owned: bool) -> None:  # noqa: FBT001 - the writer's callback
        feed = self._feed
        if owned:
            self._renew_if_old(scope)
        else:
            self._let_go(scope)
        if not any(writer.is_owner for writer in self._writers.values()):
            self._needed.clear()
            if feed is not None:
                feed.stop()
            return
        self._needed.set()
        if feed is not None:
            for topic in self._topics():
                (feed.subscribe if self._is_wanted(topic) else feed.unsubscribe)(topic)
        if owned:
            self._pipeline.catch_up(scope)

    def _renew_if_old(self, scope: str) -> None:
        """Replace a session that may still hold events from before the grant: others may have written them.

        It may where it served the scope before, and where the loop stood still. One that is drained all the time holds
        none, and replacing it would blind the other scopes.
        """
        self._note_sessions()
        was_its_own = scope in self._held or self._lost_on.get(scope) == self.stats.sessions
        self._held.add(scope)
        if self._feed is not None and (was_its_own or self._pulse.stood_still_lately()):
            self._feed.renew("a scope was granted while older events of it may lie unread")

    def _let_go(self, scope: str) -> None:
        self._note_sessions()
        self._held.discard(scope)
        self._lost_on[scope] = self.stats.sessions

    def _is_served(self, scope: str) -> bool:
        """Whether upstream sends this worker what the scope is of."""
        feed = self._feed
        of_scope = [topic for topic in self._topics() if scope in self.layout.scopes_of(topic, self._account)]
        return feed is not None and all(feed.has_settled(topic) for topic in of_scope)

    def _heard_us(self) -> int:
        """Up to when upstream was heard; now, where there is no session that could be silent."""
        silent_s = None if self._feed is None else self._feed.silent_s()
        return wall_us() - int((silent_s or 0.0) * 1_000_000)

    def _upstream_said(self, status: FeedStatus) -> None:
        self._note_sessions()
        if status.state is FeedState.AUTH_FAILED and self.config.exit_on_auth_failure:
            self._auth_failed = status
            self.stop()

    def _note_sessions(self) -> None:
        if self._feed is not None:
            self.stats.sessions = self._sessions_before + self._feed.stats.sessions
            self.stats.reconnects = max(0, self.stats.sessions - 1)

    # Redis

    async def _connect(self) -> RespStream:
        return await RespStream.connect(
            self.config.redis_url,
            name=f"agentexchange-bridge-{self.worker_id}",
            options=StreamOptions(reply_timeout_s=_REPLY_TIMEOUT_S),
        )

    async def _agree(self, stream: RespStream) -> None:
        await agree_on_layout(stream, self.layout)

    async def _drain(self, writers: list[asyncio.Task[None]]) -> None:
        """Let every writer write what it holds and give its lease back, for so long and no longer."""
        for writer in self._writers.values():
            writer.stop(self._let_go_us)
        _, late = await asyncio.wait(writers, timeout=self.config.drain_s)
        for task in late:
            lost = self._writers[task.get_name()].outbox.held
            self._log.error("stopped before everything was written", scope=task.get_name(), lost=lost)
            task.cancel()

    async def _register(self) -> None:
        """Keep this worker in the set of live ones; nothing depends on it, so a failure waits for the next turn."""
        while not self._left.is_set():
            with contextlib.suppress(RedisLinkError):
                await self._stay_registered(await self._connect())
            await self._pause(self.config.beat_s, until=self._left)

    async def _stay_registered(self, stream: RespStream) -> None:
        key = self.layout.workers
        try:
            while not self._left.is_set():
                now = wall_us() // 1_000_000
                await stream.send(
                    pack("ZADD", key, now + _REGISTERED_S, self.worker_id) + pack("ZREMRANGEBYSCORE", key, "-inf", now),
                    replies=2,
                )
                self._note_sessions()
                await self._pause(self.config.beat_s, until=self._left)
            await stream.send(pack("ZREM", key, self.worker_id), timeout_s=1.0)
        finally:
            stream.close()

    async def _pause(self, seconds: float, *, until: asyncio.Event) -> None:
        """Wait; ``until`` ends it early."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await until.wait()

    # Building

    def _scopes(self) -> tuple[str, ...]:
        markets = {scope for topic in self.config.topics for scope in self.layout.scopes_of(topic)}
        return (*sorted(markets), *((self._account,) if self._account else ()))

    def _writer(self, scope: str) -> ScopeWriter:
        config = self.config
        is_account = scope == self._account
        encoder = BatchEncoder(
            self.layout,
            scope,
            worker=self.worker_id,
            retention=config.account_retention if is_account else config.market_retention,
            publish="SPUBLISH" if config.sharded else "PUBLISH",
        )
        topics = _PRIVATE if is_account else tuple(t for t in config.topics if scope in self.layout.scopes_of(t))
        return ScopeWriter(
            scope,
            outbox=Outbox(scope, encoder=encoder, limits=self._limits(scope)),
            lease=Lease(self.worker_id, config.lease_ttl_s),
            layout=self.layout,
            connect=self._connect,
            prepare=self._agree,
            options=WriterOptions(
                beat_s=config.beat_s,
                standby_s=config.standby_s,
                backoff_cap_s=config.redis_backoff_cap_s,
                sharded=config.sharded,
                topics=tuple(str(topic) for topic in topics),
                heard=self._heard_us,
            ),
            log=self._log,
            on_owner=self._owner_changed,
            on_batch=self._on_batch,
            full_batch=config.limits.batch_events,
        )

    def _limits(self, scope: str) -> OutboxLimits:
        limits = self.config.limits
        if scope == self._account:
            return limits
        return replace(limits, buffer=limits.buffer.shared_by(self.config.partitions))


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """One failure ends a worker; the others are its consequences."""
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure

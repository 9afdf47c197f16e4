"""The bridge worker: the market and each account, taken in and written, and their lives under one task group."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from agentexchange._tasks import first_failure
from agentexchange.errors import AuthenticationError
from agentexchange.redis import RespStream, StreamOptions
from agentexchange.upstream import AuthPolicy, FeedOptions, PoolOptions, UpstreamFeed, UpstreamPool
from agentexchange_schemas import FeedState, FeedStatus, Layout, Topic

from .accounts import Account, MarketKeys, checked_accounts
from .batch import BatchEncoder
from .candles import ScopeCandles
from .config import WorkerConfig, new_worker_id
from .intake import Intake
from .interest import FollowerOptions, InterestFollower
from .last_known import LastKnown
from .lease import Lease
from .meta import agree_on_layout
from .outbox import Outbox, OutboxLimits, wall_us
from .pulse import Pulse
from .reconcile import Reconciler
from .registration import Registration
from .rest import RestClient, RestOptions
from .side import Side
from .stats import UpstreamStats, WorkerStats
from .writer import ScopeWriter, WriterOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from structlog.typing import FilteringBoundLogger

    from agentexchange.upstream import FeedSink

    from .intake import Feed
    from .stats import BatchObserver

__all__ = ["Worker"]

_REPLY_TIMEOUT_S: Final = 5.0
"""How long Redis may take to answer before the connection is given up; what was in flight is compared afterwards."""

_Value = TypeVar("_Value")
_PRIVATE_TOPICS: Final = (Topic.orders(), Topic.portfolio())


class Worker:
    """A bridge worker. One loop, one `run`.

    Args:
        config: what to do.
        log: where to say what happens.
        feed_options: of the upstream sessions; their wall clock is the worker's, too.
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
        self._feed_options = replace(
            feed_options or FeedOptions(),
            tick_stale_after_s=config.tick_stale_after_s,
            ssl_context=config.ssl_context,
            keep_frames=config.keep_frames,
        )
        self._wall = wall_us if feed_options is None else _in_us(feed_options.wall)
        self._on_batch = on_batch
        self._pulse = Pulse()
        self._keys = MarketKeys(config.accounts)
        self._market = self._market_side() if config.topics or config.follow_interest else None
        self._accounts: dict[str, Side] = {}
        for account in config.accounts if config.account else ():
            self._accounts[account.scope] = self._account_side(account)
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stop = asyncio.Event()
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
        for side in self._sides():
            side.intake.stop()
        self._stop.set()

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
            raise first_failure(failures) from None
        if self._auth_failed is not None:
            raise AuthenticationError(self._auth_failed.message or "the platform refuses the API key")

    def set_accounts(self, accounts: Sequence[Account]) -> None:
        """Serve these accounts from now on. Those that stay notice nothing; the others begin, or are drained and end.

        Where the market data came with a key that is gone, its sessions are replaced.

        Raises:
            ValueError: accounts that are none, see `checked_accounts`.
        """
        checked = {account.scope: account for account in checked_accounts(accounts)}
        if self._keys.replace(tuple(checked.values())) and self._market is not None:
            self._market.intake.restart(0.0)
        if not self.config.account:
            return
        for scope in self._accounts.keys() - checked.keys():
            self._end_account(scope, self._accounts.pop(scope))
        for scope in checked.keys() & self._accounts.keys():
            if (reconciler := self._accounts[scope].intake.reconciler) is not None:
                reconciler.rest = self._rest_of(checked[scope])  # its secret may be another
        for scope in checked.keys() - self._accounts.keys():
            self._accounts[scope] = side = self._account_side(checked[scope])
            self._begin_account(scope, side)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for side in self._sides():
                side.start(group)
            registration = self._registration()
            group.create_task(registration.run(), name="register")
            pulse = group.create_task(self._pulse.run(), name="pulse")
            following = self._follow_interest(group)
            await self._stop.wait()
            for task in following:
                task.cancel()
            self._group = None
            await asyncio.gather(*(side.end(self.config.drain_s) for side in self._sides()))
            registration.leave()
            pulse.cancel()

    def _begin_account(self, scope: str, side: Side) -> None:
        if self._group is None:
            return
        group, ending = self._group, self._ending.get(scope)
        if ending is None:
            side.start(group)
        else:  # by one worker's name a scope has one writer at a time
            ending.add_done_callback(lambda _task: side.start(group) if self._group is group else None)

    def _end_account(self, scope: str, side: Side) -> None:
        """Drain an account's side; what it counted goes with it."""

        async def end() -> None:
            await side.end(self.config.drain_s)
            _pop_if(self.stats.scopes, scope, side.intake.writers[scope].stats)
            _pop_if(self.stats.upstreams, side.intake.stats.name, side.intake.stats)
            del self._ending[scope]

        if self._group is not None:
            self._ending[scope] = self._group.create_task(end(), name=f"end:{scope}")

    def _sides(self) -> list[Side]:
        return [*([self._market] if self._market else []), *self._accounts.values()]

    @property
    def _writers(self) -> dict[str, ScopeWriter]:
        return {scope: writer for side in self._sides() for scope, writer in side.intake.writers.items()}

    # Upstream

    def _market_said(self, status: FeedStatus) -> None:
        if status.topic is not None:
            return  # while one session is served, the key is not refused
        if status.state is FeedState.LIVE:
            self._keys.worked()
        if status.state is not FeedState.AUTH_FAILED or self._market is None:
            return
        if not self._keys.has_others:
            self._key_refused(status)
            return
        refused, delay_s = self._keys.current.name, self._keys.refused()
        self._log.warning("market data comes with another key", refused=refused, account=self._keys.current.name)
        self._market.intake.restart(delay_s)

    def _key_refused(self, status: FeedStatus) -> None:
        if status.state is FeedState.AUTH_FAILED and self.config.exit_on_auth_failure:
            self._auth_failed = status
            self.stop()

    def _follow_interest(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Every worker follows, whoever owns the market: one that takes over knows what is wanted."""
        if not self.config.follow_interest:
            return []
        follower = InterestFollower(
            self.config.redis_url,
            name=self._connection_name,
            layout=self.layout,
            accounts=lambda: self._keys.scopes,
            on_change=self._interest_changed,
            log=self._log,
            stats=self.stats.interest,
            options=FollowerOptions(grace_s=self.config.interest_grace_s),
        )
        return [group.create_task(follower.run(), name="interest")]

    def _interest_changed(self, topics: frozenset[Topic]) -> None:
        """What is configured stays, whatever clients want."""
        if self._market is not None:
            self._market.intake.want((*self.config.topics, *sorted(topics, key=str)))

    # Redis

    @property
    def _connection_name(self) -> str:
        return f"agentexchange-bridge-{self.worker_id}"

    async def _connect(self) -> RespStream:
        return await RespStream.connect(
            self.config.redis_url,
            name=self._connection_name,
            options=StreamOptions(reply_timeout_s=_REPLY_TIMEOUT_S),
        )

    async def _agree(self, stream: RespStream) -> None:
        await agree_on_layout(stream, self.layout)

    def _registration(self) -> Registration:
        return Registration(
            self.worker_id,
            self.layout,
            connect=self._connect,
            every_s=self.config.beat_s,
            on_renewed=self._registered,
        )

    def _registered(self, clock_ahead_us: int | None) -> None:
        """About once a second."""
        self.stats.clock_ahead_us = clock_ahead_us
        for side in self._sides():
            side.intake.note_sessions()

    # Building

    def _market_side(self) -> Side:
        intake = self._intake(
            "market",
            account=None,
            topics=self.config.topics,
            make_feed=self._market_feed,
            candle_source=self.config.candles,
            on_status=self._market_said,
        )
        for scope in self.layout.market_scopes:
            intake.writers[scope] = writer = self._writer(scope, intake)
            intake.candles[scope] = self._candles(writer, intake)
        intake.want_candles()
        return Side(intake, log=self._log)

    def _account_side(self, account: Account) -> Side:
        def make_feed(sink: FeedSink, topics: Iterable[Topic], on_answer: Callable[[], None]) -> Feed:
            return UpstreamFeed(
                self.config.upstream_url,
                account.key,
                sink=sink,
                topics=topics,
                auth=AuthPolicy.PATIENT,
                options=self._feed_options,
                on_answer=on_answer,
            )

        reconciler = Reconciler(
            LastKnown(account.scope, self.layout, self._connect),
            rest=self._rest_of(account),
            log=self._log.bind(account=account.name),
        )
        intake = self._intake(
            f"account:{account.name}",
            account=account.scope,
            topics=_PRIVATE_TOPICS,
            make_feed=make_feed,
            on_status=self._key_refused,
            reconciler=reconciler,
        )
        intake.writers[account.scope] = reconciler.writer = self._writer(account.scope, intake)
        return Side(intake, log=self._log)

    def _rest_of(self, account: Account) -> RestClient | None:
        url, options = self.config.rest_url, RestOptions(ssl_context=self.config.ssl_context)
        return None if url is None else RestClient(url, account.key, account.secret, options=options)

    def _intake(self, name: str, **what: Any) -> Intake:
        self.stats.upstreams[name] = upstream = UpstreamStats(name)
        return Intake(
            layout=self.layout,
            stats=self.stats,
            upstream=upstream,
            pulse=self._pulse,
            log=self._log,
            wall=self._wall,
            **what,
        )

    def _candles(self, writer: ScopeWriter, intake: Intake) -> ScopeCandles:
        return ScopeCandles(
            writer.scope,
            mode=self.config.candles,
            writer=writer,
            layout=self.layout,
            connect=self._connect,
            stats=self.stats.candles,
            has_settled=intake.comes,
            on_change=intake.pipeline.reroute,
            wall=self._wall,
            sleep=self._feed_options.sleep,
            log=self._log,
        )

    def _market_feed(self, sink: FeedSink, topics: Iterable[Topic], on_answer: Callable[[], None]) -> Feed:
        pool = PoolOptions(max_sessions=self.config.max_sessions, fold_from=self.config.ticker_all_from, private=False)
        return UpstreamPool(
            self.config.upstream_url,
            self._keys.current.key,
            sink=sink,
            topics=topics,
            auth=AuthPolicy.PATIENT,
            options=self._feed_options,
            on_answer=on_answer,
            pool=pool,
        )

    def _writer(self, scope: str, intake: Intake) -> ScopeWriter:
        config = self.config
        is_market = scope in self.layout.market_scopes
        encoder = BatchEncoder(
            self.layout,
            scope,
            worker=self.worker_id,
            retention=config.market_retention if is_market else config.account_retention,
            publish="SPUBLISH" if config.sharded else "PUBLISH",
            keep_frames=config.keep_frames,
        )
        writer = ScopeWriter(
            scope,
            outbox=Outbox(scope, encoder=encoder, limits=self._limits(is_market=is_market), wall=self._wall),
            lease=Lease(self.worker_id, config.lease_ttl_s),
            layout=self.layout,
            connect=self._connect,
            prepare=self._agree,
            options=WriterOptions(
                beat_s=config.beat_s,
                standby_s=config.standby_s,
                backoff_cap_s=config.redis_backoff_cap_s,
                sharded=config.sharded,
                topics=lambda: tuple(str(topic) for topic in intake.topics_of(scope)),
                wall=self._wall,
                heard=intake.heard_us,
                clock_ahead=lambda: self.stats.clock_ahead_us,
            ),
            log=self._log,
            on_owner=intake.owner_changed,
            on_batch=self._on_batch,
            candle_state=lambda: intake.candles[scope].state() if is_market else None,
            full_batch=config.limits.batch_events,
        )
        self.stats.scopes[scope] = writer.stats
        return writer

    def _limits(self, *, is_market: bool) -> OutboxLimits:
        limits = self.config.limits
        return replace(limits, buffer=limits.buffer.shared_by(self.config.partitions)) if is_market else limits


def _in_us(wall: Callable[[], float]) -> Callable[[], int]:
    return lambda: int(wall() * 1_000_000)


def _pop_if(found: dict[str, _Value], name: str, value: _Value) -> None:
    """Remove ``name``, unless another has taken its place."""
    if found.get(name) is value:
        del found[name]

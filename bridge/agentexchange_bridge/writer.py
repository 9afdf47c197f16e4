"""ScopeWriter: the one task that talks to Redis for a scope, from the first connect to the lease's release."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange.redis import LinkClosedError, RedisLinkError
from agentexchange_schemas import Cause

from .answers import BehindError, FencedError, checked
from .heartbeat import Heartbeat
from .lease import Free, Grant, Lease, LeaseState, acquire_call, beat_call, read_acquired, release_call
from .outbox import wall_us
from .scripts import load_scripts
from .stats import BatchWritten, RedisState, ScopeStats
from .vacancy import Vacancy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from structlog.typing import FilteringBoundLogger

    from agentexchange.redis import RespStream
    from agentexchange_schemas import FeedStatus, Layout

    from .batch import Batch
    from .lease import Refused
    from .outbox import Outbox
    from .stats import BatchObserver

__all__ = ["ScopeWriter", "WriterOptions"]

_FIRST_RETRY_S: Final = 0.05
_STATE_EVERY_S: Final = 5.0  # between two saves of the candles under way
_SLOW_S: Final = 0.5  # an answer that took longer comes from a server that may have been stopped meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How a writer behaves.

    Attributes:
        beat_s: from one heartbeat to the next.
        standby_s: from one try for the lease to the next.
        backoff_cap_s: longest wait between tries to reach Redis.
        sharded: whether heartbeats go out by SPUBLISH.
        topics: texts of the topics served now, for the status.
        clock: seconds, monotonic. wall: µs since the Unix epoch.
        heard: up to when upstream was heard, in the same measure.
        clock_ahead: how far Redis's clock is ahead of this machine's, µs; None while that is not known.
    """

    beat_s: float = 1.0
    standby_s: float = 0.25
    backoff_cap_s: float = 2.0
    sharded: bool = False
    topics: Callable[[], tuple[str, ...]] = tuple
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], int] = wall_us
    heard: Callable[[], int] = wall_us
    clock_ahead: Callable[[], int | None] = lambda: None


class ScopeWriter:
    """Owns one scope when it can, and writes what its outbox holds.

    At most one batch is in flight; events gather meanwhile, and a full next batch is encoded meanwhile. Whatever Redis
    does is retried for ever; what was in flight is compared with the server's last batch first, so nothing is written
    twice.

    Args:
        outbox: what is to be written.
        lease: this worker's view of the scope's lease.
        connect: opens a connection.
        prepare: looks at the installation once per connection; what it raises beside `RedisLinkError` ends the writer.
        on_owner: told when the scope becomes this worker's (again, after others wrote), and when it is no longer.
        on_batch: told of each acknowledged batch.
        candle_state: asked every few seconds, and at the end, while every closed candle is written: what to save of
            those under way, None for nothing.
    """

    def __init__(
        self,
        scope: str,
        *,
        outbox: Outbox,
        lease: Lease,
        layout: Layout,
        connect: Callable[[], Awaitable[RespStream]],
        prepare: Callable[[RespStream], Awaitable[None]],
        options: WriterOptions,
        log: FilteringBoundLogger,
        on_owner: Callable[[str, bool], None] = lambda _scope, _owned: None,
        on_batch: BatchObserver = lambda _batch: None,
        candle_state: Callable[[], bytes | None] = lambda: None,
        full_batch: int = 1000,
    ) -> None:
        self.scope = scope
        self.outbox = outbox
        self.stats = ScopeStats(scope)
        self._lease = lease
        self._layout = layout
        self._connect = connect
        self._prepare = prepare
        self._options = options
        self._log = log.bind(scope=scope)
        self._on_owner = on_owner
        self._on_batch = on_batch
        self._candle_state = candle_state
        self._state_due_at = 0.0
        self._full_batch = full_batch
        self._delays = self._new_delays()
        self._vacancy = Vacancy(look_s=options.standby_s, grace_s=max(lease.ttl_s, 2 * options.backoff_cap_s))
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._is_idle = False
        self._is_done = False
        self._is_failing = False
        self._is_beat_due = True
        self._beat_timer: asyncio.TimerHandle | None = None
        self._answered_us = 0
        self._lost_us: int | None = None
        self._owner_seen_us: int | None = None

    @property
    def is_owner(self) -> bool:
        """Whether the scope is this worker's, as far as it knows: what is received is held for it."""
        return self._lease.state(self._options.clock()) is not LeaseState.STANDBY

    @property
    def is_ready(self) -> bool:
        """Whether Redis answers: as the owner, or standing by."""
        return self.stats.redis is RedisState.READY

    # Receiving

    def tick(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a ticker. The hot path."""
        self.outbox.tick(topic, fields)
        if self._is_idle:
            self._rouse()

    def candle(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a candle."""
        self.outbox.candle(topic, fields)
        self._rouse()

    def order(self, topic: str, fields: dict[str, Any]) -> None:
        """Take an order update."""
        self.outbox.order(topic, fields)
        self._rouse()

    def portfolio(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a portfolio snapshot."""
        self.outbox.portfolio(topic, fields)
        self._rouse()

    def status(self, status: FeedStatus) -> list[FeedStatus]:
        """The upstream feed's state changed; returns the notices that tell it."""
        if not self.outbox.is_open:
            return []
        notices = self.outbox.narrator.feed(status)
        self.outbox.notices(notices)
        self._rouse()
        return notices

    def stop(self, upstream_ended_us: int) -> None:
        """Write what is held, say that this worker shuts down, give the lease back, and end `run`."""
        if not self._stopping.is_set():
            self._stopping.set()
            if self.outbox.is_open:
                self.outbox.notices(self.outbox.narrator.shut_down(upstream_ended_us))
            self._rouse()

    # Running

    async def run(self) -> None:
        """Serve the scope until `stop`, or for ever."""
        try:
            while not (self._is_done or self._may_leave):
                try:
                    await self._session()
                except RedisLinkError as exc:
                    self._failed(exc)
                    await self._pause(next(self._delays))
        finally:
            if self._beat_timer is not None:
                self._beat_timer.cancel()

    @property
    def _may_leave(self) -> bool:
        """Asked to stop, with nothing that is this worker's to write or to give back."""
        return self._stopping.is_set() and not self.is_owner

    async def _session(self) -> None:
        """One connection."""
        stream = await self._connect()
        try:
            await load_scripts(stream)
            await self._prepare(stream)
            while not self._is_done:
                await self._serve(stream)
        finally:
            self.stats.redis = RedisState.CONNECTING
            stream.close()

    async def _serve(self, stream: RespStream) -> None:
        """One ownership: from the lease's grant until it is lost or given back."""
        try:
            if await self._own(stream):
                await self._write(stream)
        except FencedError as exc:
            self._log.warning("fenced: the lease is not ours", holder=exc.holder or "nobody")
        except BehindError as exc:
            self._log.warning("the log is ahead of our clock; moving above it", last_id=str(exc))
        self._lease.doubted()

    async def _own(self, stream: RespStream) -> bool:
        """Wait for the lease; False when stopped meanwhile."""
        while not self._may_leave:
            asked_at = self._options.clock()
            take = self.is_owner or self._vacancy.may_take(asked_at)
            written_us = self.outbox.written_us
            call = acquire_call(self._layout, self.scope, self._lease, take=take, written_us=written_us)
            got = read_acquired(checked(await stream.send(call)))
            if isinstance(got, Grant):
                self._granted(got, asked_at)
                return True
            self._stood_by(got, asked_at)
            if not self._vacancy.may_take(asked_at):
                await self._pause(self._options.standby_s)
        self._is_done = True
        return False

    async def _write(self, stream: RespStream) -> None:
        ahead: Batch | None = None
        clock = self._options.clock
        while True:
            if self._is_beat_due:
                await self._beat(stream)
            if self._lease.state(clock()) is not LeaseState.HELD:
                raise FencedError("")
            batch, ahead = ahead or self.outbox.next_batch(), None
            if batch is not None:
                sent_at = clock()
                answer = stream.send(batch.packed)
                if self.outbox.backlog >= self._full_batch:
                    ahead = self.outbox.next_batch()
                checked(await answer)
                self._settle(batch, sent_at)
            elif self._stopping.is_set():
                self.outbox.tell_losses()
                if not self.outbox.backlog:
                    await self._release(stream)
                    return
            else:
                await self._work()

    async def _work(self) -> None:
        """Wait for something to write, or for the next heartbeat: it may have come due before the last was answered."""
        if self.outbox.backlog or self._is_beat_due:
            return
        self._wake.clear()
        self._is_idle = True
        await self._wake.wait()

    async def _beat(self, stream: RespStream) -> None:
        self.outbox.tell_losses()
        options = self._options
        told = Heartbeat(
            self.outbox, self._lease, options.topics(), options.wall(), options.heard(), options.clock_ahead()
        )
        asked_at = self._options.clock()
        self._schedule_beat()
        call = beat_call(
            self._layout,
            self.scope,
            self._lease,
            publish="SPUBLISH" if self._options.sharded else "PUBLISH",
            heartbeat=told.heartbeat(),
            status=told.status(),
            candle_state=self._state_to_save() if asked_at >= self._state_due_at else None,
        )
        checked(await stream.send(call))
        self._lease.renewed(asked_at)
        self._answered_us = self._options.wall()
        self._observe()
        if self.outbox.is_empty:
            self._succeeded()

    def _state_to_save(self) -> bytes | None:
        """The state and the candle log are read together: what is in neither would be lost."""
        if self.outbox.holds_candles:
            return None
        self._state_due_at = self._options.clock() + _STATE_EVERY_S
        return self._candle_state()

    def _schedule_beat(self) -> None:
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._is_beat_due = False
        self._beat_timer = asyncio.get_running_loop().call_later(self._options.beat_s, self._beat_now)

    def _beat_now(self) -> None:
        """By a clock the timer may come a moment early; with its word not taken, nobody would wake the writer again."""
        self._is_beat_due = True
        self._rouse()

    async def _release(self, stream: RespStream) -> None:
        state = self._state_to_save()
        checked(await stream.send(release_call(self._layout, self.scope, self._lease, candle_state=state)))
        self._lease.lost()
        self._is_done = True
        self._observe()
        self._log.info("lease released", epoch=self._lease.epoch)

    # What came of it

    def _granted(self, grant: Grant, asked_at: float) -> None:
        was_owner = self.is_owner
        self._lease.granted(grant.epoch, asked_at)
        if not was_owner:
            self._answered_us = self._options.wall()
        result = self.outbox.reconcile(grant, asked_at, owner_seen_us=self._owner_seen_us)
        self._owner_seen_us = None
        self._is_beat_due = True
        self.stats.takeovers += not result.continuing
        self.stats.discarded += result.dropped
        self.stats.resent += result.resent
        self.stats.count(result.applied)
        if not result.continuing:
            self._lost_us = None
        self._observe()
        self._log.info(
            "lease acquired",
            epoch=grant.epoch,
            continuing=result.continuing,
            dropped=result.dropped,
            already_applied=len(result.applied),
            written_again=result.resent,
            ticks_forgotten=result.forgotten_ticks,
            log_replaced=result.replaced,
        )
        if not (was_owner and result.continuing):
            self._on_owner(self.scope, True)

    def _stood_by(self, got: Refused | Free, asked_at: float) -> None:
        if self._options.clock() - asked_at > _SLOW_S:
            self._vacancy.disturbed()
        if isinstance(got, Free):
            self._vacancy.free(got, asked_at)
        else:
            self._vacancy.held()
            self._owner_seen_us = self._options.wall() - self._lease.age_us(got)
            self._lost(got.holder)
        self._succeeded()

    def _lost(self, holder: str) -> None:
        self._lost_us = None
        if not self.is_owner:
            return
        dropped = self.outbox.drop()
        self._lease.lost()
        self.stats.discarded += dropped
        self._observe()
        self._log.warning("lease lost; standing by", holder=holder, dropped=dropped)
        self._on_owner(self.scope, False)

    def _settle(self, batch: Batch, sent_at: float) -> None:
        now = self._options.clock()
        self.outbox.applied(batch, now)
        if self.stats.redis is not RedisState.READY:
            self._succeeded()
        self._answered_us = self._options.wall()
        # not below 0: after a clock that was ahead, r is ahead of this one
        lag_s = max(0.0, (self._answered_us - batch.items[0][0]) / 1_000_000)
        self.stats.count_batch(batch.flags, write_s=now - sent_at, lag_s=lag_s)
        self._on_batch(BatchWritten(self.scope, len(batch.items), now - sent_at, lag_s))

    def _tell_outage(self) -> None:
        if self._lost_us is not None:
            now_us = self._options.wall()
            message = "Redis was away or refused to write; events waited"
            self.outbox.notices(
                [self.outbox.narrator.span(Cause.REDIS_LOST, min(self._lost_us, now_us), now_us, message=message)]
            )
        self._lost_us = None

    def _failed(self, exc: RedisLinkError) -> None:
        """Said once per outage; the rest is for the debug level."""
        self.stats.redis_failures += 1
        self.stats.redis = RedisState.CONNECTING if isinstance(exc, LinkClosedError) else RedisState.REFUSING
        say = self._log.debug if self._is_failing else self._log.warning
        say("Redis is away; trying again", error=str(exc))
        self._is_failing = True
        if self.is_owner and self._lost_us is None:
            self._lost_us = self._answered_us
        self._lease.doubted()
        self._vacancy.disturbed()
        self._observe()

    def _succeeded(self) -> None:
        """Redis does what it is asked. An answer alone is no proof: one that is out of memory renews leases too."""
        self.stats.redis = RedisState.READY
        self._tell_outage()
        if self._is_failing:
            self._is_failing = False
            self._delays = self._new_delays()
            self._log.info("Redis is back")

    def _observe(self) -> None:
        stats, buffer = self.stats, self.outbox.buffer
        stats.conflated, stats.dropped, stats.lost = buffer.conflated, buffer.dropped, buffer.lost
        stats.waiting_ticks, stats.waiting_kept, stats.waiting_bytes = buffer.ticks, buffer.kept, buffer.size_bytes
        stats.epoch, stats.state = self._lease.epoch, self.outbox.narrator.state
        stats.lease = self._lease.state(self._options.clock())

    # Waiting

    def _rouse(self) -> None:
        if self._is_idle:
            self._is_idle = False
            self._wake.set()

    async def _pause(self, seconds: float) -> None:
        """Wait; `stop` ends it early, once."""
        if self._stopping.is_set():
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _new_delays(self) -> Iterator[float]:
        return backoff(first=_FIRST_RETRY_S, cap=self._options.backoff_cap_s)

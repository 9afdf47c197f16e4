"""Plain numbers about a worker, for anyone to read at any time; nothing here knows how they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from agentexchange.candles import DeskStats
from agentexchange_schemas import FeedState, Kind

from .interest import InterestStats
from .items import KIND_OF, NOTICE
from .lease import LeaseState

__all__ = ["BatchObserver", "BatchWritten", "RedisState", "ScopeStats", "UpstreamStats", "WorkerStats"]


class RedisState(StrEnum):
    """A scope's connection to Redis."""

    CONNECTING = "connecting"
    """Not connected: never was, or trying again."""
    READY = "ready"
    """Connected, and the last request was answered."""
    REFUSING = "refusing"
    """Connected, but it refuses to write (out of memory, read-only, loading)."""


@dataclass(frozen=True, slots=True)
class BatchWritten:
    """One acknowledged batch.

    Attributes:
        scope: whose it is.
        events: how many events it held, notices included.
        write_s: from sending to the answer, seconds.
        lag_s: from receiving its oldest event to the answer, seconds.
    """

    scope: str
    events: int
    write_s: float
    lag_s: float


BatchObserver = Callable[[BatchWritten], None]
"""Called once per acknowledged batch, on the loop; must return quickly."""


@dataclass(slots=True)
class ScopeStats:
    """Numbers of one scope. Counters only grow; the rest is how it is now.

    Attributes:
        written: events acknowledged by Redis, notices included. counter
        notices: notices among them. counter
        batches: batches acknowledged. counter
        written_by_kind: the same by kind of event; ``status`` for notices. counter
        conflated: tickers and forming candles replaced by newer ones. counter
        dropped: events dropped at a bound. counter
        lost: both by ``("conflated" or "dropped", kind)``. counter
        discarded: events let go because another worker writes the scope. counter
        resent: events written again because Redis had forgotten them. counter
        redis_failures: failed connections and refused requests. counter
        takeovers: leases taken. counter
        reconciled: events handed out late, after a blind span, because the platform was asked. counter
        rest_failures: tries to ask it that brought no answer. counter
        write_s_sum, lag_s_sum: sums over batches, seconds. counter
        last_lag_s: lag of the last batch, seconds.
        waiting_ticks, waiting_kept, waiting_bytes: what the buffer holds.
        epoch: fencing number of the newest lease, 0 before the first.
        tick_age_s: since the last tick came; None before the first, and while the scope is not this worker's.
        topics_not_live: topics with a state of their own: silent, refused, or on a session that is away.
    """

    scope: str
    written: int = 0
    written_by_kind: dict[str, int] = field(default_factory=dict)
    notices: int = 0
    batches: int = 0
    conflated: int = 0
    dropped: int = 0
    lost: dict[tuple[str, str], int] = field(default_factory=dict)
    discarded: int = 0
    resent: int = 0
    redis_failures: int = 0
    takeovers: int = 0
    reconciled: int = 0
    rest_failures: int = 0
    write_s_sum: float = 0.0
    lag_s_sum: float = 0.0
    last_lag_s: float = 0.0
    waiting_ticks: int = 0
    waiting_kept: int = 0
    waiting_bytes: int = 0
    epoch: int = 0
    tick_age_s: float | None = None
    topics_not_live: int = 0
    state: FeedState = FeedState.CONNECTING
    lease: LeaseState = LeaseState.STANDBY
    redis: RedisState = RedisState.CONNECTING

    def count_batch(self, flags: str, *, write_s: float, lag_s: float) -> None:
        """Count an acknowledged batch; ``flags`` has one character per event."""
        self.count(flags)
        self.batches += 1
        self.write_s_sum += write_s
        self.lag_s_sum += lag_s
        self.last_lag_s = lag_s

    def count(self, flags: str) -> None:
        """Count events that Redis has."""
        self.written += len(flags)
        for flag in set(flags):
            kind, count = KIND_OF[flag], flags.count(flag)
            self.written_by_kind[kind] = self.written_by_kind.get(kind, 0) + count
        self.notices = self.written_by_kind.get(KIND_OF[NOTICE], 0)


@dataclass(slots=True)
class UpstreamStats:
    """Numbers of one intake: of the market, or of an account.

    Attributes:
        name: ``market``, or ``account:`` and the account's name.
        state: the feed's state; CONNECTING while this worker stands by.
        active: whether a feed runs: this worker owns what it is for.
        sessions: sessions opened. counter
        reconnects: sessions opened in the place of others. counter
    """

    name: str
    state: FeedState = FeedState.CONNECTING
    active: bool = False
    sessions: int = 0
    reconnects: int = 0


@dataclass(slots=True)
class WorkerStats:
    """Numbers of a whole worker.

    Attributes:
        received: events from upstream by kind, junk excluded. counter
        unowned: events that came for a scope this worker does not hold, by kind. counter
        junk: junk frames by kind of junk. counter
        oversized: events too large or impossible to pack. counter
        candles: what became of ticks and candles on the way to closed candles. counters
        upstreams: numbers per intake, the market's first.
        scopes: numbers per scope.
        interest: numbers of what clients want.
        clock_ahead_us: how far Redis's clock is ahead of this machine's; None before it is known.
    """

    received: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    unowned: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    junk: dict[str, int] = field(default_factory=dict)
    oversized: int = 0
    candles: DeskStats = field(default_factory=DeskStats)
    upstreams: dict[str, UpstreamStats] = field(default_factory=dict)
    scopes: dict[str, ScopeStats] = field(default_factory=dict)
    interest: InterestStats = field(default_factory=InterestStats)
    clock_ahead_us: int | None = None

    @property
    def upstream_state(self) -> FeedState:
        """Live where all that runs is; else the first state that is not. CONNECTING while nothing runs."""
        running = [upstream.state for upstream in self.upstreams.values() if upstream.active]
        return next((state for state in running if state is not FeedState.LIVE), None) or (
            FeedState.LIVE if running else FeedState.CONNECTING
        )

    @property
    def sessions(self) -> int:
        """Upstream sessions opened."""
        return sum(upstream.sessions for upstream in self.upstreams.values())

    @property
    def reconnects(self) -> int:
        """Upstream sessions opened in the place of others."""
        return sum(upstream.reconnects for upstream in self.upstreams.values())

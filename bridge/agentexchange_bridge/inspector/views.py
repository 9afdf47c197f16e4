"""What the inspector's pages show, as plain values: no I/O, nothing of the page itself.

Times that end in ``_us`` are µs since the Unix epoch, as an envelope's ``r``. Prices and quantities are the strings
that the platform sent; a float stands only where something is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentexchange_schemas import FeedState

__all__ = [
    "AccountView",
    "Bar",
    "Bucket",
    "ClientRow",
    "DeadLetterRow",
    "EventDetail",
    "EventKey",
    "EventRow",
    "GapRow",
    "LogRow",
    "OrderRow",
    "Overview",
    "PriceRow",
    "ScopeRow",
    "TimeLine",
    "Window",
    "WorkerRow",
]


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """One scope: who writes it, how it is, how much comes and how late.

    Attributes:
        scope: ``m0``, or ``a-…`` of an account.
        state: as its status says; `FeedState.NO_BRIDGE` where no lease lives.
        since_us: since when.
        message: what the status says for people.
        worker: who holds the lease; None for nobody.
        epoch: fencing number of the lease.
        topics: how many are served.
        events_per_s: over the last seconds.
        last_event_us: ``r`` of the newest event.
        lag_ms: from receipt by the bridge to receipt here: the 50th, 95th and 99th percentile; None before any event.
    """

    scope: str
    state: FeedState
    since_us: int | None
    message: str | None
    worker: str | None
    epoch: int | None
    topics: int
    events_per_s: float
    last_event_us: int | None
    lag_ms: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A live bridge worker and the scopes that it owns; one without any stands by."""

    name: str
    expires_us: int
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A program that listens: its account scope, its name, its host and what it wants."""

    account: str
    client: str
    name: str
    host: str
    topics: tuple[str, ...]
    expires_us: int


@dataclass(frozen=True, slots=True)
class LogRow:
    """A log in Redis, or a lane of a recording: entries, memory (None: unknown), first and last ``r``."""

    key: str
    entries: int
    memory_bytes: int | None
    first_us: int | None
    last_us: int | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole installation at a moment; lists are sorted.

    Attributes:
        at_us: the moment.
        source: the Redis URL without secrets, or the recording's name.
        memory_bytes: used by Redis; None for a recording.
        memory_limit_bytes: its maxmemory; None for no limit.
    """

    at_us: int
    source: str
    scopes: tuple[ScopeRow, ...]
    workers: tuple[WorkerRow, ...]
    clients: tuple[ClientRow, ...]
    logs: tuple[LogRow, ...]
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The newest tick of a symbol.

    Attributes:
        symbol: such as ``BTCUSDT``.
        price: as sent.
        change_pct: against the oldest price of ``spark``; None with fewer than two.
        spark: prices of the last minutes, oldest first, at most 60.
        received_us: when the bridge had it.
        age_s: at the moment shown.
        state: fresh or not: `FeedState` of the topic.
        seq: its number.
    """

    symbol: str
    price: str
    change_pct: float | None
    spark: tuple[float, ...]
    received_us: int
    age_s: float
    state: FeedState
    seq: int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """One candle; the last one of a list may still be forming."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    is_closed: bool


@dataclass(frozen=True, slots=True)
class OrderRow:
    """The newest state of an order; ``fields`` as the event had them."""

    order_id: str
    symbol: str
    side: str
    status: str
    received_us: int
    is_open: bool
    fields: dict[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class AccountView:
    """Orders (newest first, at most 500) and portfolio of an account whose key the operator holds."""

    scope: str
    orders: tuple[OrderRow, ...]
    portfolio: dict[str, Any] | None = field(hash=False)
    portfolio_us: int | None


@dataclass(frozen=True, slots=True)
class EventKey:
    """Names one event for good: scope, topic, epoch, seq and ``r``."""

    scope: str
    topic: str
    epoch: int
    seq: int | None
    received_us: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of the list of events; ``summary`` is a short text of its fields."""

    key: EventKey
    kind: str
    upstream_ms: int | None
    summary: str


@dataclass(frozen=True, slots=True)
class EventDetail:
    """One event with all that is known of it.

    Attributes:
        row: as in the list.
        log_id: its entry in the log; None for a forming candle.
        written_us: when the bridge wrote it.
        fields: as a handler gets them.
        size: of the envelope, in bytes.
        before: up to three events of the same topic before it, oldest first.
        after: up to three after it.
        frame: as the platform sent it; None where it was not kept.
    """

    row: EventRow
    log_id: str | None
    written_us: int | None
    fields: dict[str, Any] = field(hash=False)
    size: int = 0
    before: tuple[EventRow, ...] = ()
    after: tuple[EventRow, ...] = ()
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class GapRow:
    """A span in which something was missing or unknown: a notice with an end, or one that lasts."""

    scope: str
    topic: str | None
    state: FeedState
    cause: str | None
    since_us: int
    until_us: int | None
    count: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """A dead letter; ``id`` with ``scope`` and ``group`` names it."""

    scope: str
    group: str
    id: str
    topic: str
    error: str
    attempts: int
    given_up_us: int
    fields: dict[str, Any] | None = field(hash=False)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stretch of the time line and the rate of events in it."""

    start_us: int
    events_per_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the time line: so long, from a moment on; None: up to the end, and so moving on with it."""

    length_us: int
    start_us: int | None = None

    def ends(self, first_us: int, last_us: int) -> tuple[int, int]:
        """Where the part begins and ends of what is held from ``first_us`` to ``last_us``."""
        if self.length_us >= last_us - first_us:
            return first_us, last_us
        latest_us = last_us - self.length_us
        start_us = latest_us if self.start_us is None else min(max(first_us, self.start_us), latest_us)
        return start_us, start_us + self.length_us


@dataclass(frozen=True, slots=True)
class TimeLine:
    """What can be travelled to: rates, and the spans in which the feed was blind or lost something.

    Attributes:
        start_us: where this part of it begins.
        end_us: where it ends.
        buckets: the rates in it.
        gaps: those that lie in it.
        is_exact: False where rates are estimated by samples of the log.
        first_us: where all that is held begins.
        last_us: where it ends.
    """

    start_us: int
    end_us: int
    buckets: tuple[Bucket, ...]
    gaps: tuple[GapRow, ...]
    is_exact: bool
    first_us: int
    last_us: int

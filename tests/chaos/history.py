"""What happened in a run, as plain values: the checker's whole input. Times are µs since the Unix epoch.

Every event carries its number in an added field (`NUMBER_FIELD`), counted per topic from 1 by the generator, so what
was sent, what was written and what a handler was called with can be told apart and compared one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import FeedStatus

__all__ = [
    "MARKET",
    "NUMBER_FIELD",
    "Call",
    "Disturbance",
    "Fault",
    "History",
    "Incarnation",
    "Logged",
    "ScopeLog",
    "Sent",
    "Told",
    "scope_of",
    "us",
]

NUMBER_FIELD: Final = "chaos_n"
MARKET: Final = "m0"


def us(seconds: float) -> int:
    """Seconds as microseconds."""
    return round(seconds * 1_000_000)


def scope_of(topic: str, account: str) -> str:
    """The scope that carries ``topic`` (one market partition)."""
    return account if topic in ("orders", "portfolio") else MARKET


class Sent(NamedTuple):
    """One event as upstream generated it; ``connections`` is empty where nobody was there to take it."""

    at_us: int
    topic: str
    n: int
    connections: tuple[int, ...]


class Logged(NamedTuple):
    """One entry of a scope's log; ``n`` is None for what carries no number: a notice, or something foreign."""

    entry_id: str
    topic: str
    epoch: int
    seq: int | None
    r_us: int
    n: int | None
    notice: FeedStatus | None = None


@dataclass(slots=True)
class ScopeLog:
    """A scope as the server held it at the end.

    Attributes:
        entries: of the log, in its order.
        candles: of the candle log, in its order (empty in an account scope).
        seqs: the topics of the seq hash.
        latest: topic (or ``orders:<id>``) to the entry id that its latest key names.
        is_whole: whether nothing was trimmed, so that every topic begins at seq 1.
        has_keys: whether ``seqs`` and ``latest`` were read.
        earlier: the logs that were wiped before it.
    """

    entries: list[Logged] = field(default_factory=list)
    candles: list[Logged] = field(default_factory=list)
    seqs: dict[str, int] = field(default_factory=dict)
    latest: dict[str, str] = field(default_factory=dict)
    is_whole: bool = True
    has_keys: bool = True
    earlier: list[ScopeLog] = field(default_factory=list)

    @property
    def notices(self) -> list[Logged]:
        """The notices, in the log's order, the wiped logs' first."""
        return [entry for log in (*self.earlier, self) for entry in log.entries if entry.notice is not None]

    @property
    def events(self) -> Iterable[Logged]:
        """The numbered events of both logs, those of wiped logs first."""
        logs = (*self.earlier, self)
        return [entry for log in logs for entry in (*log.entries, *log.candles) if entry.n is not None]


class Call(NamedTuple):
    """One call of a handler. ``n`` is None where the event carried no number."""

    at_us: int
    handler: str
    topic: str
    n: int | None
    seq: int | None
    epoch: int | None
    source: str


class Told(NamedTuple):
    """One call of an ``on_status`` handler."""

    at_us: int
    status: FeedStatus


@dataclass(slots=True)
class Incarnation:
    """One process of a consumer, from its start to its death.

    Attributes:
        consumer: its name, shared by its incarnations.
        number: 1 for the first.
        topics: handler name to the topics it is to be called for (``ticker:all`` stands for every ticker).
        ready_us: when its client was told to connect.
        died_us: when it was killed; None where it lived to the end of the run.
        mode: ``default``, ``group`` or ``resume``.
        name: of the group or position.
        conflated: how many events its own queues replaced by newer ones, by handler, as its client counted them.
        failure: what ended it, where it ended by itself.
    """

    consumer: str
    number: int
    topics: dict[str, tuple[str, ...]]
    ready_us: int
    died_us: int | None = None
    mode: str = "default"
    name: str = ""
    calls: list[Call] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    conflated: dict[str, int] = field(default_factory=dict)
    failure: str = ""


class Disturbance(NamedTuple):
    """While it lasted, what upstream sent could reach the worker late, or not at all."""

    start_us: int
    end_us: int


class Fault(NamedTuple):
    """One fault as it was really done."""

    start_us: int
    end_us: int
    kind: str
    target: str
    detail: str = ""


@dataclass(slots=True)
class History:
    """One run.

    Attributes:
        account: the account's scope.
        sent: in the order of generation.
        logs: per scope.
        incarnations: of all consumers.
        faults: as done.
        disturbances: of the way from upstream to the worker.
        end_us: when the run ended: everything should have settled before.
    """

    account: str
    sent: list[Sent]
    logs: dict[str, ScopeLog]
    incarnations: list[Incarnation]
    faults: list[Fault]
    disturbances: list[Disturbance]
    end_us: int

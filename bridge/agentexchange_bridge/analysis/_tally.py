"""Figures of topics and scopes, counted event by event in the recorded order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import EnvelopeError, FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

from ._blindness import Blindness
from ._lags import Lags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_schemas import Envelope

__all__ = ["Busiest", "ScopeTally", "Tally", "TopicTally"]

MAX_TOPICS: Final = 50_000
"""Counted one by one, over all scopes; events of later ones count for their scope alone."""

_SECOND_US: Final = 1_000_000


class Busiest:
    """The second with the most events; they come in order of time.

    Attributes:
        most: how many there were in it.
        second: which it was, in seconds since the Unix epoch.
    """

    __slots__ = ("_count", "_now", "most", "second")

    def __init__(self) -> None:
        self.most = 0
        self.second: int | None = None
        self._now = -1
        self._count = 0

    def add(self, second: int) -> None:
        """One event in that second."""
        if second == self._now:
            self._count += 1
        else:
            self._now, self._count = second, 1
        if self._count > self.most:
            self.most, self.second = self._count, second


@dataclass(slots=True)
class TopicTally:
    """One topic of one scope.

    Attributes:
        events: how many.
        size: of their envelopes, in bytes.
        first_us: ``r`` of the first.
        last_us: ``r`` of the last.
        busiest: the second with the most.
        upstream: from the platform's own time to receipt by the bridge.
        written: from receipt to writing.
        holes: places where seqs are missing.
        missing: how many seqs.
        restarts: places where seqs began anew: another log.
    """

    first_us: int
    events: int = 0
    size: int = 0
    last_us: int = 0
    busiest: Busiest = field(default_factory=Busiest)
    upstream: Lags = field(default_factory=Lags)
    written: Lags = field(default_factory=Lags)
    holes: int = 0
    missing: int = 0
    restarts: int = 0
    last_seq: int | None = None

    def add(self, envelope: Envelope, size: int) -> None:
        """The next event."""
        _, _, seq, upstream_ms, received_us, _, written_us = envelope
        self.events += 1
        self.size += size
        self.last_us = received_us
        self.busiest.add(received_us // _SECOND_US)
        if upstream_ms is not None:
            self.upstream.add(received_us - upstream_ms * 1000)
        if written_us is not None:
            self.written.add(written_us - received_us)
        if seq is not None:
            known, self.last_seq = self.last_seq, seq
            if known is not None and seq != known + 1:
                self._jump(known, seq)

    def _jump(self, known: int, seq: int) -> None:
        if seq <= known:
            self.restarts += 1
        else:
            self.holes += 1
            self.missing += seq - known - 1


@dataclass(slots=True)
class ScopeTally:
    """One scope.

    Attributes:
        topics: its topics, ``status`` for notices.
        events: how many, notices included.
        size: of their envelopes, in bytes.
        first_us: ``r`` of the first.
        last_us: ``r`` of the last.
        busiest: the second with the most.
        causes: notices by cause, or by state where none is named.
        told: events that notices call missing, by cause.
    """

    topics: dict[str, TopicTally] = field(default_factory=dict)
    events: int = 0
    size: int = 0
    first_us: int = 0
    last_us: int = 0
    busiest: Busiest = field(default_factory=Busiest)
    causes: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)

    def lags(self, name: str) -> Lags:
        """``upstream`` or ``written`` over all topics but notices."""
        total = Lags()
        for topic, tally in self.topics.items():
            if topic != STATUS_TOPIC:
                total.take(getattr(tally, name))
        return total


class Tally:
    """Everything that was read, in the recorded order.

    Attributes:
        scopes: by name.
        blindness: over all scopes.
        events: how many.
        junk: entries that are no envelopes.
    """

    def __init__(self) -> None:
        self.scopes: dict[str, ScopeTally] = {}
        self.blindness = Blindness()
        self.events = 0
        self.junk = 0
        self._topics = 0

    @property
    def first_us(self) -> int | None:
        """``r`` of the first event."""
        return min((scope.first_us for scope in self.scopes.values()), default=None)

    @property
    def last_us(self) -> int | None:
        """``r`` of the last event."""
        return max((scope.last_us for scope in self.scopes.values()), default=None)

    def add(self, name: str, raws: Sequence[bytes]) -> None:
        """The next envelopes, all of scope ``name``."""
        scope = self.scopes.get(name)
        for raw in raws:
            try:
                envelope = decode(raw)
            except EnvelopeError:
                self.junk += 1
                continue
            if scope is None:
                scope = self.scopes[name] = ScopeTally(first_us=envelope.received_us)
            self._add(name, scope, envelope, len(raw))

    def _add(self, name: str, scope: ScopeTally, envelope: Envelope, size: int) -> None:
        received_us = envelope.received_us
        self.events += 1
        scope.events += 1
        scope.size += size
        scope.last_us = received_us
        scope.busiest.add(received_us // _SECOND_US)
        topic = scope.topics.get(envelope.topic)
        if topic is None and self._topics < MAX_TOPICS:
            self._topics += 1
            topic = scope.topics[envelope.topic] = TopicTally(first_us=received_us)
        if topic is not None:
            topic.add(envelope, size)
        if envelope.topic == STATUS_TOPIC:
            self._notice(name, scope, envelope)

    def _notice(self, name: str, scope: ScopeTally, envelope: Envelope) -> None:
        try:
            notice = FeedStatus.from_fields(envelope.data)
        except EnvelopeError:
            self.junk += 1
            return
        cause = notice.cause or notice.state.value
        scope.causes[cause] += 1
        if notice.count is not None:
            scope.told[cause] += notice.count
        self.blindness.take(name, notice, envelope.received_us)

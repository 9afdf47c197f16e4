"""The order of one topic's events, by epoch and seq: pure.

A seq counts on across epochs, so the next event of a topic is always the last seq plus one; the epoch tells a stale
writer's event and a replaced log from it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agentexchange_schemas import Envelope

__all__ = ["MAX_HELD", "MAX_SEEN", "Flow", "Order"]

MAX_HELD: Final = 10_000
"""Envelopes of one topic that wait for its latest value to be read; a read takes milliseconds."""

MAX_SEEN: Final = 4096
"""Received times that are remembered of a topic whose events a bridge may write again (those of its last seconds)."""

_NEVER: Final = -1  # the next seq of a flow that the hot path must not handle


class Order(Enum):
    """How an envelope stands to the topic's last one."""

    FIRST = "first"
    NEXT = "next"
    HOLE = "hole"
    """Events between the two are missing."""
    OLD = "old"
    """Seen already, or from a writer that has lost its lease: not handed out."""
    REPLACED = "replaced"
    """A higher epoch counts anew: the log is another one."""


class Flow:
    """One topic in one scope: where its reader stands.

    ``next_seq`` is what the hot path compares: the seq that may be handed out at once, under ``epoch``. While envelopes
    are held (or always, for a status channel) nothing matches it. ``is_cut``: the connection was
    lost since the last event. ``is_replaced``: its log is another one since then.
    """

    __slots__ = (
        "_first_us",
        "_seen",
        "epoch",
        "held",
        "is_cut",
        "is_event",
        "is_replaced",
        "next_seq",
        "received_us",
        "scope",
        "seq",
        "topic",
    )

    def __init__(self, scope: str, topic: str, *, is_event: bool = True) -> None:
        self.scope = scope
        self.topic = topic
        self.is_event = is_event
        self.epoch = 0
        self.seq = 0
        self.received_us = 0
        self.next_seq = _NEVER
        self.is_cut = False
        self.is_replaced = False
        self.held: list[Envelope] | None = None
        self._first_us = 0
        # Ticks are never written again, and many: they keep to the hot path and need no memory.
        self._seen: dict[int, None] | None = None if topic.startswith("ticker:") else {}

    @property
    def has_begun(self) -> bool:
        """Whether any event has been seen."""
        return self.epoch > 0

    def order(self, envelope: Envelope) -> Order:
        """Place ``envelope``, which has a seq, after the last one."""
        assert envelope.seq is not None  # noqa: S101 - callers take forming candles out before
        if not self.has_begun:
            return Order.FIRST
        if self.is_replaced:
            return Order.REPLACED
        if envelope.epoch < self.epoch or (envelope.epoch == self.epoch and envelope.seq <= self.seq):
            return Order.OLD
        if envelope.seq <= self.seq:
            return Order.REPLACED
        return Order.NEXT if envelope.seq == self.seq + 1 else Order.HOLE

    def advance(self, envelope: Envelope) -> None:
        """``envelope`` is the last one from now on."""
        assert envelope.seq is not None  # noqa: S101 - as in order
        self.epoch = envelope.epoch
        self.seq = envelope.seq
        self.received_us = max(self.received_us, envelope.received_us)
        self._remember(envelope.received_us)
        self.is_cut = self.is_replaced = False
        if self._seen is None and self.held is None:
            self.next_seq = envelope.seq + 1

    def was_handed_out(self, envelope: Envelope) -> bool:
        """Whether a bridge has written an event again that this client had already, or that is older than its first.

        It does so when a restarted server has forgotten it: the seq may then be another, the received time is not.
        """
        if not self._seen:
            return False
        return envelope.received_us in self._seen or envelope.received_us < self._first_us

    def _remember(self, received_us: int) -> None:
        if self._seen is None:
            return
        if not self._seen:
            self._first_us = received_us
        self._seen[received_us] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]

    def cut(self) -> None:
        """The connection is lost: the next event is looked at, not taken on the hot path."""
        self.is_cut = self.has_begun
        self.next_seq = _NEVER

    def replace(self) -> None:
        """The log is another one: whatever seq comes next counts anew."""
        self.is_replaced = self.has_begun
        self.next_seq = _NEVER

    def hold(self) -> None:
        """Keep what comes until `release`. Idempotent."""
        if self.held is None:
            self.held = []
            self.next_seq = _NEVER

    def release(self, latest: Envelope | None = None) -> list[Envelope]:
        """End `hold`: what to hand out now, in order, each event once.

        A topic that begins takes ``latest`` first and of the held ones what is newer; one that goes on takes all.
        """
        held, self.held = self.held or [], None
        if self.has_begun and self._seen is None and not (self.is_cut or self.is_replaced):
            self.next_seq = self.seq + 1
        if latest is None:
            return held
        if not self.has_begun:
            return [latest, *(other for other in held if _key(other) > _key(latest))]
        merged = {_key(envelope): envelope for envelope in (latest, *held)}
        return [merged[key] for key in sorted(merged)]


def _key(envelope: Envelope) -> tuple[int, int]:
    return envelope.epoch, envelope.seq or 0

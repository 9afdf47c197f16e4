"""The order of one topic's events, by epoch and seq: pure.

A seq counts on across epochs, so the next event of a topic is always the last seq plus one; the epoch tells a stale
writer's event and a replaced log from it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agentexchange_schemas import Envelope

__all__ = ["MAX_HELD", "MAX_SEEN", "Flow", "Order"]

MAX_HELD: Final = 10_000
"""Envelopes of one topic that wait for a read of Redis; a read takes milliseconds."""

MAX_SEEN: Final = 4096
"""Received times that are remembered of a topic whose events a bridge may write again (those of its last seconds)."""

_LEAP_US: Final = 86_400_000_000
"""A day: an event that is so much later than all that the server has, or than now, is no bridge's."""

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
    """It counts anew: the log is another one, or was rolled back."""


class Flow:
    """One topic in one scope: where its reader stands.

    ``next_seq`` is what the hot path compares: the seq that may be handed out at once, under ``epoch``. Nothing matches
    it while envelopes are held, while the flow is behind, and for kinds that a bridge may write again.

    Attributes:
        has_begun: whether the place of its first event is known.
        held: what came while something was read, None while nothing is held.
        is_behind: it has missed something and is to be read from the log; what comes meanwhile is dropped unless held.
        is_cut: the connection was lost since the last event.
        is_full: more came than may be held: the log has it.
        is_replaced: its log is another one since the last event.
    """

    __slots__ = (
        "_checked_us",
        "_first_us",
        "_seen",
        "epoch",
        "has_begun",
        "held",
        "is_behind",
        "is_cut",
        "is_event",
        "is_full",
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
        self.has_begun = False
        self.is_behind = False
        self.is_cut = False
        self.is_full = False
        self.is_replaced = False
        self.held: list[Envelope] | None = None
        self._checked_us = 0
        self._first_us = 0
        # Ticks are never written again, and many: they keep to the hot path and need no memory.
        self._seen: dict[int, None] | None = None if topic.startswith("ticker:") else {}

    # Where it stands

    @property
    def place_us(self) -> int:
        """No event of the topic that it has missed lies at or before this place of the log."""
        return 0 if self.is_replaced else max(self.received_us, self._checked_us)

    def begin(self, seq: int, epoch: int, place_us: int) -> None:
        """It begins behind ``seq``, at ``place_us`` of the log: what comes from there on is wanted."""
        self.has_begun = True
        self.seq, self.epoch, self.received_us = seq, epoch, place_us
        self._remember(place_us)
        self._open()

    def order(self, envelope: Envelope) -> Order:
        """Place ``envelope``, which has a seq, after the last one."""
        assert envelope.seq is not None  # noqa: S101 - callers take forming candles out before
        if not self.has_begun:
            return Order.FIRST
        # Received times grow within a scope: a later one under a seq that was used before is another life of the log.
        is_newer = envelope.epoch > self.epoch or envelope.received_us > self.received_us
        if self.is_replaced:
            return Order.REPLACED if is_newer else Order.OLD
        if envelope.epoch < self.epoch:
            return Order.OLD
        if envelope.seq <= self.seq:
            return Order.REPLACED if is_newer else Order.OLD
        return Order.NEXT if envelope.seq == self.seq + 1 else Order.HOLE

    def advance(self, envelope: Envelope) -> None:
        """``envelope`` is the last one from now on."""
        assert envelope.seq is not None  # noqa: S101 - as in order
        self.has_begun = True
        self.epoch = envelope.epoch
        self.seq = envelope.seq
        # a new log's writer may have another clock
        self.received_us = envelope.received_us if self.is_replaced else max(self.received_us, envelope.received_us)
        self._remember(envelope.received_us)
        self.is_cut = self.is_replaced = False
        self._open()

    def skip_to(self, seq: int, place_us: int) -> None:
        """What is missing up to ``seq`` cannot be had any more."""
        self.seq = max(self.seq, seq)
        self.checked(place_us)
        self.is_cut = False

    def checked(self, place_us: int) -> None:
        """No event of it lies between its last one and ``place_us``."""
        self._checked_us = max(self._checked_us, place_us)

    # What cannot be: from somebody who may publish, and is no bridge

    def is_plausible(self, envelope: Envelope, seq: int, epoch: int, received_us: int) -> bool:
        """Whether a bridge may have written it, where the server counts up to these now."""
        assert envelope.seq is not None  # noqa: S101 - as in order
        is_in_time = not received_us or envelope.received_us <= received_us + _LEAP_US
        return 0 < envelope.seq <= seq and envelope.epoch <= epoch and is_in_time

    def implausible(self, seq: int, epoch: int, received_us: int) -> list[Envelope]:
        """Of what is held: what is ahead of the server's count by more than what has come since it was asked for."""
        held = self.held or []
        most = seq + len(held)
        return [envelope for envelope in held if not self.is_plausible(envelope, most, epoch, received_us)]

    def leaps(self, envelope: Envelope, now: Callable[[], datetime]) -> bool:
        """Whether its time is far ahead of the last event's, and of this machine's clock: it may be made up."""
        if not self.has_begun or envelope.received_us <= self.received_us + _LEAP_US:
            return False
        return envelope.received_us > now().timestamp() * 1e6 + _LEAP_US

    def was_handed_out(self, envelope: Envelope) -> bool:
        """Whether a bridge has written an event again that this client had already, or that is older than its first.

        It does so when a restarted server has forgotten it: the seq may then be another, the received time is not.
        """
        if not self._seen:
            return False
        return envelope.received_us in self._seen or envelope.received_us < self._first_us

    # What becomes of what comes

    def hold(self) -> None:
        """Keep what comes until `release`. Idempotent."""
        if self.held is None:
            self.hold_anew()

    def hold_anew(self) -> None:
        """Keep what comes from now on; what was kept before is in the log, where it is about to be read."""
        self.held = []
        self.is_full = False
        self.next_seq = _NEVER

    def fall_behind(self) -> None:
        """What is missing, and what comes meanwhile, is to be read from the log."""
        self.is_behind = True
        self.held = None
        self.next_seq = _NEVER

    def cut(self) -> None:
        """The connection is lost: the next event is looked at, not taken on the hot path."""
        self.is_cut = self.has_begun
        self.next_seq = _NEVER

    def replace(self) -> None:
        """The log is another one: whatever seq comes next counts anew, and every entry is new."""
        self.is_replaced = self.has_begun
        self._checked_us = 0
        self.next_seq = _NEVER

    def keep(self, envelope: Envelope) -> bool:
        """Keep it, if anything is kept now and there is room."""
        if self.held is None:
            return False
        if len(self.held) < MAX_HELD:
            self.held.append(envelope)
            return True
        self.is_full = True
        return False

    def release(self, latest: Envelope | None = None) -> list[Envelope]:
        """End `hold`: what to hand out now, in order, each event once.

        A topic that begins takes ``latest`` first and of the held ones what is newer; one that goes on takes all.
        """
        held, self.held = self.held or [], None
        self.is_behind = False
        self._open()
        if latest is None:
            return held
        if not self.has_begun:
            return [latest, *(other for other in held if _key(other) > _key(latest))]
        merged = {_key(envelope): envelope for envelope in (latest, *held)}
        return [merged[key] for key in sorted(merged)]

    def _open(self) -> None:
        """Let the hot path go on, where nothing stands in its way."""
        is_plain = self._seen is None and self.held is None and self.has_begun
        if is_plain and not (self.is_behind or self.is_cut or self.is_replaced):
            self.next_seq = self.seq + 1

    def _remember(self, received_us: int) -> None:
        if self._seen is None:
            return
        if not self._seen:
            self._first_us = received_us
        self._seen[received_us] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]


def _key(envelope: Envelope) -> tuple[int, int]:
    return envelope.epoch, envelope.seq or 0

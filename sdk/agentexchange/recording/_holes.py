"""Is what was read out of a log whole? Pure: seqs per topic, what their jumps tell, and how to say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange._shared.read import utc_of
from agentexchange_schemas import Cause, EnvelopeError, FeedState, FeedStatus
from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES, STATUS_TOPIC, encode

from ._peek import step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Hole", "LogWatch", "notice_of", "sentence_of", "sentences_of"]

_TOLD_AT_ONCE: Final = 3


class Hole(NamedTuple):
    """Events that were in a log and were not read.

    Attributes:
        topic: which topic's; None for all of the log.
        cause: why.
        since_us: ``r`` of the last event before; 0 where there is none.
        until_us: ``r`` of the first event behind.
        first: first seq that is missing; None where that is not known.
        last: last seq that is missing.
    """

    topic: str | None
    cause: Cause
    since_us: int
    until_us: int
    first: int | None = None
    last: int | None = None

    @property
    def missing(self) -> int | None:
        """How many events."""
        return None if self.first is None or self.last is None else self.last - self.first + 1


class LogWatch:
    """One log's topics.

    Args:
        wants: which topics are recorded.

    Attributes:
        wants: as given.
        last_us: ``r`` of the newest event.
        junk: entries that were no envelope, or out of order, and were left out.
    """

    def __init__(self, wants: Callable[[str], bool], last_us: int = 0) -> None:
        self.wants = wants
        self._seqs: dict[bytes, int] = {}
        self._unwanted: set[bytes] = set()
        self.last_us = last_us
        self.junk = 0

    @property
    def has_topics(self) -> bool:
        """Whether any topic's seq is known."""
        return bool(self._seqs)

    def take(self, raws: Iterable[bytes]) -> tuple[list[bytes], list[Hole]]:
        """Those of the next envelopes that are wanted, and the holes before them."""
        seqs, unwanted, before_us = self._seqs, self._unwanted, self.last_us
        kept: list[bytes] = []
        holes: list[Hole] = []
        for raw in raws:
            try:
                topic, seq, received_us = step_of(raw)
            except EnvelopeError:
                self.junk += 1
                continue
            if received_us < before_us or len(raw) > MAX_ENVELOPE_BYTES:
                self.junk += 1
                continue
            if topic in unwanted:
                continue
            known = seqs.get(topic)
            if known is None and not self.wants(topic.decode()):
                unwanted.add(topic)
                continue
            if seq is not None:
                if known is not None and seq != known + 1:
                    holes.append(_hole(topic.decode(), known, seq, before_us, received_us))
                seqs[topic] = seq
            kept.append(raw)
            before_us = received_us
        self.last_us = before_us
        return kept, holes

    def has_seen(self, topic: str) -> bool:
        """Whether a seq of ``topic`` is known: then what is missing behind it can be counted."""
        return topic.encode() in self._seqs

    def trimmed_tails(self, counters: Mapping[str, int], now_us: int) -> list[Hole]:
        """Topics that have got further than what was read of them, though the whole log was: once asked, told once."""
        holes = []
        for name, seq in self._seqs.items():
            topic = name.decode()
            counted = counters.get(topic, seq)
            if counted > seq:
                holes.append(_hole(topic, seq, counted + 1, self.last_us, now_us))
                self._seqs[name] = counted
        return holes

    def begin_anew(self) -> None:
        """Another log follows: its seqs count from 1."""
        self._seqs.clear()
        self.last_us = 0


def sentences_of(scope: str, holes: Sequence[Hole]) -> list[str]:
    """What is missing, for people: when hundreds of topics lack something at once, the first few and how many more."""
    told = [sentence_of(scope, hole) for hole in holes[:_TOLD_AT_ONCE]]
    more = len(holes) - len(told)
    return [*told, f"{scope}: {more} more gaps like these"] if more else told


def sentence_of(scope: str, hole: Hole) -> str:
    """What is missing, for people."""
    what = f"{scope} {hole.topic}" if hole.topic else scope
    if hole.cause is Cause.LOG_REPLACED:
        return f"{what}: the log was replaced by another; what followed in the old one is not recorded"
    if hole.missing is None:
        since = utc_of(hole.since_us).isoformat(timespec="seconds")
        return f"{what}: the log no longer holds everything after {since}; what was trimmed is not recorded"
    how = "forgotten by the server" if hole.cause is Cause.LOG_ROLLED_BACK else "trimmed"
    return f"{what}: {hole.missing} events ({hole.first} to {hole.last}) were {how} before they were recorded"


def notice_of(scope: str, hole: Hole, *, at_us: int, message: str) -> bytes:
    """A hole as a notice received at ``at_us``, as a bridge writes them, but without a seq and under epoch 0.

    Its state is `FeedState.CONNECTING`: who has read a log does not know how the feed is.
    """
    status = FeedStatus(
        scope=scope,
        topic=hole.topic,
        state=FeedState.CONNECTING,
        since=utc_of(hole.since_us),
        until=utc_of(hole.until_us),
        cause=hole.cause,
        first_missing=hole.first,
        last_missing=hole.last,
        count=hole.missing,
        message=message,
    )
    return encode(STATUS_TOPIC, 0, None, None, at_us, status.to_fields())


def _hole(topic: str, known: int, seq: int, before_us: int, until_us: int) -> Hole:
    if seq <= known:
        return Hole(topic, Cause.LOG_REPLACED, before_us, until_us)
    return Hole(topic, Cause.TRIMMED, before_us, until_us, known + 1, seq - 1)

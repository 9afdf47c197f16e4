"""Is what was read out of a log whole? Pure: seqs per topic, and what their jumps tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentexchange.recording import step_of
from agentexchange_schemas import Cause, EnvelopeError
from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Hole", "LogWatch"]


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
        last_us: ``r`` of the newest event.
        junk: entries that were no envelope, or out of order, and were left out.
    """

    def __init__(self, wants: Callable[[str], bool], last_us: int = 0) -> None:
        self._wants = wants
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
            if known is None and not self._wants(topic.decode()):
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


def _hole(topic: str, known: int, seq: int, before_us: int, until_us: int) -> Hole:
    if seq <= known:
        return Hole(topic, Cause.LOG_REPLACED, before_us, until_us)
    return Hole(topic, Cause.TRIMMED, before_us, until_us, known + 1, seq - 1)

"""Where two recordings part: both are read side by side in the recorded order, once, with bounded memory.

An event is known by scope, topic and seq (one without a seq by its ``r``). While both sides bring the same bytes, whole
runs are compared at once. Else each event waits for its twin: for as long as `DiffOptions.window_us` of recorded
time, and among no more than `DiffOptions.most_waiting` others.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from agentexchange.recording import place_of, received_of, topic_of
from agentexchange_schemas.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agentexchange.recording import LaneRun
    from agentexchange_schemas import Envelope

__all__ = ["IGNORABLE", "Comparison", "DiffOptions", "Difference", "TopicCounts"]

IGNORABLE: Final = {"epoch": "epoch", "written": "written_us"}
"""What may be left out of account, and the envelope's attribute."""

_PLAIN_HEAD: Final = b"\xa1v\x01\xa1t"
_SHORT_TOPIC: Final = range(0xA0, 0xC0)  # msgpack's code of a text below 32 bytes: its length in the low bits
_HEAD_BYTES: Final = 7 - _SHORT_TOPIC.start
_SHORTEST: Final = 16
_LONGEST: Final = 8192

_Key: TypeAlias = tuple[str, str, int, bool]
_Waiting: TypeAlias = "OrderedDict[_Key, bytes]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffOptions:
    """How to compare.

    Attributes:
        ignore: of `IGNORABLE`.
        window_us: recorded time for which an event waits for its twin.
        most_waiting: events of one side that wait at most.
    """

    ignore: frozenset[str] = frozenset()
    window_us: int = 5_000_000
    most_waiting: int = 100_000


@dataclass(slots=True)
class TopicCounts:
    """One topic of one scope: events that are the same, only in one of the two, or different."""

    same: int = 0
    only_a: int = 0
    only_b: int = 0
    different: int = 0

    @property
    def unlike(self) -> int:
        """How many have no twin, or another one."""
        return self.only_a + self.only_b + self.different


class Difference(NamedTuple):
    """One event in which they differ; ``a`` or ``b`` is None where that side has none.

    Attributes:
        scope: whose.
        received_us: ``r``, the earlier one.
        a: the event in the first recording.
        b: the event in the second.
        parts: what differs, such as ``data.price`` or ``written_us``; empty where one side has none.
    """

    scope: str
    received_us: int
    a: Envelope | None
    b: Envelope | None
    parts: tuple[str, ...] = ()


@dataclass(slots=True)
class Comparison:
    """What has been compared so far.

    Attributes:
        counts: by scope and topic.
        first: the difference with the lowest ``r``; None while there is none.
        events: read of each side.
    """

    options: DiffOptions = field(default_factory=DiffOptions)
    counts: dict[tuple[str, str], TopicCounts] = field(default_factory=dict)
    first: Difference | None = None
    events: list[int] = field(default_factory=lambda: [0, 0])
    _heads: dict[tuple[str, bytes], TopicCounts] = field(default_factory=dict)
    _waiting: tuple[_Waiting, _Waiting] = field(default_factory=lambda: (OrderedDict(), OrderedDict()))

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return self.first is None

    def run(self, a: Iterable[LaneRun], b: Iterable[LaneRun]) -> Iterator[None]:
        """Compare; gives way now and then, so that a caller can stop it.

        Raises:
            EnvelopeError: a recording holds what is no envelope.
        """
        sides = _Side(a), _Side(b)
        stretch = _SHORTEST
        while sides[0].raws or sides[1].raws:
            if not any(self._waiting) and (equal := _equal_run(*sides, stretch)):
                self._same(sides[0].scope, equal)
                for side in sides:
                    side.skip(len(equal))
                stretch = min(2 * stretch, _LONGEST)
            else:
                stretch = _SHORTEST
                self._step(sides)
            yield
        self._expire(float("inf"))
        self.events = [side.count for side in sides]

    def _same(self, scope: str, raws: Sequence[bytes]) -> None:
        """Count what is the same: a topic with what comes before it in an envelope is the same bytes each time."""
        heads = self._heads
        for raw in raws:
            counts = heads.get((scope, raw[: raw[6] + _HEAD_BYTES]))
            if counts is None:
                counts = self._counts(scope, topic_of(raw))
                if raw[1:6] == _PLAIN_HEAD and raw[6] in _SHORT_TOPIC:
                    heads[scope, raw[: raw[6] + _HEAD_BYTES]] = counts
            counts.same += 1

    def _counts(self, scope: str, topic: str) -> TopicCounts:
        return self.counts.setdefault((scope, topic), TopicCounts())

    def _step(self, sides: tuple[_Side, _Side]) -> None:
        """Take some events of the side that is behind."""
        number = 0 if sides[0].front_us <= sides[1].front_us else 1
        scope, bound_us = sides[number].scope, sides[1 - number].front_us
        own, others = self._waiting[number], self._waiting[1 - number]
        for raw in sides[number].until(bound_us):
            topic, _, seq, received_us = place_of(raw)
            key = (scope, topic, received_us, False) if seq is None else (scope, topic, seq, True)
            twin = others.pop(key, None)
            if twin is not None:
                self._pair(scope, topic, (raw, twin) if number == 0 else (twin, raw))
                continue
            if (older := own.pop(key, None)) is not None:
                self._alone(number, scope, topic, older)
            own[key] = raw
        self._expire(min(side.front_us for side in sides))

    def _pair(self, scope: str, topic: str, raws: tuple[bytes, bytes]) -> None:
        counts = self._counts(scope, topic)
        if raws[0] == raws[1]:
            counts.same += 1
            return
        a, b = decode(raws[0]), decode(raws[1])
        parts = _differing(a, b, self.options.ignore)
        if not parts:
            counts.same += 1
            return
        counts.different += 1
        self._note(Difference(scope, min(a.received_us, b.received_us), a, b, parts))

    def _alone(self, number: int, scope: str, topic: str, raw: bytes) -> None:
        counts = self._counts(scope, topic)
        if number == 0:
            counts.only_a += 1
        else:
            counts.only_b += 1
        received_us = received_of(raw)
        if self.first is None or received_us < self.first.received_us:
            event = decode(raw)
            self._note(Difference(scope, received_us, *((event, None) if number == 0 else (None, event))))

    def _note(self, difference: Difference) -> None:
        if self.first is None or difference.received_us < self.first.received_us:
            self.first = difference

    def _expire(self, now_us: float) -> None:
        """Give up on events whose twins would have come by now."""
        before_us = now_us - self.options.window_us
        for number, waiting in enumerate(self._waiting):
            while waiting and (
                len(waiting) > self.options.most_waiting or received_of(next(iter(waiting.values()))) < before_us
            ):
                self._give_up(number)

    def _give_up(self, number: int) -> None:
        """The one that has waited longest has no twin."""
        (scope, topic, *_), raw = self._waiting[number].popitem(last=False)
        self._alone(number, scope, topic, raw)


class _Side:
    """One recording, as far as it has been read: what is left of the present run.

    Attributes:
        scope: of the run.
        raws: the run.
        at: the next event in it.
        front_us: ``r`` of the next event; infinite at the end.
        count: events handed out.
    """

    def __init__(self, runs: Iterable[LaneRun]) -> None:
        self._runs = iter(runs)
        self.scope = ""
        self.raws: list[bytes] = []
        self.at = 0
        self.front_us: float = 0.0
        self.count = 0
        self._next_run()

    def skip(self, count: int) -> None:
        """Go on by ``count`` events of the run."""
        self.at += count
        self.count += count
        if self.at >= len(self.raws):
            self._next_run()
        else:
            self.front_us = received_of(self.raws[self.at])

    def until(self, bound_us: float) -> list[bytes]:
        """The next events of the run that are not behind ``bound_us``; at least one, and not many."""
        end = self.at + 1
        last = min(len(self.raws), self.at + _SHORTEST)
        while end < last and received_of(self.raws[end]) <= bound_us:
            end += 1
        taken = self.raws[self.at : end]
        self.skip(len(taken))
        return taken

    def _next_run(self) -> None:
        self.at = 0
        for lane, raws in self._runs:
            if raws:
                self.scope, self.raws = lane.scope, raws
                self.front_us = received_of(raws[0])
                return
        self.scope, self.raws, self.front_us = "", [], float("inf")


def _equal_run(a: _Side, b: _Side, most: int) -> list[bytes]:
    """The next events of both, where they are of one scope and the same bytes; else none."""
    if a.scope != b.scope or not a.raws or not b.raws:
        return []
    count = min(most, len(a.raws) - a.at, len(b.raws) - b.at)
    run = a.raws[a.at : a.at + count]
    return run if run == b.raws[b.at : b.at + count] else []


def _differing(a: Envelope, b: Envelope, ignore: frozenset[str]) -> tuple[str, ...]:
    ignored = {IGNORABLE[name] for name in ignore}
    parts = [
        name
        for name in ("epoch", "upstream_ms", "received_us", "written_us")
        if name not in ignored and getattr(a, name) != getattr(b, name)
    ]
    names = dict.fromkeys((*a.data, *b.data))
    absent = object()
    parts += [f"data.{name}" for name in names if a.data.get(name, absent) != b.data.get(name, absent)]
    return tuple(parts)

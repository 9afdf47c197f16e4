"""Finds one event in a log or a recording, and what is around it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange.recording import EventName, TopicChoice, place_of
from agentexchange_schemas import EnvelopeError, Topic
from agentexchange_schemas.envelope import STATUS_TOPIC, decode, received_us_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.recording import Lane
    from agentexchange.replay import Source
    from agentexchange_schemas import Envelope

__all__ = ["Found", "Held", "find", "held", "named", "surroundings"]

_FIRST_LOOK_US: Final = 1_000_000
_WIDER: Final = 8
_NOTICES: Final = TopicChoice(())
_UNNUMBERED_US: Final = 600_000_000  # how far back neighbours of an event without a number are looked for


@dataclass(frozen=True, slots=True)
class Found:
    """An event.

    Attributes:
        lane: the log it is in.
        envelope: what it says.
        raw: its bytes.
        before: events of its topic before it, oldest first.
        after: those after it.
        notices: of its scope, around it.
    """

    lane: Lane
    envelope: Envelope
    raw: bytes
    before: list[Envelope] = field(default_factory=list)
    after: list[Envelope] = field(default_factory=list)
    notices: list[Envelope] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Held:
    """What there is instead of an event that is not there: `r` and seqs of the ends; None where there is nothing."""

    first_us: int | None
    last_us: int | None
    first_seq: int | None = None
    last_seq: int | None = None


async def find(source: Source, name: str) -> list[Found]:
    """The events that are called so: a log id, ``topic@seq``, or the newest one of an order by its id.

    More than one only where logs of several scopes have an entry of the same id.
    """
    if (meant := named(name)) is not None:
        at_us = await source.locate(meant)
        found = [] if at_us is None else await _at(source, at_us)
        return [one for one in found if (one.envelope.topic, one.envelope.seq) == meant]
    if (at_us := _log_place(name)) is not None:
        return await _at(source, at_us)
    newest: list[Found] = []
    async for lane, raw in _events(source, None, None, TopicChoice([Topic.orders()], notices=False)):
        if name.encode() in raw and (envelope := decode(raw)).data.get("order_id") == name:
            newest = [Found(lane, envelope, raw)]
    return newest


def named(name: str) -> EventName | None:
    """The event that ``topic@seq`` names; None for another kind of name."""
    try:
        return EventName.parse(name) if "@" in name else None
    except ValueError:
        return None  # an order's id may have an @, too


async def surroundings(source: Source, found: Found, *, context: int, around_us: int) -> Found:
    """The event with ``context`` neighbours of its topic on each side, and the notices near it."""
    topic, at_us = found.envelope.topic, found.envelope.received_us
    choice = _choice(topic)
    before: deque[Envelope] = deque(maxlen=context)
    after: list[Envelope] = []
    if context:
        async for envelope in _of(source, found, await _start(source, found, context), at_us, choice):
            before.append(envelope)
        async for envelope in _of(source, found, at_us + 1, None, choice):
            after.append(envelope)
            if len(after) == context:
                break
    notices = [one async for one in _of(source, found, max(0, at_us - around_us), at_us + around_us, _NOTICES)]
    return Found(found.lane, found.envelope, found.raw, list(before), after, notices)


async def held(source: Source, topic: str | None) -> Held:
    """What ``source`` has in all, and of ``topic``."""
    first_us, last_us = source.first_us, source.last_us
    if topic is None or first_us is None or last_us is None:
        return Held(first_us, last_us)
    first_seq = await _first_seq(source, topic)
    last_seq = None if first_seq is None else await _last_seq(source, topic, first_us, last_us)
    return Held(first_us, last_us, first_seq, last_seq)


async def _first_seq(source: Source, topic: str) -> int | None:
    async for _, raw in _events(source, None, None, _choice(topic)):
        if (seq := place_of(raw).seq) is not None:
            return seq
    return None


async def _last_seq(source: Source, topic: str, first_us: int, last_us: int) -> int | None:
    """Looked for from the end, further and further back."""
    look_us, seq = _FIRST_LOOK_US, None
    while seq is None:
        async for _, raw in _events(source, max(first_us, last_us - look_us), None, _choice(topic)):
            seq = place_of(raw).seq or seq
        if look_us >= last_us - first_us:
            break
        look_us *= _WIDER
    return seq


def _choice(topic: str) -> TopicChoice:
    return _NOTICES if topic == STATUS_TOPIC else TopicChoice([topic], notices=False)


def _log_place(name: str) -> int | None:
    try:
        return received_us_of(name)
    except EnvelopeError:
        return None


async def _at(source: Source, at_us: int) -> list[Found]:
    return [Found(lane, decode(raw), raw) async for lane, raw in _events(source, at_us, at_us + 1, TopicChoice())]


async def _start(source: Source, found: Found, context: int) -> int | None:
    """Where ``context`` neighbours before the event begin; None for the beginning, where not so many are left."""
    envelope = found.envelope
    if envelope.seq is None:
        return max(0, envelope.received_us - _UNNUMBERED_US)
    return await source.locate(EventName(envelope.topic, max(1, envelope.seq - context)))


async def _of(
    source: Source, found: Found, start_us: int | None, end_us: int | None, choice: TopicChoice
) -> AsyncIterator[Envelope]:
    """Events of the scope of ``found``, itself left out."""
    async for lane, raw in _events(source, start_us, end_us, choice, scope=found.lane.scope):
        if raw != found.raw or lane != found.lane:
            yield decode(raw)


async def _events(
    source: Source, start_us: int | None, end_us: int | None, choice: TopicChoice, *, scope: str | None = None
) -> AsyncIterator[tuple[Lane, bytes]]:
    scopes = None if scope is None else (scope,)
    async for lane, raws in source.runs(start_us, end_us, topics=choice, scopes=scopes):
        for raw in raws:
            yield lane, raw

"""Topic, epoch, seq and ``r`` out of an envelope's bytes, without unpacking its fields.

Envelopes are written with their keys in one order, which a pattern matches in a quarter of what a decode costs.
Bytes in any other order, or with numbers of other widths, are decoded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange_schemas.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Place", "place_of", "received_of", "step_of", "topic_of", "topics_of"]

_BEFORE_TOPIC: Final = b"\xa1v\x01\xa1t"  # behind the byte that counts the keys
_FIXSTR: Final = range(0xA0, 0xC0)
_TOPIC_AT: Final = 7
_NIL: Final = b"\xc0"

_match = re.compile(
    rb"[\x87-\x89]\xa1v\x01\xa1t(?:[\xa0-\xbf]|\xd9.)([!-~]+)"
    rb"\xa1e([\x00-\x7f]|\xce.{4})"
    rb"\xa1n([\x00-\x7f]|\xcc.|\xcd..|\xce.{4}|\xcf.{8}|\xc0)"
    rb"\xa1u(?:\xcf.{8}|\xc0)"
    rb"\xa1r\xcf(.{8})",
    re.DOTALL,
).match
_number = int.from_bytes


class Place(NamedTuple):
    """Where an envelope stands."""

    topic: str
    epoch: int
    seq: int | None
    received_us: int


def step_of(raw: bytes) -> tuple[bytes, int | None, int]:
    """Topic (as bytes), seq and ``r``: what shows whether any is missing before it; half the cost of `place_of`.

    Raises:
        EnvelopeError: not an envelope.
    """
    found = _match(raw)
    if found is None:
        envelope = decode(raw)
        return envelope.topic.encode(), envelope.seq, envelope.received_us
    topic, _, seq, received = found.groups()
    # a one-byte number is its own code, others follow theirs
    return topic, None if seq == _NIL else _number(seq[1:] or seq), _number(received)


def topic_of(raw: bytes) -> str:
    """The topic.

    Raises:
        EnvelopeError: not an envelope.
    """
    if raw[1:6] == _BEFORE_TOPIC and raw[6] in _FIXSTR:
        topic = raw[_TOPIC_AT : raw[6] - _FIXSTR.start + _TOPIC_AT]
        if topic.isascii():
            return topic.decode()
    return decode(raw).topic


def topics_of(raws: Sequence[bytes]) -> set[str]:
    """The topics of many.

    Raises:
        EnvelopeError: one is no envelope.
    """
    # a topic with what comes before it is the same bytes each time: few are left to look at
    heads = {raw[: raw[6] - _FIXSTR.start + _TOPIC_AT] if len(raw) > _TOPIC_AT else raw for raw in raws}
    if all(head[1:6] == _BEFORE_TOPIC and head[6] in _FIXSTR for head in heads):
        return set(map(topic_of, heads))
    return set(map(topic_of, raws))


def received_of(raw: bytes) -> int:
    """The ``r``.

    Raises:
        EnvelopeError: not an envelope.
    """
    found = _match(raw)
    return decode(raw).received_us if found is None else _number(found[4])


def place_of(raw: bytes) -> Place:
    """Topic, epoch, seq and ``r``.

    Raises:
        EnvelopeError: not an envelope.
    """
    found = _match(raw)
    if found is None:
        envelope = decode(raw)
        return Place(envelope.topic, envelope.epoch, envelope.seq, envelope.received_us)
    topic, epoch, seq, received = found.groups()
    number = None if seq == _NIL else _number(seq[1:] or seq)
    return Place(topic.decode(), _number(epoch[1:] or epoch), number, _number(received))

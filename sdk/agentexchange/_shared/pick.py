"""Which entries of a page of a log belong to some topics: pure, and before anything is decoded.

An envelope is a msgpack map that begins with ``v`` and ``t``, in this order: so the packed topic stands at a fixed
place of its bytes, and an entry of another topic costs a slice and a look-up instead of a decode. What does not begin
so (another writer's order of keys, a topic of more than 31 bytes) is decoded to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack

from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .flow import Flow

__all__ = ["key_of", "pick"]

# a map of eight, of nine with f, of seven without either f or w: v = 1, t = …
_HEADS: Final = (b"\x88\xa1v\x01\xa1t", b"\x89\xa1v\x01\xa1t", b"\x87\xa1v\x01\xa1t")
_AT: Final = len(_HEADS[0])
_SHORT: Final = range(0xA0, 0xC0)  # first byte of a string of up to 31 bytes: 0xa0 and the length
_END: Final = 0xA0 - _AT - 1  # what to take from that byte to get to the string's end

Picked = tuple[int, "Flow", bytes]


def key_of(topic: str) -> bytes:
    """A topic as it stands in an envelope."""
    packed: bytes = msgpack.packb(topic)
    return packed


def pick(entries: list[Any], wanted: Mapping[bytes, Flow]) -> list[Picked]:
    """The entries of the wanted topics: index, flow, envelope's bytes."""
    picked: list[Picked] = []
    find = wanted.get
    for index, entry in enumerate(entries):
        try:
            raw = entry[1][1]
            flow = find(raw[_AT : raw[_AT] - _END])
            if flow is None and not (raw[_AT] in _SHORT and raw.startswith(_HEADS)):
                flow = find(key_of(decode(raw).topic))
        except (TypeError, LookupError, EnvelopeError):
            continue
        if flow is not None:
            picked.append((index, flow, raw))
    return picked

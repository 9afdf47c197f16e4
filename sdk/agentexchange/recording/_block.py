"""Blocks: some hundreds or thousands of envelopes of one lane, compressed together. Pure."""

from __future__ import annotations

import zlib
from itertools import accumulate, pairwise
from struct import Struct, error
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange.errors import RecordingError
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES

from ._format import BLOCK, ChunkPrefix, inflate, pack_chunk
from ._peek import received_of, topics_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DEFAULT_LEVEL",
    "MAX_BLOCK_RAW_BYTES",
    "MAX_BLOCK_TOPICS",
    "BlockHead",
    "Lane",
    "pack_block",
    "read_block_head",
    "read_body",
]

MAX_BLOCK_RAW_BYTES: Final = 4 * 1024 * 1024
"""Of a block before compression; checked before it is decompressed."""
MAX_BLOCK_TOPICS: Final = 16_384
DEFAULT_LEVEL: Final = 2
"""zlib's: 36 bytes and 1.1 µs for a tick; level 1: 37 and 1.0, level 3: 34 and 1.3, level 6: 29 and 3."""

_ZLIB: Final = 1
_MAX_TOPICS_BYTES: Final = MAX_BLOCK_TOPICS * 64
_LENGTH_BYTES: Final = 4
_MAX_NAME: Final = 64


class Lane(NamedTuple):
    """One log that was recorded. Within a lane ``r`` only rises; lanes are merged by it.

    Attributes:
        scope: ``m0`` and the like, or ``a-…``.
        log: which log of the scope: ``log``, ``log:candles``, or ``recorder`` for what the recorder itself tells.
        log_id: the log's random name (``#id`` of the seq hash), "" where it is not known: another one, another lane.
    """

    scope: str
    log: str
    log_id: str = ""


class BlockHead(NamedTuple):
    """What a block says of its content."""

    lane: Lane
    events: int
    first_us: int
    last_us: int
    topics: tuple[str, ...]
    raw_bytes: int
    crc: int


def pack_block(lane: Lane, raws: Sequence[bytes], *, level: int = DEFAULT_LEVEL) -> tuple[BlockHead, bytes]:
    """A chunk of the envelopes ``raws``, which are of one lane and in order of ``r``; at least one.

    Raises:
        EnvelopeError: one of them is no envelope.
    """
    lengths = Struct(f"<{len(raws)}I").pack(*map(len, raws))
    raw = b"".join((lengths, *raws))
    body = zlib.compress(raw, level)
    topics = tuple(sorted(topics_of(raws)))
    first_us, last_us = received_of(raws[0]), received_of(raws[-1])
    head = {
        "scope": lane.scope,
        "log": lane.log,
        "log_id": lane.log_id,
        "count": len(raws),
        "first": first_us,
        "last": last_us,
        "topics": zlib.compress("\n".join(topics).encode(), level),
        "method": _ZLIB,
        "raw": len(raw),
    }
    chunk = pack_chunk(BLOCK, head, body)
    return BlockHead(lane, len(raws), first_us, last_us, topics, len(raw), zlib.crc32(body)), chunk


def read_block_head(prefix: ChunkPrefix, head: dict[str, Any]) -> BlockHead:
    """The head of a block whose checksum was right.

    Raises:
        RecordingError: a field is missing or impossible.
    """
    try:
        names = (head["scope"], head["log"], head["log_id"])
        count, first_us, last_us, raw_bytes = head["count"], head["first"], head["last"], head["raw"]
        packed_topics, crc, method = head["topics"], head["crc"], head["method"]
    except KeyError as exc:
        raise RecordingError(f"the block's head has no {exc.args[0]!r}", field="block head") from None
    if method != _ZLIB:
        raise RecordingError(
            f"compression {str(method)[:20]} is not one this release knows: update agentexchange", field="block head"
        )
    is_sane = (
        all(type(name) is str and len(name) <= _MAX_NAME for name in names)
        and all(type(number) is int for number in (count, first_us, last_us, raw_bytes))
        and type(packed_topics) is bytes
        and 0 <= first_us <= last_us < 2**63
        and raw_bytes <= MAX_BLOCK_RAW_BYTES
        and 1 <= count <= raw_bytes // _LENGTH_BYTES
        and prefix.body_bytes <= MAX_BLOCK_RAW_BYTES
    )
    if not is_sane:
        raise RecordingError("the block's head claims what cannot be", field="block head")
    return BlockHead(Lane(*names), count, first_us, last_us, _topics(packed_topics), raw_bytes, crc)


def read_body(head: BlockHead, body: bytes) -> list[bytes]:
    """The block's envelopes.

    Raises:
        RecordingError: damaged, or not what the head says.
    """
    raw = inflate(body, head.crc, head.raw_bytes, "block")
    start = head.events * _LENGTH_BYTES
    try:
        lengths = Struct(f"<{head.events}I").unpack_from(raw)
    except error:
        raise RecordingError("the block is too short for its count", field="block body") from None
    if start + sum(lengths) != len(raw) or max(lengths) > MAX_ENVELOPE_BYTES:
        raise RecordingError("the lengths in the block do not add up", field="block body")
    raws = [raw[begin:end] for begin, end in pairwise(accumulate(lengths, initial=start))]
    try:
        ends = received_of(raws[0]), received_of(raws[-1])
    except EnvelopeError as exc:
        raise RecordingError(f"the block holds what is no envelope: {exc}", field="block body") from None
    if ends != (head.first_us, head.last_us):
        raise RecordingError("the block's first or last event is not the one its head names", field="block body")
    return raws


def _topics(packed: bytes) -> tuple[str, ...]:
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(packed, _MAX_TOPICS_BYTES)
        topics = tuple(raw.decode("ascii").split("\n"))
    except (zlib.error, UnicodeDecodeError):
        raise RecordingError("the block's topics cannot be read", field="block head") from None
    if not inflater.eof or len(topics) > MAX_BLOCK_TOPICS:
        raise RecordingError(f"the block names more than {MAX_BLOCK_TOPICS} topics", field="block head")
    return topics

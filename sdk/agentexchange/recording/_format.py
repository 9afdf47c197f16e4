"""The bytes of a recording: file header, chunks and trailer. Pure; `docs/recording-format.md` is its description.

``header, block, block, …[, index, trailer]``. Blocks and the index are chunks of one shape::

    marker (4)  head length (u32)  body length (u32)  CRC-32 of these twelve bytes and the head (u32)  head  body

All numbers are little-endian; heads are msgpack maps.
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Any, Final, NamedTuple

import msgpack

from agentexchange.errors import RecordingError

__all__ = [
    "BLOCK",
    "CHUNK_PREFIX_BYTES",
    "HEADER_FIXED_BYTES",
    "INDEX",
    "MAX_BODY_BYTES",
    "MAX_DESCRIPTION_BYTES",
    "MAX_HEAD_BYTES",
    "TRAILER_BYTES",
    "VERSION",
    "ChunkPrefix",
    "inflate",
    "pack_chunk",
    "pack_header",
    "pack_trailer",
    "read_description",
    "read_description_length",
    "read_head",
    "read_prefix",
    "read_trailer",
]

MAGIC: Final = b"\x89AXLOG\r\n"  # no text; a transfer that changes line ends or clears eighth bits breaks it
VERSION: Final = 1
BLOCK: Final = b"BLCK"
INDEX: Final = b"INDX"
_TRAILER_MAGIC: Final = b"AXIX"

MAX_DESCRIPTION_BYTES: Final = 64 * 1024
MAX_HEAD_BYTES: Final = 1024 * 1024
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""What a body may claim, before anything is read or allocated. Blocks have a lower bound of their own."""

_fixed = Struct("<8sHI")
_prefix = Struct("<4sIII")
_prefix_fields = Struct("<4sII")
_crc = Struct("<I")
_trailer = Struct("<QI4s")
_offset = Struct("<Q")
HEADER_FIXED_BYTES: Final = _fixed.size
CHUNK_PREFIX_BYTES: Final = _prefix.size
TRAILER_BYTES: Final = _trailer.size

_UPDATE: Final = "update agentexchange on this machine"


class ChunkPrefix(NamedTuple):
    """What a chunk says of itself before its head; ``raw`` are the bytes that its checksum covers."""

    marker: bytes
    head_bytes: int
    body_bytes: int
    crc: int
    raw: bytes

    @property
    def size(self) -> int:
        """Of the whole chunk."""
        return CHUNK_PREFIX_BYTES + self.head_bytes + self.body_bytes


# Header


def pack_header(description: dict[str, Any]) -> bytes:
    """The file's first bytes; ``description`` says who wrote it, when, from what."""
    packed: bytes = msgpack.packb(description)
    header = _fixed.pack(MAGIC, VERSION, len(packed)) + packed
    return header + _crc.pack(zlib.crc32(header))


def read_description_length(fixed: bytes) -> int:
    """How long the description is, with its checksum.

    Raises:
        RecordingError: not a recording, or of a later version; ``fixed`` are the first `HEADER_FIXED_BYTES`.
    """
    if fixed[: len(MAGIC)] != MAGIC[: len(fixed)] or not fixed:
        raise RecordingError("this is no recording: the file does not begin like one (.axlog)", field="magic")
    if len(fixed) < HEADER_FIXED_BYTES:
        raise RecordingError("the file ends within its header: nothing was recorded", field="header")
    version: int
    length: int
    _, version, length = _fixed.unpack(fixed)
    if version != VERSION:
        raise RecordingError(f"format version {version}, and this release reads {VERSION}: {_UPDATE}", field="version")
    if length > MAX_DESCRIPTION_BYTES:
        raise RecordingError(f"a description of {length} bytes is above {MAX_DESCRIPTION_BYTES}", field="header")
    return length + _crc.size


def read_description(fixed: bytes, rest: bytes) -> dict[str, Any]:
    """The description; ``rest`` is as long as `read_description_length` said.

    Raises:
        RecordingError: damaged.
    """
    packed, crc = rest[: -_crc.size], rest[-_crc.size :]
    if crc != _crc.pack(zlib.crc32(fixed + packed)):
        raise RecordingError("the header is damaged (checksum)", field="header")
    return _map(packed, "header")


# Chunks


def pack_chunk(marker: bytes, head: dict[str, Any], body: bytes) -> bytes:
    """One chunk. The head gets ``crc``, the body's CRC-32."""
    packed = msgpack.packb(head | {"crc": zlib.crc32(body)})
    fields = _prefix_fields.pack(marker, len(packed), len(body))
    return b"".join((fields, _crc.pack(zlib.crc32(packed, zlib.crc32(fields))), packed, body))


def read_prefix(raw: bytes) -> ChunkPrefix:
    """The chunk's prefix, its claims checked; ``raw`` are its `CHUNK_PREFIX_BYTES`.

    Raises:
        RecordingError: not a chunk, or one of an impossible size.
    """
    marker, head_bytes, body_bytes, crc = _prefix.unpack(raw)
    if marker not in (BLOCK, INDEX):
        raise RecordingError("neither a block nor an index begins here", field="marker")
    if head_bytes > MAX_HEAD_BYTES or body_bytes > MAX_BODY_BYTES:
        raise RecordingError(f"a chunk of {head_bytes} + {body_bytes} bytes is above the format's bounds", field="size")
    return ChunkPrefix(marker, head_bytes, body_bytes, crc, raw[: _prefix_fields.size])


def read_head(prefix: ChunkPrefix, head: bytes) -> dict[str, Any]:
    """The chunk's head.

    Raises:
        RecordingError: damaged.
    """
    name = "index" if prefix.marker == INDEX else "block"
    if zlib.crc32(head, zlib.crc32(prefix.raw)) != prefix.crc:
        raise RecordingError(f"the head of this {name} is damaged (checksum)", field=f"{name} head")
    return _map(head, f"{name} head")


def inflate(body: bytes, crc: object, raw_bytes: int, name: str) -> bytes:
    """The body as it was before it was compressed: never more than ``raw_bytes`` are allocated.

    Raises:
        RecordingError: damaged, or not as long as its head says.
    """
    if zlib.crc32(body) != crc:
        raise RecordingError(f"the {name} is damaged (checksum)", field=f"{name} body")
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(body, raw_bytes + 1)
    except zlib.error as exc:
        raise RecordingError(f"the {name} cannot be decompressed ({exc})", field=f"{name} body") from None
    if len(raw) != raw_bytes or not inflater.eof or inflater.unused_data:
        raise RecordingError(f"the {name} is not as long as its head says", field=f"{name} body")
    return raw


# Trailer


def pack_trailer(index_offset: int) -> bytes:
    """The file's last bytes: where the index is."""
    packed = _offset.pack(index_offset)
    return packed + _crc.pack(zlib.crc32(packed)) + _TRAILER_MAGIC


def read_trailer(raw: bytes) -> int | None:
    """Where the index is; None where these are not a trailer's bytes: then the file was not closed."""
    if len(raw) != TRAILER_BYTES:
        return None
    offset, crc, magic = _trailer.unpack(raw)
    return offset if magic == _TRAILER_MAGIC and crc == zlib.crc32(_offset.pack(offset)) else None


def _map(packed: bytes, field: str) -> dict[str, Any]:
    try:
        value = msgpack.unpackb(packed)
    except Exception as exc:  # noqa: BLE001 - msgpack raises a dozen types for bad bytes
        raise RecordingError(f"the {field} is not msgpack ({type(exc).__name__})", field=field) from None
    if type(value) is not dict:
        raise RecordingError(f"the {field} is no map", field=field)
    return value

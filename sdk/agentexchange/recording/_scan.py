"""Opening a recording: by its index where it was closed, else block head by block head."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from agentexchange.errors import RecordingError

from ._block import BlockHead, read_block_head
from ._directory import Directory
from ._format import (
    BLOCK,
    CHUNK_PREFIX_BYTES,
    HEADER_FIXED_BYTES,
    INDEX,
    TRAILER_BYTES,
    ChunkPrefix,
    read_description,
    read_description_length,
    read_head,
    read_prefix,
    read_trailer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Cut", "Opened", "Tail", "open_file", "read_block_at", "read_on"]

_AHEAD_BYTES: Final = 4096  # a chunk's prefix and, most often, its head
_ZEROS_AT_ONCE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a file that cannot be read: its writer was killed, or the file was cut or damaged there.

    Attributes:
        offset: where the last whole block ends.
        size: bytes behind it, which are lost.
        reason: one sentence for people.
    """

    offset: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tail:
    """What is behind the last whole block.

    Attributes:
        cut: what is missing at the end; None for a whole file.
        is_closed: whether the index is there: else the writer is still at work, or was killed.
    """

    cut: Cut | None
    is_closed: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """What opening found.

    Attributes:
        description: of the header.
        directory: every whole block.
        tail: what is behind them.
    """

    description: dict[str, Any]
    directory: Directory
    tail: Tail


def open_file(file: BinaryIO, *, salvage: bool = False) -> Opened:
    """Read header and index, or scan.

    Args:
        file: opened for reading.
        salvage: take damage for the file's end rather than raise it.

    Raises:
        RecordingError: foreign, of a later version, or damaged; names the place.
    """
    size = os.fstat(file.fileno()).st_size
    fixed = _read(file, 0, HEADER_FIXED_BYTES)
    length = read_description_length(fixed)
    rest = _read(file, HEADER_FIXED_BYTES, length)
    if len(rest) < length:
        raise RecordingError("the file ends within its header: nothing was recorded", field="header")
    description = read_description(fixed, rest)
    start = HEADER_FIXED_BYTES + length
    indexed = _indexed(file, start, size, salvage=salvage)
    if indexed is not None:
        return Opened(description, indexed, Tail(None, is_closed=True))
    directory = Directory(start)
    return Opened(description, directory, read_on(file, directory, salvage=salvage))


def read_on(file: BinaryIO, directory: Directory, *, salvage: bool = False) -> Tail:
    """Enter the whole blocks that lie behind those in ``directory``; returns what is behind them.

    Raises:
        RecordingError: damaged there, or the file has become shorter; names the place.
    """
    size = os.fstat(file.fileno()).st_size
    if size < directory.end:
        raise RecordingError("the file has become shorter: it was replaced, or cut", field="size", offset=directory.end)
    try:
        for prefix, head in _chunks(file, directory.end, size):
            if prefix.marker == INDEX:  # without its trailer where the writer was killed in between
                return Tail(None, is_closed=_trailer_bytes(directory.end, prefix, size) == TRAILER_BYTES)
            directory.add(read_block_head(prefix, head), prefix.size)
    except RecordingError as exc:
        exc.offset = directory.end
        if not salvage and not _only_zeros(file, directory.end, size):
            exc.message += "; what comes before can be read with salvage (--salvage on the command line)"
            raise
        return Tail(Cut(directory.end, size - directory.end, exc.message), is_closed=False)
    left = size - directory.end
    return Tail(Cut(directory.end, left, "the file ends within a block") if left else None, is_closed=False)


def read_block_at(file: BinaryIO, offset: int, size: int) -> tuple[BlockHead, bytes]:
    """The block that begins at ``offset``: its head, and its body still compressed.

    Raises:
        RecordingError: damaged; names the place.
    """
    prefix, head = _chunk_at(file, offset)
    if prefix.marker != BLOCK or prefix.size != size:
        raise RecordingError("there is no block where the index has one", field="index body", offset=offset)
    return read_block_head(prefix, head), _read(file, offset + size - prefix.body_bytes, prefix.body_bytes)


def _indexed(file: BinaryIO, start: int, size: int, *, salvage: bool) -> Directory | None:
    """The directory out of the index; None where the file has none, or a damaged one that is to be done without."""
    if size < start + TRAILER_BYTES:
        return None
    offset = read_trailer(_read(file, size - TRAILER_BYTES, TRAILER_BYTES))
    if offset is None or not start <= offset <= size - TRAILER_BYTES - CHUNK_PREFIX_BYTES:
        return None
    try:
        return _read_index(file, offset, size, start)
    except RecordingError as exc:
        if salvage:
            return None
        exc.offset = offset
        raise


def _read_index(file: BinaryIO, offset: int, size: int, start: int) -> Directory:
    prefix, head = _chunk_at(file, offset)
    if prefix.marker != INDEX or offset + prefix.size != size - TRAILER_BYTES:
        raise RecordingError("there is no index where the file's end says", field="trailer")
    body = _read(file, offset + prefix.size - prefix.body_bytes, prefix.body_bytes)
    return Directory.from_index(head, body, start=start, end=offset)


def _chunks(file: BinaryIO, offset: int, size: int) -> Iterator[tuple[ChunkPrefix, dict[str, Any]]]:
    """Chunk by chunk, as far as they are whole."""
    while offset + CHUNK_PREFIX_BYTES <= size:
        ahead = _read(file, offset, _AHEAD_BYTES)
        if len(ahead) < CHUNK_PREFIX_BYTES:  # a writer that goes on with the file has cut off its index meanwhile
            return
        prefix = read_prefix(ahead[:CHUNK_PREFIX_BYTES])
        if offset + CHUNK_PREFIX_BYTES + prefix.head_bytes > size:
            return
        head = _head_of(file, offset, prefix, ahead)
        if offset + prefix.size > size:
            return
        yield prefix, head
        offset += prefix.size


def _chunk_at(file: BinaryIO, offset: int) -> tuple[ChunkPrefix, dict[str, Any]]:
    ahead = _read(file, offset, _AHEAD_BYTES)
    prefix = read_prefix(ahead[:CHUNK_PREFIX_BYTES].ljust(CHUNK_PREFIX_BYTES, b"\0"))
    return prefix, _head_of(file, offset, prefix, ahead)


def _head_of(file: BinaryIO, offset: int, prefix: ChunkPrefix, ahead: bytes) -> dict[str, Any]:
    """The head behind ``prefix``, most often within the bytes that were read with it."""
    end = CHUNK_PREFIX_BYTES + prefix.head_bytes
    whole = ahead if len(ahead) >= end else _read(file, offset, end)
    return read_head(prefix, whole[CHUNK_PREFIX_BYTES:end])


def _trailer_bytes(offset: int, prefix: ChunkPrefix, size: int) -> int:
    """How much follows the index at ``offset``."""
    left = size - offset - prefix.size
    if left > TRAILER_BYTES:
        raise RecordingError("bytes follow the index", field="index")
    return left


def _only_zeros(file: BinaryIO, offset: int, size: int) -> bool:
    """A power failure leaves zeros where the file had grown and nothing was written yet."""
    while offset < size:
        chunk = _read(file, offset, _ZEROS_AT_ONCE)
        if chunk.strip(b"\0") or not chunk:
            return False
        offset += len(chunk)
    return True


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)

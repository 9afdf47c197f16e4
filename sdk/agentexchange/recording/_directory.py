"""What is where in a recording: every block with its lane, span and topics. Pure.

Filled while blocks are written or scanned; written as the index at a clean close, and read from there.
"""

from __future__ import annotations

import zlib
from typing import Any, Final, NamedTuple

import msgpack

from agentexchange.errors import RecordingError

from ._block import DEFAULT_LEVEL, BlockHead, Lane
from ._format import INDEX, inflate, pack_chunk

__all__ = ["MAX_DIRECTORY_BYTES", "BlockInfo", "Directory"]

MAX_DIRECTORY_BYTES: Final = 256 * 1024 * 1024
"""About what a directory may take in memory: a file of tiny blocks ends there; a day at 10,000/s takes 20 MB."""

MAX_INDEX_BYTES: Final = 32 * 1024 * 1024
"""Of an index before compression; a directory with a larger one is not written: the file is scanned instead."""

_ENTRY_BYTES: Final = 400  # of a `BlockInfo` with its numbers


class BlockInfo(NamedTuple):
    """One block.

    Attributes:
        offset: where its chunk begins.
        size: of its chunk.
        lane: index into the directory's lanes.
        events: how many.
        first_us: ``r`` of the first.
        last_us: ``r`` of the last.
        mask: its topics, a bit for each of the directory's.
    """

    offset: int
    size: int
    lane: int
    events: int
    first_us: int
    last_us: int
    mask: int


class Directory:
    """All blocks of one file, in its order.

    Args:
        start: where the first block begins.

    Attributes:
        lanes: each once, in order of appearance.
        topics: the same.
        blocks: one after the other, without a hole between.
        end: where the last block ends.
    """

    def __init__(self, start: int) -> None:
        self.lanes: dict[Lane, int] = {}
        self.topics: dict[str, int] = {}
        self.blocks: list[BlockInfo] = []
        self.end = start
        self._bits: dict[str, int] = {}
        self._last_us: dict[int, int] = {}
        self._bytes = 0

    def add(self, head: BlockHead, size: int) -> None:
        """Enter the block that begins at `end`.

        Raises:
            RecordingError: it does not follow its lane's last block, or the directory grows beyond its bound.
        """
        lane = self.lanes.setdefault(head.lane, len(self.lanes))
        topics = set(head.topics)
        for topic in sorted(topics.difference(self._bits)):
            self._bits[topic] = 1 << len(self.topics)
            self.topics[topic] = len(self.topics)
        mask = sum(map(self._bits.__getitem__, topics))  # the bits are distinct; hundreds of them in most blocks
        self._enter(BlockInfo(self.end, size, lane, head.events, head.first_us, head.last_us, mask))

    def last_us(self, lane: Lane) -> int | None:
        """``r`` of the lane's newest event; None where there is none."""
        return self._last_us.get(self.lanes.get(lane, -1))

    def mask_of(self, topics: set[str]) -> int:
        """The bits of ``topics``; those that occur nowhere have none."""
        return sum(self._bits[topic] for topic in topics if topic in self._bits)

    def pack_index(self) -> bytes | None:
        """The index as a chunk; None where it would be too large to be read."""
        content = {
            "lanes": [list(lane) for lane in self.lanes],
            "topics": list(self.topics),
            "blocks": [
                [*block[:-1], block.mask.to_bytes((block.mask.bit_length() + 7) // 8, "little")]
                for block in self.blocks
            ],
        }
        raw: bytes = msgpack.packb(content)
        if len(raw) > MAX_INDEX_BYTES:
            return None
        return pack_chunk(INDEX, {"raw": len(raw)}, zlib.compress(raw, DEFAULT_LEVEL))

    @classmethod
    def from_index(cls, head: dict[str, Any], body: bytes, *, start: int, end: int) -> Directory:
        """Read `pack_index`'s chunk; ``end`` is where it begins, and so where the last block ends.

        Raises:
            RecordingError: damaged, or not an index of these bytes.
        """
        raw_bytes = head.get("raw")
        if type(raw_bytes) is not int or not 0 <= raw_bytes <= MAX_INDEX_BYTES:
            raise RecordingError("the index claims what cannot be", field="index head")
        raw = inflate(body, head.get("crc"), raw_bytes, "index")
        directory = cls(start)
        try:
            directory._fill(msgpack.unpackb(raw, strict_map_key=True))
        except RecordingError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever shape it has instead
            raise RecordingError(f"the index is malformed ({type(exc).__name__})", field="index body") from None
        if directory.end != end:
            raise RecordingError("the index does not cover the blocks before it", field="index body")
        return directory

    def _fill(self, content: dict[str, Any]) -> None:
        self.lanes = {Lane(*map(str, lane)): number for number, lane in enumerate(content["lanes"])}
        self.topics = {str(topic): number for number, topic in enumerate(content["topics"])}
        self._bits = {topic: 1 << number for topic, number in self.topics.items()}
        for offset, size, lane, count, first_us, last_us, mask in content["blocks"]:
            numbers = (offset, size, lane, count, first_us, last_us)
            if not all(type(number) is int for number in numbers) or not 0 <= lane < len(self.lanes):
                raise RecordingError("the index is malformed (a block's numbers)", field="index body")
            if offset != self.end:
                raise RecordingError("the index does not cover the blocks before it", field="index body")
            self._enter(BlockInfo(offset, size, lane, count, first_us, last_us, int.from_bytes(mask, "little")))

    def _enter(self, block: BlockInfo) -> None:
        if block.first_us < self._last_us.get(block.lane, 0):
            raise RecordingError("a block is older than the one before it in its lane", field="block head")
        self._bytes += _ENTRY_BYTES + block.mask.bit_length() // 8
        if self._bytes > MAX_DIRECTORY_BYTES:
            raise RecordingError("there are more blocks than this release reads: split the file", field="index")
        self._last_us[block.lane] = block.last_us
        self.blocks.append(block)
        self.end += block.size

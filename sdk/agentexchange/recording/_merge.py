"""Lanes into one order: by ``r``, and at the same ``r`` by lane. Pure but for the loading, which is passed in.

Works in runs, as long as one lane's events come before any other's: where lanes take turns seldom, most of a
block is handed on as it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange.errors import RecordingError
from agentexchange_schemas import EnvelopeError

from ._peek import received_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._directory import BlockInfo

__all__ = ["MAX_OPEN_BYTES", "OpenRun", "Run", "merged"]

MAX_OPEN_BYTES: Final = 256 * 1024 * 1024
"""Of blocks that overlap in time, and so are in memory together."""


class Run(NamedTuple):
    """Events of one lane that follow each other in the recorded order."""

    lane: int
    raws: list[bytes]


def merged(blocks: Iterable[BlockInfo], load: Callable[[BlockInfo], list[bytes]]) -> Iterator[Run]:
    """All events of ``blocks`` in order; ``load`` gives a block's.

    Raises:
        RecordingError: blocks are out of order, or more than `MAX_OPEN_BYTES` of them overlap.
    """
    waiting = sorted(blocks, key=lambda block: (block.first_us, block.lane, block.offset), reverse=True)
    opened: list[_OpenBlock] = []
    while opened or waiting:
        while waiting and (not opened or waiting[-1].first_us <= min(opened, key=_order).front):
            block = waiting.pop()
            opened.append(_OpenBlock(block, load(block)))
            _check_memory(opened)
        head = min(opened, key=_order)
        bounds = [other.front for other in opened if other is not head]
        if waiting:
            bounds.append(waiting[-1].first_us)
        yield Run(head.block.lane, head.take(min(bounds, default=None)))
        if head.is_empty:
            opened.remove(head)


class OpenRun:
    """Events of one lane that are being handed on, as far as other lanes' events do not come first.

    Args:
        raws: the events, in order of ``r``; at least one.
        first_us: ``r`` of the first.
        last_us: ``r`` of the last.

    Attributes:
        front: ``r`` of the next one.
        size: of all of them, in bytes.
    """

    def __init__(self, raws: list[bytes], first_us: int, last_us: int) -> None:
        self.front = first_us
        self.size = sum(map(len, raws))
        self._last_us = last_us
        self._raws = raws
        self._places: list[int] = []
        self._at = 0

    @property
    def is_empty(self) -> bool:
        """Whether all were taken."""
        return self._at == len(self._raws)

    def take(self, bound: int | None) -> list[bytes]:
        """What comes before ``bound``, another lane's next event; at least one event, and those of the same ``r``.

        Raises:
            RecordingError: they are out of order, or one is no envelope.
        """
        begin = self._at
        if bound is None or bound > self._last_us:
            self._at = len(self._raws)
            return self._raws[begin:] if begin else self._raws
        places = self._places = self._places or self._read_places()
        self._at = max(bisect_left(places, bound, begin), bisect_right(places, self.front, begin))
        if not self.is_empty:
            self.front = places[self._at]
        return self._raws[begin : self._at]

    def _read_places(self) -> list[int]:
        try:
            places = list(map(received_of, self._raws))
        except EnvelopeError as exc:
            raise RecordingError(f"the block holds what is no envelope: {exc}", field="block body") from None
        if places != sorted(places):
            raise RecordingError("the block's events are out of order", field="block body")
        return places


class _OpenBlock(OpenRun):
    def __init__(self, block: BlockInfo, raws: list[bytes]) -> None:
        super().__init__(raws, block.first_us, block.last_us)
        self.block = block

    def take(self, bound: int | None) -> list[bytes]:
        try:
            return super().take(bound)
        except RecordingError as exc:
            exc.offset = self.block.offset
            raise


def _order(block: _OpenBlock) -> tuple[int, int, int]:
    return (block.front, block.block.lane, block.block.offset)


def _check_memory(opened: list[_OpenBlock]) -> None:
    if sum(block.size for block in opened) > MAX_OPEN_BYTES:
        raise RecordingError(
            f"blocks of more than {MAX_OPEN_BYTES // 2**20} MiB overlap in time: read fewer scopes at once",
            field="blocks",
            offset=opened[-1].block.offset,
        )

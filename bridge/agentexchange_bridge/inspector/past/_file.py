"""A recording as a history: read on a thread, block by block; the last few blocks are kept."""

from __future__ import annotations

import asyncio
import logging
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from agentexchange.errors import ConnectionError as PublicConnectionError
from agentexchange.recording import Recording, RecordingError, received_of, topic_of
from agentexchange_schemas import EnvelopeError

from ._history import LaneSpan, Page, Sample, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from agentexchange.recording import BlockInfo, EventName, Lane, Place

__all__ = ["FileHistory"]

_T = TypeVar("_T")

_KEPT: Final = 24  # blocks, of a mebibyte at most
_COUNTED: Final = 24  # blocks of a lane whose events are counted one by one
_FURTHER: Final = 16  # blocks that are looked into for topics that are not near

_log = logging.getLogger("agentexchange_bridge")


class FileHistory:
    """A `History` of a file: of the market, and of the account scopes given. A damaged file ends where the damage is.

    Args:
        path: the file.
        accounts: account scopes that may be shown.

    Raises:
        RecordingError: foreign, or of a later version.
        OSError: it cannot be opened.

    Attributes:
        lanes: see `History`; those that come later are added at the end.
    """

    def __init__(self, path: Path, accounts: Collection[str]) -> None:
        self._accounts = frozenset(accounts)
        self._recording = _opened(path)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, list[bytes]] = OrderedDict()
        self._has_ended = False
        self.lanes: tuple[Lane, ...] = ()
        self._blocks: dict[Lane, list[BlockInfo]] = {}
        self._topics: dict[str, set[str]] = {}
        self._take(0)

    @property
    def recording(self) -> Recording:
        """The open file; its events are read through the methods here."""
        return self._recording

    @property
    def grows(self) -> bool:
        """Whether more may come: its recorder has not closed it, and it is not damaged."""
        return not (self._recording.is_closed or self._has_ended)

    async def refresh(self) -> bool:
        """Take in what was written since; whether there was anything. Not twice at the same time.

        Raises:
            ConnectionError: the file cannot be read.
        """
        before = self._recording.blocks
        try:
            await self._on_thread(self._refresh)
        finally:
            self._take(before)
        return self._recording.blocks > before

    def close(self) -> None:
        """Close it. Idempotent."""
        with self._lock:
            self._recording.close()

    def _take(self, skip: int) -> None:
        """Enter the blocks behind the first ``skip``; lists and sets that somebody reads now stay as they are."""
        recording = self._recording
        self.lanes = tuple(
            lane for lane in recording.lanes if not lane.scope.startswith("a-") or lane.scope in self._accounts
        )
        for lane in self.lanes:
            self._blocks[lane] = self._blocks.get(lane, []) + recording.blocks_of(lane, skip=skip)
        found: dict[str, set[str]] = {}
        for scope, topic in recording.places(skip=skip):
            found.setdefault(scope, set()).add(topic)
        self._topics |= {scope: self._topics.get(scope, set()) | topics for scope, topics in found.items()}

    def key(self, lane: Lane) -> str:
        """See `History`: scope and log."""
        return f"{lane.scope}:{lane.log}"

    def end_us(self) -> int:
        """See `History`: the last event."""
        return max((blocks[-1].last_us for blocks in self._blocks.values() if blocks), default=0)

    async def spans(self) -> list[LaneSpan]:
        """See `History`."""
        return [self._span(lane) for lane in self.lanes]

    async def back(self, lane: Lane, before_us: int, count: int, *, topic: str | None = None) -> Page:
        """See `History`."""
        return await self._on_thread(lambda: self._back(lane, before_us, count, topic))

    async def forth(self, lane: Lane, after_us: int, count: int, *, topic: str | None = None) -> Page:
        """See `History`."""
        return await self._on_thread(lambda: self._forth(lane, after_us, count, topic))

    async def topics(self, scope: str) -> set[str]:
        """See `History`."""
        return self._topics.get(scope, set())

    async def newest(self, scope: str, topics: list[str], before_us: int) -> list[bytes]:
        """See `History`: by the index, which names the last block of each."""
        found: list[bytes] = []
        for lane in self.lanes:
            if lane.scope == scope:
                found += await self._on_thread(partial(self._newest, lane, topics, before_us))
        return found

    async def locate(self, name: EventName) -> int | None:
        """The ``r`` of an event; None where it was not recorded, or may not be shown."""
        scopes = {lane.scope for lane in self.lanes}
        place = await self._on_thread(partial(self._locate, name, scopes))
        return None if place is None else place.received_us

    async def rates(self, lane: Lane, stretches: Sequence[Stretch]) -> list[Sample]:
        """See `History`: a small lane is counted; of a large one, by the index, cut blocks have even shares."""
        blocks = self._blocks[lane]
        if len(blocks) > _COUNTED:
            return [self._rate(blocks, stretch) for stretch in stretches]
        places = await self._on_thread(lambda: [received_of(raw) for block in blocks for raw in self._load(block)])
        return [_counted(places, stretch) for stretch in stretches]

    def _rate(self, blocks: Sequence[BlockInfo], stretch: Stretch) -> Sample:
        start_us, end_us = stretch
        count, is_exact = 0.0, True
        for block in blocks[bisect_left(blocks, start_us, key=_last) : bisect_left(blocks, end_us, key=_first)]:
            within_us = min(block.last_us + 1, end_us) - max(block.first_us, start_us)
            share = within_us / (block.last_us + 1 - block.first_us)
            count += block.events * share
            is_exact = is_exact and share == 1
        return Sample(count * 1_000_000 / (end_us - start_us), is_exact)

    # On the thread

    async def _on_thread(self, read: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(read)
        except (RecordingError, EnvelopeError, OSError, ValueError) as exc:
            raise PublicConnectionError(f"the recording cannot be read: {exc}") from exc

    def _refresh(self) -> None:
        with self._lock:
            try:
                self._recording.refresh()
            except RecordingError as exc:
                self._has_ended = True
                _log.warning("%s: damaged while it is written; what comes before is shown: %s", exc.path, exc)

    def _back(self, lane: Lane, before_us: int, count: int, topic: str | None) -> Page:
        blocks = self._blocks[lane]
        raws: list[bytes] = []
        for at in range(bisect_left(blocks, before_us, key=_first) - 1, -1, -1):
            if topic is not None and not self._recording.holds(blocks[at], topic):
                continue
            found = self._load(blocks[at])
            end = bisect_left(found, before_us, key=received_of)
            start = max(0, end - (count - len(raws)))
            raws += reversed(found[start:end])
            if len(raws) >= count:
                return Page(raws, received_of(raws[-1]), len(raws))
        return Page(raws, None, len(raws))

    def _forth(self, lane: Lane, after_us: int, count: int, topic: str | None) -> Page:
        blocks = self._blocks[lane]
        raws: list[bytes] = []
        for block in blocks[bisect_right(blocks, after_us, key=_last) :]:
            if topic is not None and not self._recording.holds(block, topic):
                continue
            found = self._load(block)
            start = bisect_right(found, after_us, key=received_of)
            raws += found[start : start + count - len(raws)]
            if len(raws) >= count:
                return Page(raws, received_of(raws[-1]), len(raws))
        return Page(raws, None, len(raws))

    def _locate(self, name: EventName, scopes: Collection[str]) -> Place | None:
        with self._lock:
            return self._recording.locate(name, scopes=scopes)

    def _newest(self, lane: Lane, topics: Sequence[str], before_us: int) -> list[bytes]:
        """Of topics that are missing in the block at hand, the newest in those before it, if they are not too many."""
        blocks = self._blocks[lane]
        wanted: dict[int, set[str]] = {}
        for topic in topics:
            for at in range(bisect_left(blocks, before_us, key=_last) - 1, -1, -1):
                if self._recording.holds(blocks[at], topic):
                    wanted.setdefault(at, set()).add(topic)
                    break
        return [raw for at in sorted(wanted)[-_FURTHER:] for raw in _last_of(self._load(blocks[at]), wanted[at])]

    def _load(self, block: BlockInfo) -> list[bytes]:
        with self._lock:
            raws = self._kept.get(block.offset)
            if raws is None:
                raws = self._kept[block.offset] = self._recording.read(block)
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(block.offset)
            return raws

    def _span(self, lane: Lane) -> LaneSpan:
        blocks = self._blocks[lane]
        entries, size = sum(block.events for block in blocks), sum(block.size for block in blocks)
        first_us, last_us = (blocks[0].first_us, blocks[-1].last_us) if blocks else (None, None)
        return LaneSpan(lane, entries, size, first_us, last_us)


def _counted(places: list[int], stretch: Stretch) -> Sample:
    count = bisect_left(places, stretch.end_us) - bisect_left(places, stretch.start_us)
    return Sample(count * 1_000_000 / (stretch.end_us - stretch.start_us), is_exact=True)


def _last_of(raws: list[bytes], topics: set[str]) -> list[bytes]:
    found: dict[str, bytes] = {}
    for raw in reversed(raws):
        topic = topic_of(raw)
        if topic in topics and topic not in found:
            found[topic] = raw
            if len(found) == len(topics):
                break
    return list(found.values())


def _first(block: BlockInfo) -> int:
    return block.first_us


def _last(block: BlockInfo) -> int:
    return block.last_us


def _opened(path: Path) -> Recording:
    try:
        recording = Recording(path)
    except RecordingError as exc:
        recording = Recording(path, salvage=True)  # raises again what nothing can be read of
        _log.warning("%s: damaged; what comes before is shown: %s", path, exc)
    if recording.cut is not None:
        _log.warning("%s: its last %d bytes are no whole block: %s", path, recording.cut.size, recording.cut.reason)
    return recording

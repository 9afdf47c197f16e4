"""Reading a recording: all of it, or a span of time, some topics, some scopes; always in the recorded order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

from agentexchange.errors import RecordingError
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import decode

from ._block import Lane, read_body
from ._locate import locate
from ._merge import merged
from ._peek import received_of, topic_of
from ._scan import Cut, Tail, open_file, read_block_at, read_on
from ._topics import TopicChoice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from agentexchange_schemas import Envelope, Topic

    from ._block import BlockHead
    from ._directory import BlockInfo
    from ._moments import EventName
    from ._peek import Place

__all__ = ["LaneRun", "Recorded", "Recording"]


class LaneRun(NamedTuple):
    """Events of one lane that follow each other in the recorded order, as the bytes that were in the log."""

    lane: Lane
    raws: list[bytes]


class Recorded(NamedTuple):
    """One event.

    Attributes:
        scope: the scope it was read from.
        envelope: the event with its metadata.
        raw: the envelope's bytes, exactly as in the log.
    """

    scope: str
    envelope: Envelope
    raw: bytes


class Recording:
    """An open ``.axlog`` file. Also a context manager; not thread-safe, iterators may be interleaved.

    A file that is still being written, or whose writer was killed, opens up to its last whole block; `refresh` takes
    in the blocks that were written since, and `Growing` reads them over a rotation too.

    Args:
        path: the file.
        salvage: take damage for the file's end rather than raise it when opening.

    Raises:
        RecordingError: foreign, of a later version, or damaged; names the place.
        OSError: it cannot be opened.

    Attributes:
        path: as given.
        cut: what is missing at the end, None where nothing is.
        is_closed: whether its writer closed it.
        description: who wrote it, when and from what.
    """

    def __init__(self, path: str | Path, *, salvage: bool = False) -> None:
        self.path = Path(path)
        self._file: BinaryIO = self.path.open("rb", buffering=0)
        try:
            opened = open_file(self._file, salvage=salvage)
        except RecordingError as exc:
            self._file.close()
            exc.path = str(self.path)
            raise
        self._salvage = salvage
        self._directory = opened.directory
        self.description: dict[str, Any] = opened.description
        self._take(opened.tail)

    def _take(self, tail: Tail) -> None:
        self._lanes = tuple(self._directory.lanes)
        self.cut: Cut | None = tail.cut
        self.is_closed = tail.is_closed

    def refresh(self) -> int:
        """Take in the whole blocks that were written since, and say how many; `cut` and `is_closed` are as of now.

        Reads only what is new: a few KiB where nothing is. Half a block at the end is no fault; it is `cut` until it
        is whole. Not while another method reads; an iterator under way goes on with the blocks that it began with.

        Raises:
            RecordingError: damaged there, or the file has become shorter; blocks before are taken in.
        """
        before = self.blocks
        try:
            tail = read_on(self._file, self._directory, salvage=self._salvage)
        except RecordingError as exc:
            self._lanes = tuple(self._directory.lanes)
            exc.path = str(self.path)
            raise
        self._take(tail)
        return self.blocks - before

    # What it holds

    @property
    def count(self) -> int:
        """How many events and notices."""
        return sum(block.events for block in self._directory.blocks)

    @property
    def blocks(self) -> int:
        """How many blocks it is stored in."""
        return len(self._directory.blocks)

    @property
    def first_us(self) -> int | None:
        """``r`` of the first event; None where there is none."""
        return min((block.first_us for block in self._directory.blocks), default=None)

    @property
    def last_us(self) -> int | None:
        """``r`` of the last event; None where there is none."""
        return max((block.last_us for block in self._directory.blocks), default=None)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The logs it was recorded from."""
        return self._lanes

    def lane_ends(self) -> dict[Lane, int]:
        """``r`` of each lane's last event."""
        return {lane: self._directory.last_us(lane) or 0 for lane in self._lanes}

    def lane_spans(self) -> dict[Lane, tuple[int, int]]:
        """``r`` of each lane's first and last event."""
        spans: dict[Lane, tuple[int, int]] = {}
        for block in self._directory.blocks:
            lane = self._lanes[block.lane]
            spans[lane] = (spans.get(lane, (block.first_us,))[0], block.last_us)
        return spans

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that occurs, ``status`` for notices among them."""
        return tuple(self._directory.topics)

    def places(self, *, skip: int = 0) -> set[tuple[str, str]]:
        """Every topic with each scope that it occurs in; ``skip``: as for `runs`."""
        masks: dict[str, int] = {}
        for block in self._directory.blocks[skip:]:
            scope = self._lanes[block.lane].scope
            masks[scope] = masks.get(scope, 0) | block.mask
        topics = self._directory.topics.items()
        return {(scope, topic) for scope, mask in masks.items() for topic, number in topics if mask >> number & 1}

    # Its events

    def events(
        self,
        start_us: int | None = None,
        end_us: int | None = None,
        *,
        topics: Iterable[str | Topic] | TopicChoice | None = None,
        scopes: Iterable[str] | None = None,
        notices: bool = True,
    ) -> Iterator[Recorded]:
        """The events in order; arguments as for `runs`.

        Raises:
            RecordingError: damaged there; everything before has been handed out.
        """
        for lane, raws in self.runs(start_us, end_us, topics=topics, scopes=scopes, notices=notices):
            scope = lane.scope
            for raw in raws:
                try:
                    envelope = decode(raw)
                except EnvelopeError as exc:
                    raise RecordingError(
                        f"an event of {scope} is no envelope: {exc}", field=exc.field, path=str(self.path)
                    ) from None
                yield Recorded(scope, envelope, raw)

    def runs(
        self,
        start_us: int | None = None,
        end_us: int | None = None,
        *,
        topics: Iterable[str | Topic] | TopicChoice | None = None,
        scopes: Iterable[str] | None = None,
        notices: bool = True,
        skip: int = 0,
    ) -> Iterator[LaneRun]:
        """The events' bytes in order, in runs of one lane: the fast way.

        Args:
            start_us: the first ``r`` wanted, µs since the Unix epoch.
            end_us: the first ``r`` no longer wanted.
            topics: only these (``ticker:all``: every ticker).
            scopes: only these.
            notices: notices too, whatever ``topics`` are; a `TopicChoice` says that itself.
            skip: the file's first blocks, so many, are left out: with `blocks` before a `refresh`, what is new.

        Raises:
            RecordingError: damaged there; everything before has been handed out.
        """
        wanted = topics if isinstance(topics, TopicChoice) else TopicChoice(topics, notices=notices)
        blocks = self._chosen(self._directory.blocks[skip:], start_us, end_us, wanted, scopes)
        cut_off = _Edges(start_us, end_us)
        is_all = len(wanted.among(self._directory.topics)) == len(self._directory.topics)

        try:
            for lane, raws in merged(blocks, self._load):
                run = cut_off(raws)
                if not is_all:
                    run = _only(wanted.wants, run)
                if run:
                    yield LaneRun(self._lanes[lane], run)
        except RecordingError as exc:
            exc.path = str(self.path)
            raise
        except EnvelopeError as exc:
            raise RecordingError(
                f"the recording holds what is no envelope: {exc}", field=exc.field, path=str(self.path)
            ) from None

    def locate(self, name: EventName, *, scopes: Iterable[str] | None = None) -> Place | None:
        """Where an event stands; None where it was not recorded. By the index: no more than a few blocks are read.

        Where logs of several lives or scopes (only ``scopes``) have one of that name, the one of the newest epoch.

        Raises:
            RecordingError: damaged where it would be.
        """
        mask = self._directory.mask_of({name.topic})
        wanted = self._numbers_of(scopes)
        lanes: dict[int, list[BlockInfo]] = {}
        for block in self._directory.blocks:
            if block.mask & mask and block.lane in wanted:
                lanes.setdefault(block.lane, []).append(block)
        try:
            return locate(name, lanes.values(), self._load)
        except RecordingError as exc:
            exc.path = str(self.path)
            raise

    def _chosen(
        self,
        blocks: Iterable[BlockInfo],
        start_us: int | None,
        end_us: int | None,
        wanted: TopicChoice,
        scopes: Iterable[str] | None,
    ) -> list[BlockInfo]:
        directory = self._directory
        lanes = self._numbers_of(scopes)
        mask = directory.mask_of(wanted.among(directory.topics))
        return [
            block
            for block in blocks
            if block.lane in lanes
            and block.mask & mask
            and (start_us is None or block.last_us >= start_us)
            and (end_us is None or block.first_us < end_us)
        ]

    def _numbers_of(self, scopes: Iterable[str] | None) -> set[int]:
        """The lanes of these scopes; None: all."""
        only = None if scopes is None else set(scopes)
        return {number for lane, number in self._directory.lanes.items() if only is None or lane.scope in only}

    def _load(self, block: BlockInfo) -> list[bytes]:
        try:
            head, body = read_block_at(self._file, block.offset, block.size)
            self._check(head, block)
            return read_body(head, body)
        except RecordingError as exc:
            exc.offset = block.offset
            raise

    def _check(self, head: BlockHead, block: BlockInfo) -> None:
        found = (head.lane, head.events, head.first_us, head.last_us)
        if found != (self._lanes[block.lane], block.events, block.first_us, block.last_us):
            raise RecordingError("the block is not the one the index names", field="index body")

    # Its blocks, for who reads here and there

    def blocks_of(self, lane: Lane, *, skip: int = 0) -> list[BlockInfo]:
        """The blocks of a lane in its order, known without being read: span, count; ``skip``: as for `runs`."""
        number = self._directory.lanes.get(lane)
        return [block for block in self._directory.blocks[skip:] if block.lane == number]

    def holds(self, block: BlockInfo, topic: str) -> bool:
        """Whether a block has events of a topic, by the index alone."""
        return bool(block.mask & self._directory.mask_of({topic}))

    def read(self, block: BlockInfo) -> list[bytes]:
        """The envelopes of one block.

        Raises:
            RecordingError: it is damaged.
        """
        try:
            return self._load(block)
        except RecordingError as exc:
            exc.path = str(self.path)
            raise

    # Its file

    def stat(self) -> os.stat_result:
        """What the system says of the file that is open, whatever it is called by now."""
        return os.fstat(self._file.fileno())

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Edges:
    """Cuts runs to a span of time; most lie within it, and then only their ends are looked at."""

    def __init__(self, start_us: int | None, end_us: int | None) -> None:
        self._start_us = -1 if start_us is None else start_us
        self._end_us = end_us

    def __call__(self, raws: list[bytes]) -> list[bytes]:
        if self._start_us > 0 and received_of(raws[0]) < self._start_us:
            raws = [raw for raw in raws if received_of(raw) >= self._start_us]
        if self._end_us is not None and raws and received_of(raws[-1]) >= self._end_us:
            raws = [raw for raw in raws if received_of(raw) < self._end_us]
        return raws


def _only(wants: Callable[[str], bool], raws: list[bytes]) -> list[bytes]:
    return [raw for raw in raws if wants(topic_of(raw))]

"""Recordings as a source: one file, or those that a recorder rotated."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from agentexchange.errors import RecordingError
from agentexchange.recording import Growing, Recording, runs_of

from ._blocks import notices_back
from ._states import in_force

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
    from types import TracebackType

    from agentexchange.recording import EventName, Lane, LaneRun, Place, TopicChoice
    from agentexchange_schemas import FeedStatus

__all__ = ["FileSource"]

_log: Final = logging.getLogger("agentexchange.replay")
_AT_ONCE_BYTES: Final = 1024 * 1024  # that are read in one go on the thread, or a block
_WITHOUT_TICKS: Final = ("log:candles", "recorder")  # logs


class _Part(NamedTuple):
    """What was read in one go, and what ended it early."""

    runs: list[LaneRun]
    error: RecordingError | None = None


class FileSource:
    """A recording, or several as one. Files are read on a thread. See `Source`.

    A damaged file is read up to the damage, which `runs` raises when it gets there. A file without an end is read as
    far as it was whole when it was opened; `follow` reads on while it is written.

    Args:
        path: a file; more of them for further parts.
        tell: is given a sentence about what is missing at a file's end; by default it is logged.
        grows: what is missing at a file's end may still come, and is not told.

    Attributes:
        name: of what is read, for people.
        is_away: False: a file is there or it is an error.
        recordings: the open files.
    """

    name = "the recording"
    is_away = False

    def __init__(self, *path: str | Path, tell: Callable[[str], None] = _log.warning, grows: bool = False) -> None:
        self._paths = [Path(one) for one in path]
        self._tell = tell
        self._grows = grows
        self._stack = ExitStack()
        self._lock = threading.Lock()  # a file has one place that is read from
        self._is_closed = False
        self._faults: list[RecordingError] = []
        self.recordings: list[Recording] = []

    @property
    def first_us(self) -> int | None:
        """``r`` of the first event; None where there is none."""
        return min((one.first_us for one in self.recordings if one.first_us is not None), default=None)

    @property
    def last_us(self) -> int | None:
        """``r`` of the last event that can be read."""
        return max((one.last_us for one in self.recordings if one.last_us is not None), default=None)

    @property
    def scopes(self) -> tuple[str, ...]:
        """Every scope that occurs."""
        return tuple(dict.fromkeys(lane.scope for one in self.recordings for lane in one.lanes))

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that occurs, ``status`` for notices among them."""
        return tuple(dict.fromkeys(topic for one in self.recordings for topic in one.topics))

    def ticks_since_us(self, scope: str) -> int | None:
        """``r`` of the first event of the scope, candles and what a recorder tells left aside; None where none is."""
        spans = [span for one in self.recordings for lane, span in one.lane_spans().items() if _has_ticks(lane, scope)]
        return min((first_us for first_us, _ in spans), default=None)

    async def places(self) -> set[tuple[str, str]]:
        """Every scope with each topic that occurs in it."""
        return {place for one in self.recordings for place in one.places()}

    async def __aenter__(self) -> Self:
        """Open the files.

        Raises:
            RecordingError: one is foreign, or of a later version.
            OSError: one cannot be read.
        """
        try:
            await asyncio.to_thread(self._open)
        except asyncio.CancelledError:
            self._close()  # what the thread has opened, or is about to
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def runs(
        self,
        start_us: int | None = None,
        end_us: int | None = None,
        *,
        topics: TopicChoice,
        scopes: Sequence[str] | None = None,
    ) -> AsyncIterator[LaneRun]:
        """The events in the recorded order; see `Source.runs`."""
        async for run in self._all_of(runs_of(self.recordings, start_us, end_us, topics=topics, scopes=scopes)):
            yield run
        if (fault := self._fault_before(end_us)) is not None:
            raise fault

    async def follow(
        self,
        stop: asyncio.Event,
        start_us: int | None = None,
        *,
        topics: TopicChoice,
        scopes: Sequence[str] | None = None,
        period_s: float = 0.25,
    ) -> AsyncGenerator[LaneRun]:
        """As `runs`, and then what recorders write into files that are not closed, until ``stop`` is set or all are.

        What is new comes block by block: within a look, every ``period_s``, in the recorded order. A file that is
        rotated is read on in those that follow it.

        Raises:
            RecordingError: damaged there; everything before has been handed out.
            OSError: a file cannot be read.
        """
        growing = [Growing(one, self._tell) for one in self.recordings if not one.is_closed]
        async for run in self.runs(start_us, topics=topics, scopes=scopes):
            yield run
        if not growing:
            self._tell(f"{', '.join(path.name for path in self._paths)}: closed by its recorder: nothing follows")
        with ExitStack() as stack:
            for one in growing:
                stack.callback(one.close)
            while not stop.is_set() and not all(one.is_over for one in growing):
                for one in growing:
                    async for run in self._all_of(one.more(start_us, topics=topics, scopes=scopes)):
                        yield run
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), period_s)

    async def _all_of(self, stream: Iterator[LaneRun]) -> AsyncIterator[LaneRun]:
        while True:
            runs, error = await asyncio.to_thread(self._read, stream)
            for run in runs:
                yield run
            if error is not None:
                raise error
            if not runs:
                return

    async def locate(self, name: EventName) -> int | None:
        """The ``r`` of an event; see `Source.locate`."""
        place = await asyncio.to_thread(self._locate, name)
        return None if place is None else place.received_us

    async def states_at(self, at_us: int, scopes: Sequence[str]) -> list[FeedStatus]:
        """How these scopes were, by the notices before; see `Source.states_at`."""
        return await asyncio.to_thread(self._states_at, at_us, scopes)

    # On the thread

    def _open(self) -> None:
        with self._lock, ExitStack() as stack:
            for path in () if self._is_closed else self._paths:
                self.recordings.append(stack.enter_context(self._opened(path)))
            self._stack = stack.pop_all()

    def _opened(self, path: Path) -> Recording:
        try:
            recording = Recording(path)
        except RecordingError as exc:
            recording = Recording(path, salvage=True)  # raises again what nothing can be read of
            self._faults.append(exc)
        else:
            if recording.cut is not None and not self._grows:
                self._tell(f"{path}: {recording.cut.size:,} bytes at its end are missing: {recording.cut.reason}")
        return recording

    def _read(self, stream: Iterator[LaneRun]) -> _Part:
        runs: list[LaneRun] = []
        left = _AT_ONCE_BYTES
        with self._lock:
            try:
                while left > 0 and (run := next(stream, None)) is not None:
                    runs.append(run)
                    left -= sum(map(len, run.raws))
            except RecordingError as exc:
                return _Part(runs, exc)
        return _Part(runs)

    def _locate(self, name: EventName) -> Place | None:
        with self._lock:
            found = [place for one in self.recordings if (place := one.locate(name)) is not None]
        return max(found, key=lambda place: (place.epoch, place.received_us), default=None)

    def _states_at(self, at_us: int, scopes: Sequence[str]) -> list[FeedStatus]:
        with self._lock:
            return [
                status for scope in scopes for status in in_force(scope, notices_back(self.recordings, scope, at_us))
            ]

    def _close(self) -> None:
        """On the loop, where it may have to wait while a block is read."""
        with self._lock:
            self._is_closed = True
            self._stack.close()

    def _fault_before(self, end_us: int | None) -> RecordingError | None:
        """The damage that a file was opened up to, unless the span ends before it."""
        is_reached = end_us is None or self.last_us is None or end_us > self.last_us
        return self._faults[0] if self._faults and is_reached else None


def _has_ticks(lane: Lane, scope: str) -> bool:
    return lane.scope == scope and lane.log not in _WITHOUT_TICKS

"""The past as ``tail`` prints it, and what follows it in the logs without a seam."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from agentexchange_bridge.rows import RECORDED

from ._sources import RECORDER_LOG, moment_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import Lane
    from agentexchange.replay import FileSource, RedisSource

    from ._print import EventPrinter
    from ._wanted import Wanted

__all__ = ["follow", "follow_recording", "print_past"]


async def print_past(
    source: FileSource | RedisSource, wanted: Wanted, since: str | None, printer: EventPrinter, stop: asyncio.Event
) -> None:
    """Print what ``source`` holds from ``since`` on.

    Raises:
        UsageError: no moment, or an event that is not there.
        RecordingError: damaged there; everything before has been printed.
        ConnectionError: Redis does not answer.
        OSError: stdout is gone, or a file cannot be read.
    """
    async with source:
        start_us = await moment_of(source, since, "tail", "--since")
        async for lane, raws in source.runs(start_us, topics=wanted.choice, scopes=wanted.scopes):
            if stop.is_set():
                break
            printer.log(lane.scope, raws, RECORDED)


async def follow_recording(
    source: FileSource, wanted: Wanted, since: str | None, printer: EventPrinter, stop: asyncio.Event
) -> None:
    """Print what is recorded from ``since`` on, and then each block that comes, until the recorder closes the file.

    Raises:
        As `print_past`.
    """
    async with source:
        start_us = await moment_of(source, since, "tail", "--since")
        runs = source.follow(stop, start_us, topics=wanted.choice, scopes=wanted.scopes)
        async with aclosing(runs):
            async for lane, raws in runs:
                if stop.is_set():
                    break
                printer.log(lane.scope, raws, RECORDED)


async def follow(
    source: RedisSource, url: RedisUrl, account: str | None, since: str, *, wanted: Wanted, printer: EventPrinter,
    stop: asyncio.Event, tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Print the past, and then whatever comes, out of the logs: each is read on from its last entry that was read.

    Raises:
        As `print_past`.
    """
    from agentexchange import ConnectionError as LostConnectionError
    from agentexchange_bridge.recorder import Recorder, RecorderOptions

    sink = _Sink(printer)
    async with source:
        start_us = await moment_of(source, since, "tail", "--since")
        try:
            await _read_all(source, start_us, sink, stop)
        except LostConnectionError as exc:
            if not sink.lanes:
                raise
            tell(f"{exc}: reading on as soon as it is back")
    if stop.is_set():
        return
    sink.source = "live"
    options = RecorderOptions(
        url=url,
        writer=sink,
        scopes=wanted.scopes,
        accounts=() if account is None or wanted.scopes is not None else (account,),
        topics=wanted.choice,
        start_us=start_us,
        tell=tell,
    )
    await Recorder(options).run(stop)


async def _read_all(source: RedisSource, start_us: int | None, sink: _Sink, stop: asyncio.Event) -> None:
    """All topics, so that what follows begins where the log ended and not where a rare topic did."""
    from agentexchange.recording import TopicChoice

    async for lane, raws in source.runs(start_us, topics=TopicChoice()):
        if stop.is_set():
            return
        sink.add(lane, raws)


class _Sink:
    """Prints what a `Recorder` reads.

    Attributes:
        source: of the events, as they are printed.
    """

    def __init__(self, printer: EventPrinter) -> None:
        self.source = RECORDED
        self._printer = printer
        self._ends: dict[Lane, int] = {}

    @property
    def lanes(self) -> Sequence[Lane]:
        """The logs that have brought something."""
        return tuple(self._ends)

    def last_us(self, lane: Lane) -> int | None:
        """``r`` of a log's last event; None where it has brought none."""
        return self._ends.get(lane)

    def add(self, lane: Lane, raws: Sequence[bytes]) -> None:
        """The next events; a recorder's own notices are told in words."""
        from agentexchange.recording import received_of

        if not raws:
            return
        self._ends[lane] = received_of(raws[-1])
        if lane.log != RECORDER_LOG:
            self._printer.log(lane.scope, raws, self.source)

    def tick(self) -> None:
        """Nothing waits here."""

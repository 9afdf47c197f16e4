"""Where exported events come from: recordings, or the logs in Redis; always in runs, in the recorded order."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentexchange.recording import Recording, TopicChoice, runs_of
from agentexchange.replay import RedisSource

from ._state import partitions_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import LaneRun

__all__ = ["Choice", "file_runs", "partitions_in", "redis_runs", "scopes_in"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is wanted.

    Attributes:
        start_us: the first ``r``; None for the beginning.
        end_us: the first ``r`` no longer wanted; None for the end.
        topics: only these, and notices.
        scopes: only these; None for all (in Redis: every market scope).
        accounts: account scopes beside ``scopes``, in Redis.
    """

    start_us: int | None = None
    end_us: int | None = None
    topics: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    accounts: tuple[str, ...] = field(default=())


def file_runs(
    paths: Sequence[Path], choice: Choice, *, salvage: bool, tell: Callable[[str], None]
) -> Iterator[LaneRun]:
    """Events of recordings, those of several files merged.

    Raises:
        RecordingError: foreign, of a later version, or damaged.
        OSError: a file cannot be read.
    """
    with ExitStack() as stack:
        recordings = [stack.enter_context(Recording(path, salvage=salvage)) for path in paths]
        for recording in recordings:
            if recording.cut is not None:
                tell(f"{recording.path}: {recording.cut.size:,} bytes at its end are missing: {recording.cut.reason}")
        wanted = TopicChoice(choice.topics)
        yield from runs_of(recordings, choice.start_us, choice.end_us, topics=wanted, scopes=choice.scopes)


def scopes_in(paths: Sequence[Path], choice: Choice, *, salvage: bool) -> tuple[str, ...]:
    """The chosen scopes that occur in recordings.

    Raises:
        RecordingError: foreign, of a later version, or damaged.
        OSError: a file cannot be read.
    """
    found: dict[str, None] = {}
    for path in paths:
        with Recording(path, salvage=salvage) as recording:
            found |= dict.fromkeys(lane.scope for lane in recording.lanes)
    return tuple(scope for scope in found if choice.scopes is None or scope in choice.scopes)


def partitions_in(paths: Sequence[Path], *, salvage: bool) -> int | None:
    """The number of market partitions that recordings were made under, going by their scopes; None for no number.

    Raises:
        RecordingError: foreign, of a later version, or damaged.
        OSError: a file cannot be read.
    """
    places: set[tuple[str, str]] = set()
    for path in paths:
        with Recording(path, salvage=salvage) as recording:
            places |= recording.places()
    return partitions_of(places)


def redis_runs(url: RedisUrl, choice: Choice, *, tell: Callable[[str], None]) -> Iterator[LaneRun]:
    """Events of the logs in Redis, up to what was there at the beginning. Not for a thread that runs an event loop.

    Raises:
        ConnectionError: Redis does not answer, refuses, or holds another layout or none.
    """
    source = RedisSource(url, scopes=choice.scopes, accounts=choice.accounts, tell=tell)
    with asyncio.Runner() as runner:
        runner.run(source.__aenter__())
        try:
            runs = source.runs(choice.start_us, choice.end_us, topics=TopicChoice(choice.topics))
            while (run := runner.run(_next(runs))) is not None:
                yield run
        finally:
            runner.run(source.__aexit__(None, None, None))


async def _next(runs: AsyncIterator[LaneRun]) -> LaneRun | None:
    return await anext(runs, None)

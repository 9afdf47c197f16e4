"""Where recorded events are read from: what a file and the logs in Redis have in common."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from agentexchange.recording import EventName, moment_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from agentexchange.recording import LaneRun, TopicChoice
    from agentexchange_schemas import FeedStatus

__all__ = ["Moment", "Source", "moment_in"]

Moment: TypeAlias = str | datetime | EventName
"""A datetime, ISO text, "10m ago", the id of a log entry, or an event as ``ticker:BTCUSDT@123``."""


class Source(Protocol):
    """Recorded events. Used within ``async with``; its iterators may be interleaved.

    Attributes:
        name: of what is read, for people.
        is_away: whether what it reads from is away, and it waits for that to come back.
        first_us: ``r`` of the first event; None where there is none.
        last_us: ``r`` of the last.
        scopes: which have events.
    """

    @property
    def name(self) -> str: ...
    @property
    def is_away(self) -> bool: ...
    @property
    def first_us(self) -> int | None: ...
    @property
    def last_us(self) -> int | None: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...

    def runs(
        self,
        start_us: int | None = None,
        end_us: int | None = None,
        *,
        topics: TopicChoice,
        scopes: Sequence[str] | None = None,
    ) -> AsyncIterator[LaneRun]:
        """The events in the recorded order: by ``r``, and at the same ``r`` lane by lane. Runs are never empty.

        Args:
            start_us: the first ``r`` wanted; None for the beginning.
            end_us: the first ``r`` no longer wanted; None for the end.
            topics: what is wanted.
            scopes: only these; None for all.

        Raises:
            RecordingError: damaged there; everything before has been handed out.
            ConnectionError: Redis does not answer.
        """
        ...

    def ticks_since_us(self, scope: str) -> int | None:
        """``r`` of the first event of a market scope that may be a tick; None where there is none."""
        ...

    async def places(self) -> set[tuple[str, str]] | None:
        """Every scope with each topic that was recorded of it; None where that is not known.

        Raises:
            ConnectionError: Redis does not answer.
        """
        ...

    async def states_at(self, at_us: int, scopes: Sequence[str]) -> list[FeedStatus]:
        """How these scopes, and topics with a state of their own, were just before a moment: by the notices before it.

        Nothing of a scope of which no notice tells anything.

        Raises:
            ConnectionError: Redis does not answer.
        """
        ...

    async def locate(self, name: EventName) -> int | None:
        """The ``r`` of an event, of the newest epoch if there are several; None where it is not there.

        Raises:
            RecordingError: damaged where it would be.
            ConnectionError: Redis does not answer.
        """
        ...

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            RecordingError: foreign, or of a later version.
            OSError: a file cannot be read.
            ConnectionError: Redis does not answer, or holds another layout.
        """
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...


async def moment_in(source: Source, moment: Moment, *, now_us: int | None = None) -> int:
    """The ``r`` that a moment means in ``source``; ``now_us`` is what "10m ago" counts from, by default now.

    Raises:
        ValueError: no moment, or an event that is not there.
    """
    meant = moment_of(moment, now_us=time.time_ns() // 1000 if now_us is None else now_us)
    if isinstance(meant, int):
        return meant
    found = await source.locate(meant)
    if found is None:
        raise ValueError(f"there is no event {meant} in what was recorded")
    return found

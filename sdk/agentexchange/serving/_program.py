"""What is played: a span of what was recorded, and who may get what of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from agentexchange.recording import TopicChoice
from agentexchange.replay import moment_in

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from agentexchange.recording import LaneRun
    from agentexchange.replay import Moment, Source

__all__ = ["Program", "utc"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EVERYTHING: Final = TopicChoice()


def utc(moment_us: int) -> datetime:
    """A moment in µs since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=moment_us)


class Program:
    """A span of an open source.

    Args:
        source: what was recorded.
        start_us: the first moment wanted; None from its first event on.
        end_us: the first moment no longer wanted; None for all.

    Raises:
        ValueError: nothing of it lies in the span.

    Attributes:
        start_us: where positions begin, µs since the Unix epoch.
        end_us: the last moment played, or the first no longer played.
        accounts: the recorded accounts, ``a-…``.
    """

    def __init__(self, source: Source, *, start_us: int | None = None, end_us: int | None = None) -> None:
        first_us, last_us = source.first_us, source.last_us
        if first_us is None or last_us is None:
            raise ValueError("the recording is empty: there is nothing to play")
        if start_us is not None and start_us > last_us:
            raise ValueError(f"the start lies behind the recording's last event, of {utc(last_us)}")
        if end_us is not None and end_us <= max(first_us, start_us or 0):
            raise ValueError(f"the end lies before all that would be played, from {utc(max(first_us, start_us or 0))}")
        self._source = source
        self._from_us, self._to_us = start_us, end_us
        self.start_us = first_us if start_us is None else start_us
        self.end_us = last_us if end_us is None else min(end_us, last_us)
        self.accounts = frozenset(scope for scope in source.scopes if scope.startswith("a-"))
        self._market = frozenset(source.scopes) - self.accounts

    @classmethod
    async def between(cls, source: Source, start: Moment | None, end: Moment | None) -> Program:
        """The span between two moments, as people write them.

        Raises:
            ValueError: no moment, an event that was not recorded, or nothing lies in between.
        """
        return cls(
            source, start_us=await _moment_us(source, "start", start), end_us=await _moment_us(source, "end", end)
        )

    def share(self, at_us: int) -> float:
        """How much of the span lies before a moment, 0 to 1."""
        return min(max((at_us - self.start_us) / max(self.end_us - self.start_us, 1), 0.0), 1.0)

    def runs(self, accounts: frozenset[str]) -> AsyncGenerator[LaneRun, None]:
        """The events in the recorded order: the market's, and those of ``accounts``.

        Raises:
            RecordingError: damaged there.
            OSError: the file cannot be read.
        """
        scopes = sorted(self._market | accounts)
        runs = self._source.runs(self._from_us, self._to_us, topics=_EVERYTHING, scopes=scopes)
        return cast("AsyncGenerator[LaneRun, None]", runs)  # so that who stops early can close it


async def _moment_us(source: Source, name: str, moment: Moment | None) -> int | None:
    try:
        return None if moment is None else await moment_in(source, moment)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None

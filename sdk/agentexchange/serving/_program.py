"""What is played: a span of a recording, and who may get what of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentexchange.recording import LaneRun, Recording

__all__ = ["Program", "utc"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc(moment_us: int) -> datetime:
    """A moment in µs since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=moment_us)


class Program:
    """A span of an open recording.

    Args:
        recording: the file.
        start_us: the first moment wanted; None from its first event on.
        end_us: the first moment no longer wanted; None for all.

    Raises:
        ValueError: nothing of it lies in the span.

    Attributes:
        start_us: where positions begin, µs since the Unix epoch.
        end_us: the last moment played, or the first no longer played.
        accounts: the recorded accounts, ``a-…``.
    """

    def __init__(self, recording: Recording, *, start_us: int | None, end_us: int | None) -> None:
        first_us, last_us = recording.first_us, recording.last_us
        if first_us is None or last_us is None:
            raise ValueError("the recording is empty: there is nothing to play")
        if start_us is not None and start_us > last_us:
            raise ValueError(f"the start lies behind the recording's last event, of {utc(last_us)}")
        if end_us is not None and end_us <= max(first_us, start_us or 0):
            raise ValueError(f"the end lies before all that would be played, from {utc(max(first_us, start_us or 0))}")
        self._recording = recording
        self._from_us, self._to_us = start_us, end_us
        self.start_us = first_us if start_us is None else start_us
        self.end_us = last_us if end_us is None else min(end_us, last_us)
        scopes = {lane.scope for lane in recording.lanes}
        self.accounts = frozenset(scope for scope in scopes if scope.startswith("a-"))
        self._market = frozenset(scopes - self.accounts)

    @property
    def topics(self) -> int:
        """How many topics occur in the whole file."""
        return sum(topic != "status" for topic in self._recording.topics)

    def runs(self, accounts: frozenset[str]) -> Iterator[LaneRun]:
        """The events in the recorded order: the market's, and those of ``accounts``.

        Raises:
            RecordingError: damaged there.
            OSError: the file cannot be read.
        """
        return self._recording.runs(self._from_us, self._to_us, scopes=self._market | accounts)

"""Events as a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange.recording import RecordingWriter, WriterOptions

from ._files import whole_or_not

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from agentexchange.recording import LaneRun

__all__ = ["write_axlog"]

_SMALL: Final = WriterOptions(level=6, fsync="close")  # nothing is waiting for this file


def write_axlog(runs: Iterable[LaneRun], out: Path, *, source: Mapping[str, Any]) -> int:
    """Write one file; returns how many events it has.

    Raises:
        RecordingError: the events are out of order.
        OSError: it cannot be written.
    """
    with whole_or_not(out) as part, RecordingWriter(part, options=_SMALL, source=source) as writer:
        for lane, raws in runs:
            writer.add(lane, raws)
        return writer.events

"""Events as JSON lines, keyed as ``agentexchange tail --json`` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agentexchange_bridge.rows import json_line, row_of
from agentexchange_schemas.envelope import decode, frame_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange.recording import LaneRun

__all__ = ["write_lines"]


def write_lines(runs: Iterable[LaneRun], file: TextIO) -> int:
    """Write a line per event; returns how many.

    Raises:
        EnvelopeError: one is no envelope.
    """
    count = 0
    for lane, raws in runs:
        rows = (row_of(lane.scope, decode(raw), frame=frame_of(raw)) for raw in raws)
        file.writelines(f"{json_line(row)}\n" for row in rows)
        count += len(raws)
    return count

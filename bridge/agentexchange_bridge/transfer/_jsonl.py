"""Events as JSON lines, keyed as ``agentexchange tail --json`` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agentexchange_bridge.rows import json_line, row_of
from agentexchange_schemas.envelope import decode

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
        file.writelines(f"{json_line(row_of(lane.scope, decode(raw)))}\n" for raw in raws)
        count += len(raws)
    return count

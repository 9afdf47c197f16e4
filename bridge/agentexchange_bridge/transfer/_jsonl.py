"""Events as JSON lines, keyed as ``agentexchange tail --json`` prints them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from agentexchange._shared.read import utc_of
from agentexchange_schemas.envelope import decode, log_id

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
        file.writelines(_line(lane.scope, raw) for raw in raws)
        count += len(raws)
    return count


def _line(scope: str, raw: bytes) -> str:
    envelope = decode(raw)
    known = {
        "topic": envelope.topic,
        "scope": scope,
        "epoch": envelope.epoch,
        "seq": envelope.seq,
        "upstream_time": None if envelope.upstream_ms is None else _iso(envelope.upstream_ms * 1000),
        "received_time": _iso(envelope.received_us),
        "written_time": None if envelope.written_us is None else _iso(envelope.written_us),
        "log_id": None if envelope.seq is None else log_id(envelope.received_us),
        "source": "recorded",
        "data": envelope.data,
    }
    return f"{json.dumps(known, ensure_ascii=False, separators=(',', ':'))}\n"


def _iso(us: int) -> str:
    return utc_of(us).isoformat(timespec="microseconds").replace("+00:00", "Z")

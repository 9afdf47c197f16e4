"""The pure functions on the path: frame to event, event to envelope and back, beside json.loads."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from agentexchange_schemas.envelope import decode, encode
from agentexchange_schemas.upstream import EventFrame, parse

from ._frames import frames
from ._recording import START_US, envelopes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._report import Report

ROUNDS = 5
US = START_US + 5_000_000
EPOCH, SEQ, MS = START_US // 1_000_000, 5_000, US // 1000


def wire_costs(report: Report) -> None:
    """Add the cost of each pure function, the best of five rounds over the recorded input."""
    recorded = frames()
    events = [message for message in map(parse, recorded) if isinstance(message, EventFrame)]
    packed = envelopes()
    report.add("wire", "json.loads", _cost(json.loads, recorded))
    report.add("wire", "frame to event", _cost(parse, recorded), target="4")
    report.add("wire", "envelope encode", _cost(_encode, events), target="1")
    report.add("wire", "envelope decode", _cost(decode, packed), target="1.5")


def _encode(event: EventFrame) -> bytes:
    return encode(event.topic, EPOCH, SEQ, MS, US, event.fields, US)


def _cost(function: Callable[[Any], object], items: Sequence[object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.process_time()
        for item in items:
            function(item)
        best = min(best, time.process_time() - before)
    return best / len(items) * 1e6

"""Recordings: what an event costs to write and to read, and how many bytes it takes."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agentexchange.recording import Lane, LogWatch, Recording, RecordingWriter, WriterOptions
from agentexchange_schemas import Ticker
from agentexchange_schemas.envelope import encode
from agentexchange_schemas.upstream import EventFrame, parse

from ._frames import frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._report import Report

BATCH = 1000  # entries of one read of a log
START_US = 1_795_341_318_000_000
STEP_US = 100  # 10,000 events a second
LANE = Lane("m0", "log", "0123456789abcdef")


def recording_costs(report: Report) -> None:
    """Add what recording adds to the reading of a log, and what reading a recording costs."""
    raws = envelopes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.axlog"
        report.add("recording", "watched and written", _cost(partial(_record, path, raws), len(raws)), target="3")
        report.add("recording", "bytes per tick", path.stat().st_size / len(raws), "bytes", "40")
        for what, read, target in (
            ("read as bytes", _read_bytes, ""),
            ("read as envelopes", _read_envelopes, "6.6"),
            ("read as models", _read_models, "16"),
        ):
            report.add("recording", what, _cost(partial(read, path), len(raws)), target=target)


def envelopes(times: int = 1) -> list[bytes]:
    """The recorded frames, so many times over, as a bridge would have written them."""
    seqs: dict[str, int] = {}
    raws = []
    parsed = [message for message in map(parse, frames()) if isinstance(message, EventFrame)]
    for number, event in enumerate(parsed * times):
        seqs[event.topic] = seq = seqs.get(event.topic, 100_000) + 1
        received_us = START_US + number * STEP_US
        written_us = received_us - received_us % (STEP_US * 20) + 2500  # batches of 20
        meta = (START_US // 1_000_000, seq, received_us // 1000, received_us)
        raws.append(encode(event.topic, *meta, event.fields, written_us))
    return raws


def _record(path: Path, raws: Sequence[bytes]) -> None:
    path.unlink(missing_ok=True)
    watch = LogWatch(lambda _: True)
    with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
        for begin in range(0, len(raws), BATCH):
            writer.add(LANE, watch.take(raws[begin : begin + BATCH])[0])


def _read_bytes(path: Path) -> None:
    with Recording(path) as recording:
        for _, raws in recording.runs():
            for _ in raws:
                pass


def _read_envelopes(path: Path) -> None:
    with Recording(path) as recording:
        for _ in recording.events():
            pass


def _read_models(path: Path) -> None:
    with Recording(path) as recording:
        for event in recording.events():
            Ticker.model_validate(event.envelope.data)


def _cost(function: Callable[[], None], events: int, rounds: int = 3) -> float:
    best = float("inf")
    for _ in range(rounds):
        before = time.process_time()
        function()
        best = min(best, time.process_time() - before)
    return best / events * 1e6

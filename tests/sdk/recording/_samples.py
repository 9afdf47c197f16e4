"""Envelopes and recordings for these tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.recording import Lane, Recording, RecordingWriter, WriterOptions
from agentexchange_schemas.envelope import encode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MARKET = Lane("m0", "log", "0123456789abcdef")
CANDLES = Lane("m0", "log:candles", "0123456789abcdef")
ACCOUNT = Lane("a-" + "0" * 32, "log", "fedcba9876543210")
START_US = 1_795_341_318_000_000


def tick(number: int, *, symbol: str = "BTCUSDT", received_us: int | None = None, **more: Any) -> bytes:
    """The ``number``-th tick; by default received so many milliseconds after `START_US`."""
    at = START_US + number * 1000 if received_us is None else received_us
    data = {"symbol": symbol, "price": f"{number}.50000000", "timestamp": None} | more
    return encode(f"ticker:{symbol}", 7, number + 1, at // 1000, at, data)


def ticks(count: int, **more: Any) -> list[bytes]:
    return [tick(number, **more) for number in range(count)]


def write(path: Path, content: Iterable[tuple[Lane, list[bytes]]], *, close: bool = True, **options: Any) -> Path:
    """A recording of ``content``; a block for each part."""
    writer = RecordingWriter(path, options=WriterOptions(fsync="never", **options))
    for lane, raws in content:
        writer.add(lane, raws)
        writer.flush()
    if close:
        writer.close()
    else:
        writer._file.close()  # as if killed
    return path


def read(path: Path, **choice: Any) -> list[bytes]:
    with Recording(path) as recording:
        return [raw for _, raws in recording.runs(**choice) for raw in raws]

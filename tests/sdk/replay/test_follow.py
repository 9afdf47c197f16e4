"""A recording that is followed while it is written."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from agentexchange import RecordingError
from agentexchange.recording import RecordingWriter, RotatingWriter, RotationOptions, TopicChoice, WriterOptions
from agentexchange.replay import FileSource
from tests.sdk.recording._samples import ACCOUNT, MARKET, START_US, tick, ticks, write
from tests.sdk.replay._sources import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPTIONS = WriterOptions(fsync="never")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.axlog"


@pytest.fixture
def writer(path: Path) -> Iterator[RecordingWriter]:
    with RecordingWriter(path, options=OPTIONS) as writer:
        yield writer


def add(writer: RecordingWriter | RotatingWriter, raws: list[bytes]) -> None:
    writer.add(MARKET, raws)
    writer.flush()


async def test_what_is_there_then_what_comes_until_the_file_is_closed(writer: RecordingWriter, path: Path) -> None:
    told: list[str] = []
    add(writer, ticks(3))
    found: list[bytes] = []
    async with FileSource(path, tell=told.append, grows=True) as source:
        async for run in source.follow(asyncio.Event(), topics=EVERYTHING, period_s=0.001):
            found += run.raws
            if len(found) < 9:
                add(writer, ticks(len(found) + 3)[len(found) :])
            else:
                writer.close()
    assert found == ticks(9)
    assert told == ["day.axlog: closed by its recorder: nothing follows"]


async def test_a_choice_holds_for_what_comes_too(writer: RecordingWriter, path: Path) -> None:
    add(writer, ticks(3))
    stop, found = asyncio.Event(), list[bytes]()
    async with FileSource(path, grows=True) as source:
        choice = TopicChoice(["ticker:ETHUSDT"])
        runs = source.follow(stop, START_US + 5_000, topics=choice, scopes=["m0"], period_s=0.001)
        async with aclosing(runs):
            writer.add(ACCOUNT, ticks(9))
            add(writer, [tick(at, symbol=("BTCUSDT", "ETHUSDT")[at % 2]) for at in range(3, 9)])
            async for run in runs:
                found += run.raws
                stop.set()
    assert found == [tick(at, symbol="ETHUSDT") for at in (5, 7)]


async def test_over_a_rotation_nothing_is_skipped_or_doubled(path: Path) -> None:
    """With files that are rotated faster than they are looked at, and a reader that starts within one."""
    told: list[str] = []
    limits = RotationOptions(max_bytes=2_000)
    rotating = RotatingWriter(path, rotation=limits, options=WriterOptions(fsync="never", block_bytes=1))
    raws = iter(ticks(200))
    add(rotating, [next(raws), next(raws)])
    found: list[bytes] = []
    async with FileSource(path, tell=told.append, grows=True) as source:
        async for run in source.follow(asyncio.Event(), topics=EVERYTHING, period_s=0.001):
            found += run.raws
            for raw in islice(raws, 40):
                add(rotating, [raw])
            if len(found) == 200:
                rotating.close()
    assert rotating.files > 5
    assert found == ticks(200)
    assert len(told) == rotating.files + 1


async def test_a_closed_recording_says_that_nothing_follows(path: Path) -> None:
    told: list[str] = []
    write(path, [(MARKET, ticks(3))])
    async with FileSource(path, tell=told.append, grows=True) as source:
        found = [run async for run in source.follow(asyncio.Event(), topics=EVERYTHING)]
    assert [raw for run in found for raw in run.raws] == ticks(3)
    assert told == ["day.axlog: closed by its recorder: nothing follows"]


async def test_it_stops_when_it_is_told_to_however_long_it_waits(writer: RecordingWriter, path: Path) -> None:
    add(writer, ticks(3))
    stop = asyncio.Event()
    async with FileSource(path, grows=True) as source, asyncio.timeout(5):
        async for _ in source.follow(stop, topics=EVERYTHING, period_s=3600):
            asyncio.get_running_loop().call_later(0.01, stop.set)


async def test_damage_that_is_written_is_raised_after_what_came_before(writer: RecordingWriter, path: Path) -> None:
    add(writer, ticks(3))
    found: list[bytes] = []

    async def follow(source: FileSource) -> None:
        async for run in source.follow(asyncio.Event(), topics=EVERYTHING, period_s=0.001):
            found.extend(run.raws)
            with path.open("ab") as file:
                file.write(b"x" * 100)

    async with FileSource(path, grows=True) as source:
        with pytest.raises(RecordingError, match="neither a block nor an index"):
            await follow(source)
    assert found == ticks(3)


async def test_half_a_block_at_the_end_is_not_told_while_it_may_come(tmp_path: Path) -> None:
    path = write(tmp_path / "day.axlog", [(MARKET, ticks(3))], close=False)
    with path.open("ab") as file:
        file.write(path.read_bytes()[-80:-70])
    told: list[str] = []
    async with FileSource(path, tell=told.append):
        assert "bytes at its end are missing" in told[0]
    async with FileSource(path, tell=told.append, grows=True):
        assert len(told) == 1

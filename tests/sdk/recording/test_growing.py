"""A recording that is read while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentexchange.recording import (
    Growing,
    Recording,
    RecordingError,
    RecordingWriter,
    RotatingWriter,
    RotationOptions,
    TopicChoice,
    WriterOptions,
)
from agentexchange_schemas.envelope import encode
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, tick, ticks, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.axlog"


@pytest.fixture
def writer(path: Path) -> Iterator[RecordingWriter]:
    with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
        yield writer


def grow(writer: RecordingWriter, first: int, count: int) -> list[bytes]:
    raws = ticks(first + count)[first:]
    writer.add(MARKET, raws)
    writer.flush()
    return raws


def raws_of(recording: Recording, **choice: int) -> list[bytes]:
    return [raw for _, raws in recording.runs(**choice) for raw in raws]


def test_new_blocks_are_taken_in_with_their_lanes_topics_and_places(writer: RecordingWriter, path: Path) -> None:
    grow(writer, 0, 5)
    with Recording(path) as recording:
        assert (recording.refresh(), recording.is_closed, recording.count) == (0, False, 5)
        grow(writer, 5, 5)
        writer.add(CANDLES, [encode("candles:BTCUSDT:1m", 7, 1, None, START_US + 7_500, {})])
        writer.add(ACCOUNT, [encode("orders", 7, 1, None, START_US + 8_500, {})])
        writer.flush()
        assert recording.count == 5, "nothing changes by itself"
        assert recording.refresh() == 3
        assert (recording.count, recording.blocks, recording.last_us) == (12, 4, START_US + 9_000)
        assert recording.lanes == (MARKET, CANDLES, ACCOUNT)
        assert (ACCOUNT.scope, "orders") in recording.places()
        assert [block.events for block in recording.blocks_of(MARKET)] == [5, 5]
        assert len(raws_of(recording)) == 12


def test_only_what_is_new_in_the_recorded_order(writer: RecordingWriter, path: Path) -> None:
    grow(writer, 0, 5)
    with Recording(path) as recording:
        seen = recording.blocks
        new = grow(writer, 5, 4)
        candle = encode("candles:BTCUSDT:1m", 7, 1, None, START_US + 6_500, {})
        writer.add(CANDLES, [candle])
        writer.flush()
        recording.refresh()
        assert raws_of(recording, skip=seen) == [*new[:2], candle, *new[2:]]
        assert raws_of(recording, skip=seen, start_us=START_US + 7_000) == new[2:]
        assert raws_of(recording, skip=recording.blocks) == []


def test_half_a_block_is_no_fault_and_read_when_it_is_whole(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.axlog", [(MARKET, ticks(50)), (MARKET, ticks(90)[50:])], close=False).read_bytes()
    with Recording(tmp_path / "whole.axlog") as recording:
        last = recording.blocks_of(MARKET)[-1].offset
    path = tmp_path / "day.axlog"
    path.write_bytes(whole[:last])
    with Recording(path) as recording:
        for size in range(last, len(whole)):
            path.write_bytes(whole[:size])
            assert (recording.refresh(), recording.count) == (0, 50)
            assert (recording.cut is None) == (size == last)
        path.write_bytes(whole)
        assert (recording.refresh(), recording.count, recording.cut) == (1, 90, None)


def test_the_end_is_seen_when_index_and_trailer_are_whole(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.axlog", [(MARKET, ticks(50))]).read_bytes()
    with Recording(tmp_path / "whole.axlog") as recording:
        (block,) = recording.blocks_of(MARKET)
        assert recording.refresh() == 0
        assert recording.is_closed
    path, end = tmp_path / "day.axlog", block.offset + block.size
    path.write_bytes(whole[:end])
    with Recording(path) as recording:
        for size in range(end, len(whole)):
            path.write_bytes(whole[:size])
            assert (recording.refresh(), recording.is_closed) == (0, False)
        path.write_bytes(whole)
        assert (recording.refresh(), recording.is_closed, recording.cut) == (0, True, None)


def test_a_closed_file_that_its_recorder_goes_on_with_is_open_again(path: Path) -> None:
    write(path, [(MARKET, ticks(5))])
    with Recording(path) as recording:
        assert recording.is_closed
        with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
            assert (recording.refresh(), recording.is_closed) == (0, False)
            grow(writer, 5, 2)
            assert (recording.refresh(), recording.count, recording.is_closed) == (1, 7, False)
        assert (recording.refresh(), recording.is_closed) == (0, True)


def test_an_iterator_under_way_keeps_to_what_it_began_with(writer: RecordingWriter, path: Path) -> None:
    first = [*grow(writer, 0, 3), *grow(writer, 3, 3)]
    with Recording(path) as recording:
        runs = recording.runs()
        found = list(next(runs).raws)
        grow(writer, 6, 3)
        recording.refresh()
        assert found + [raw for _, raws in runs for raw in raws] == first


def test_damage_and_a_shorter_file_are_told_with_the_place(writer: RecordingWriter, path: Path) -> None:
    grow(writer, 0, 5)
    with Recording(path) as recording, Recording(path, salvage=True) as salvaging:
        size = path.stat().st_size
        with path.open("ab") as file:
            file.write(b"no block at all, and as long as a block's beginning")
        with pytest.raises(RecordingError, match=r"neither a block nor an index") as caught:
            recording.refresh()
        assert (caught.value.path, caught.value.offset, recording.count) == (str(path), size, 5)
        assert salvaging.refresh() == 0
        assert salvaging.cut is not None
        path.write_bytes(path.read_bytes()[: size - 10])
        with pytest.raises(RecordingError, match="has become shorter"):
            recording.refresh()


def test_looking_again_reads_a_few_kilobytes_however_long_the_file_is(path: Path) -> None:
    write(path, [(MARKET, [tick(at)]) for at in range(400)], close=False)
    with Recording(path) as recording:
        read: list[int] = []
        file = recording._file

        class Counting:
            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def read(self, size: int) -> bytes:
                read.append(size)
                return file.read(size)

        recording._file = Counting()  # type: ignore[assignment]
        assert recording.refresh() == 0
        assert sum(read) <= 8192


# Over several files


def rotating(path: Path) -> RotatingWriter:
    """Which begins another file after each block."""
    limits = RotationOptions(max_bytes=1)
    return RotatingWriter(path, rotation=limits, options=WriterOptions(fsync="never", block_bytes=1))


def look(growing: Growing) -> list[bytes]:
    return [raw for _, raws in growing.more(topics=TopicChoice()) for raw in raws]


def test_each_look_gives_what_is_new_and_the_end_is_told_once(path: Path) -> None:
    told: list[str] = []
    writer = RecordingWriter(path, options=WriterOptions(fsync="never"))
    grow(writer, 0, 5)
    with Recording(path) as recording:
        growing = Growing(recording, told.append)
        assert look(growing) == [], "what was there is read already"
        new = [*grow(writer, 5, 2), *grow(writer, 7, 2)]
        assert look(growing) == new
        last = ticks(10)[9:]
        writer.add(MARKET, last)
        writer.close()
        assert look(growing) == last
        for _ in range(5):
            assert look(growing) == []
        assert growing.is_over
    assert told == ["day.axlog: closed by its recorder: nothing follows"]


def test_files_that_were_rotated_since_are_read_one_after_the_other(path: Path) -> None:
    """As after an hour in which the reader was stopped."""
    told: list[str] = []
    with rotating(path) as writer, Recording(path) as recording:
        growing = Growing(recording, told.append)
        for raw in ticks(4):
            writer.add(MARKET, [raw])
        found: list[bytes] = []
        for _ in range(6):
            found += look(growing)
        assert found == ticks(4)
        assert not growing.is_over
        writer.add(MARKET, ticks(5)[4:])
        assert look(growing) + look(growing) == ticks(5)[4:]
        growing.close()
    assert len(told) == 5
    assert told[3] == "the recorder has begun another file: reading on in day.axlog"


def test_a_recorder_that_goes_on_with_its_file_in_time_is_followed(path: Path) -> None:
    told: list[str] = []
    write(path, [(MARKET, ticks(2))])
    with Recording(path) as recording:
        growing = Growing(recording, told.append)
        assert look(growing) + look(growing) == []
        with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
            new = grow(writer, 2, 2)
            assert look(growing) == new
            assert look(growing) + look(growing) == []
    assert told == []


def test_a_successor_without_a_header_is_waited_for_and_then_given_up(path: Path) -> None:
    told: list[str] = []
    write(path, [(MARKET, ticks(2))])
    with Recording(path) as recording:
        growing = Growing(recording, told.append)
        path.rename(path.with_name("day-20261126T120000Z.axlog"))
        assert look(growing) == []
        path.write_bytes(b"")
        for _ in range(3):
            look(growing)
    assert growing.is_over
    assert "what follows it cannot be read" in told[0]

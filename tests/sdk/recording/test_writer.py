from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentexchange.errors import RecordingError
from agentexchange.recording import Recording, RecordingWriter, WriterOptions
from tests.sdk.recording._samples import ACCOUNT, MARKET, START_US, read, tick, ticks, write

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_block_is_written_when_it_is_full(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "t.axlog", options=WriterOptions(block_bytes=1000))
    writer.add(MARKET, ticks(3))
    assert read(writer.path) == []
    writer.add(MARKET, [tick(number) for number in range(3, 20)])
    assert len(read(writer.path)) > 10
    writer.close()
    assert read(writer.path) == ticks(20)


def test_a_block_is_written_when_its_time_is_up_each_lane_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    writer = RecordingWriter(tmp_path / "t.axlog", options=WriterOptions(block_s=2.0, clock=clock))
    writer.add(MARKET, [tick(0)])
    clock.now += 1.5
    writer.add(ACCOUNT, [tick(1)])
    writer.tick()
    assert read(writer.path) == []
    clock.now += 0.5
    writer.tick()
    assert read(writer.path) == [tick(0)]
    clock.now += 1.5
    writer.tick()
    assert read(writer.path) == [tick(0), tick(1)]
    writer.close()


def test_a_closed_file_is_gone_on_with(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(5))])
    with RecordingWriter(path) as writer:
        assert (writer.cut, writer.last_us(MARKET)) == (None, START_US + 4000)
        writer.add(MARKET, [tick(5)])
    assert read(path) == ticks(6)
    with Recording(path) as recording:
        assert recording.is_closed


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_torn_block_is_cut_off_before_the_file_is_gone_on_with(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(5)), (MARKET, [tick(number) for number in range(5, 9)])])
    with Recording(path) as recording:
        second = recording._directory.blocks[1]
    os.truncate(path, second.offset + int(second.size * share))
    with RecordingWriter(path) as writer:
        assert writer.cut is not None
        assert (writer.cut.offset, writer.cut.size) == (second.offset, int(second.size * share))
        writer.add(MARKET, [tick(7), tick(8)])
    assert read(path) == [*ticks(5), tick(7), tick(8)]


def test_a_killed_writer_leaves_its_blocks(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from agentexchange.recording import RecordingWriter
from tests.sdk.recording._samples import MARKET, tick, ticks
writer = RecordingWriter(sys.argv[1])
writer.add(MARKET, ticks(100)); writer.flush()
writer.add(MARKET, [tick(100)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "t.axlog"
    assert subprocess.run([sys.executable, "-c", program, path], check=False, timeout=30).returncode == -9
    assert read(path) == ticks(100)
    with RecordingWriter(path) as writer:  # the lock died with the process
        assert writer.cut is None


def test_one_writer_per_file(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "t.axlog"), pytest.raises(RecordingError, match="another process is writing"):
        RecordingWriter(tmp_path / "t.axlog")


def test_events_that_go_back_in_time_are_refused(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "t.axlog") as writer:
        writer.add(MARKET, [tick(5)])
        writer.add(ACCOUNT, [tick(1)])
        with pytest.raises(RecordingError, match="older than what was recorded before"):
            writer.add(MARKET, [tick(4)])
    assert read(writer.path) == [tick(1), tick(5)]


def test_a_full_disk_is_told_and_leaves_what_was_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordingWriter(tmp_path / "t.axlog")
    writer.add(MARKET, ticks(5))
    writer.flush()
    writer.add(MARKET, [tick(5)])
    real = writer._file

    class Full:
        closed = False

        def write(self, raw: bytes) -> int:
            real.write(raw[: len(raw) // 2])
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            real.close()

    monkeypatch.setattr(writer, "_file", Full())
    with pytest.raises(OSError, match="No space left"):
        writer.flush()
    writer.close()
    assert read(writer.path) == ticks(5)
    with RecordingWriter(writer.path) as after:
        assert after.cut is not None


def test_a_foreign_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary")
    with pytest.raises(RecordingError, match="no recording"):
        RecordingWriter(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "dear diary"


@pytest.mark.parametrize(
    "wrong",
    [{"block_bytes": 0}, {"block_s": -1}, {"level": 0}, {"fsync": "sometimes"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_options_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WriterOptions(**wrong)  # type: ignore[arg-type]

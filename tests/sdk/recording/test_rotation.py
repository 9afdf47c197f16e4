from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from agentexchange.recording import Recording, RotatingWriter, RotationOptions, WriterOptions, _directory, rotation
from agentexchange.recording.rotation import rotated_files
from tests.sdk.recording._samples import ACCOUNT, MARKET, read, tick, ticks, write

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_795_608_000.0  # 2026-11-25T12:00:00Z
DAY = 86_400.0


class Wall:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


def writer(folder: Path, wall: Wall, told: list[str] | None = None, **limits: float | None) -> RotatingWriter:
    return RotatingWriter(
        folder / "day.axlog",
        rotation=RotationOptions(wall=wall, **limits),  # type: ignore[arg-type]
        options=WriterOptions(wall=wall, fsync="never", block_bytes=1),
        tell=[].append if told is None else told.append,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_full_file_gets_its_index_and_a_name_with_the_time_in_utc(tmp_path: Path, wall: Wall) -> None:
    told: list[str] = []
    with writer(tmp_path, wall, told, max_bytes=2000) as rotating:
        for number in range(20):
            rotating.add(MARKET, [tick(number)])
        assert rotating.files >= 2
    assert names(tmp_path)[:3] == ["day-20261125T120000Z-2.axlog", "day-20261125T120000Z.axlog", "day.axlog"][:3]
    pieces = [*rotated_files(tmp_path / "day.axlog"), tmp_path / "day.axlog"]
    assert [raw for path in pieces for raw in read(path)] == ticks(20)
    for path in pieces:
        with Recording(path) as recording:
            assert recording.is_closed
    assert "day-20261125T120000Z.axlog" in told[0]


def test_an_old_file_is_rotated_by_its_age_over_restarts_too_but_not_an_empty_one(tmp_path: Path, wall: Wall) -> None:
    with writer(tmp_path, wall, max_s=3600) as rotating:
        wall.now += 1800
        rotating.add(MARKET, ticks(1))
    with writer(tmp_path, wall, max_s=3600) as rotating:
        rotating.tick()
        assert names(tmp_path) == ["day.axlog"]
        wall.now += 1801
        rotating.tick()
        assert names(tmp_path) == ["day-20261125T130001Z.axlog", "day.axlog"]
        wall.now += 3601
        rotating.tick()
        assert names(tmp_path) == ["day-20261125T130001Z.axlog", "day.axlog"]


def test_each_lane_is_gone_on_with_where_a_rotated_file_left_it(tmp_path: Path, wall: Wall) -> None:
    with writer(tmp_path, wall, max_s=10) as rotating:
        rotating.add(MARKET, ticks(5))
        rotating.add(ACCOUNT, ticks(3))
        wall.now += 11
        rotating.tick()
        rotating.add(MARKET, [tick(9)])
    with writer(tmp_path, wall) as rotating:
        place = {lane.scope: rotating.last_us(lane) for lane in rotating.lanes}
    assert place["m0"] == place[ACCOUNT.scope] + 7000  # type: ignore[operator]


def _old(folder: Path, days: float) -> Path:
    """A rotated file that was last written ``days`` before noon."""
    stamp = f"202611{25 - int(days):02d}T120000Z"
    path = write(folder / f"day-{stamp}.axlog", [(MARKET, ticks(50))])
    os.utime(path, (NOON - days * DAY, NOON - days * DAY))
    return path


def test_rotated_files_that_are_too_old_are_deleted(tmp_path: Path, wall: Wall) -> None:
    kept, gone = _old(tmp_path, 6.9), _old(tmp_path, 7.1)
    (tmp_path / "day-notes.axlog").touch()
    (tmp_path / "night-20261101T120000Z.axlog").touch()
    told: list[str] = []
    with writer(tmp_path, wall, told, keep_s=7 * DAY):
        assert names(tmp_path) == sorted(["day-notes.axlog", "night-20261101T120000Z.axlog", kept.name, "day.axlog"])
    assert gone.name in told[0]


def test_the_oldest_are_deleted_until_the_rest_fits(tmp_path: Path, wall: Wall) -> None:
    first, second, third = (_old(tmp_path, days) for days in (3, 2, 1))
    room = second.stat().st_size + third.stat().st_size
    with writer(tmp_path, wall, keep_bytes=room):
        assert names(tmp_path) == [second.name, third.name, "day.axlog"]
    assert not first.exists()


def test_a_damaged_rotated_file_is_passed_over_and_told(tmp_path: Path, wall: Wall) -> None:
    path = _old(tmp_path, 1)
    path.write_bytes(b"damage")
    told: list[str] = []
    with writer(tmp_path, wall, told) as rotating:
        assert rotating.lanes == ()
    assert "is passed over" in told[0]


def test_a_file_with_very_many_blocks_is_full(tmp_path: Path, wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that is never told to rotate must not make a file that no reader opens."""
    monkeypatch.setattr(rotation, "MAX_BLOCKS", 5)
    with writer(tmp_path, wall) as rotating:
        for number in range(12):
            rotating.add(MARKET, [tick(number)])
    assert len(rotated_files(tmp_path / "day.axlog")) == 2


def test_an_index_too_large_to_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_directory, "MAX_INDEX_BYTES", 100)
    path = write(tmp_path / "t.axlog", [(MARKET, [tick(number)]) for number in range(10)])
    with Recording(path) as recording:
        assert (recording.count, recording.is_closed, recording.cut) == (10, False, None)

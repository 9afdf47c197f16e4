from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentexchange._file_url import FileUrl
from agentexchange._urls import parse_base_url, redis_url, upstream_url

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = "a-" + "0" * 32


def test_a_path_alone_plays_all_of_it_at_the_recorded_speed() -> None:
    assert parse_base_url("file:///data/day.axlog") == FileUrl("/data/day.axlog")
    assert parse_base_url("file://localhost/data/my%20day.axlog") == FileUrl("/data/my day.axlog")


def test_options() -> None:
    url = parse_base_url(
        f"file:///d.axlog?speed=0.5&start=2026-11-22T14:00:00+02:00&end=ticker:BTCUSDT@9&account={ACCOUNT}"
    )
    assert url == FileUrl("/d.axlog", 0.5, "2026-11-22T14:00:00+02:00", "ticker:BTCUSDT@9", ACCOUNT)
    assert parse_base_url("file:///d.axlog?start=10m%20ago") == FileUrl("/d.axlog", start="10m ago")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file://day.axlog", "three slashes"),
        ("file://server/day.axlog", "three slashes"),
        ("file:day.axlog", "must begin with"),
        ("file:///", "must name a recording"),
        ("file:///d.axlog?sped=1", "unknown option: use speed, start, end, account"),
        ("file:///d.axlog?speed=fast", "speed must be a number from 0 on"),
        ("file:///d.axlog?account=m0", "a- and 32 hex digits"),
        ("file:///d.axlog?account=a-1", "a- and 32 hex digits"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_base_url(text)


def test_it_is_no_server() -> None:
    with pytest.raises(ValueError, match="must begin with redis://"):
        redis_url("file:///d.axlog")
    with pytest.raises(ValueError, match="must begin with ws://"):
        upstream_url("file:///d.axlog")


def test_a_star_is_any_part_of_a_name_and_nothing_else_is_special(tmp_path: Path) -> None:
    folder = tmp_path / "[x]"
    folder.mkdir()
    for name in ("day-2.axlog", "day-1.axlog", "other.axlog"):
        (folder / name).touch()
    assert FileUrl(f"{folder}/day-*.axlog").files() == [folder / "day-1.axlog", folder / "day-2.axlog"]
    assert FileUrl(f"{folder}/day-1.axlog").files() == [folder / "day-1.axlog"]
    with pytest.raises(FileNotFoundError, match="no file matches"):
        FileUrl(f"{folder}/week-*.axlog").files()

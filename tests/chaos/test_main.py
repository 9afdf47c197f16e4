from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chaos import __main__ as command
from tests.chaos._stories import TICK, Story
from tests.chaos.runner import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chaos", *args])
        code = command.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_dry_run_shows_each_schedule(call: Run) -> None:
    code, out, _ = call("--seconds", "30", "--seeds", "3-5", "--dry-run")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("seed")] == [f"seed {n}, 30 s" for n in (3, 4, 5)]
    assert call("--seconds", "30", "--seeds", "3-5", "--dry-run")[1] == out


@pytest.mark.parametrize(
    ("args", "word"),
    [(("--faults", "rain"), "kill, lose"), (("--seconds", "2"), "5 seconds"), (("--seeds", "a-b"), "such as 1-20")],
)
def test_bad_input(call: Run, args: tuple[str, ...], word: str) -> None:
    code, out, err = call(*args)
    assert code == 2
    assert word in err
    assert out == ""


def test_a_kept_run_is_checked_again(call: Run, tmp_path: Path) -> None:
    story = Story()
    story.flow(TICK)
    (tmp_path / "result.pickle").write_bytes(pickle.dumps(Result(story.history(), {}, [])))
    assert call("--recheck", str(tmp_path))[0] == 0
    story.drop_call(TICK, 4)
    (tmp_path / "result.pickle").write_bytes(pickle.dumps(Result(story.history(), {}, [])))
    code, out, _ = call("--recheck", str(tmp_path))
    assert code == 1
    assert "VIOLATION lost" in out

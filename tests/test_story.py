"""The story that docs/replay.md tells: every command and every figure of it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration._pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "examples" / "lost_at_1403"
PAGE = (ROOT / "docs" / "replay.md").read_text()
STORY = PAGE[PAGE.index("## A story") :]
SHELL = re.findall(r"^```sh\n(.*?)^```", STORY, re.DOTALL | re.MULTILINE)
COMMANDS = [line for block in SHELL for line in block.splitlines()]
KEY = "ak_live_story"
SERVES = "agentexchange inspect"  # a page in a browser: tests/browser opens it at the moment of the story


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for source in FOLDER.glob("*.py"):
        shutil.copy(source, tmp_path)
    return tmp_path


def run(command: str, folder: Path) -> str:
    """One line of the story, with the interpreter of this run."""
    words = shlex.split(command)
    if words[0] == "agentexchange":
        words = ["python", "-m", "agentexchange_bridge", *words[1:]]
    assert words[0] == "python"
    result = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env=os.environ | {"AGENTEXCHANGE_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    assert KEY not in result.stdout + result.stderr
    return result.stdout


def _shown(line: str) -> str:
    """A line as it was printed: columns may be wider, and … stands for anything in the line."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in line.split("…")]
    return r".*".join(parts)


def test_every_command_of_the_story_does_what_it_says(folder: Path) -> None:
    printed = {
        command: run(command, folder) for command in COMMANDS if not command.startswith(("cd ", "export ", SERVES))
    }
    assert sum(command.startswith(SERVES) for command in COMMANDS) == 1
    for block in re.findall(r"^```text\n(.*?)^```", STORY, re.DOTALL | re.MULTILINE):
        for line in filter(lambda line: len(line) > 1, block.splitlines()):
            assert re.search(_shown(line), "".join(printed.values())), line
    assert "-292.31" in STORY
    assert "lost 292 dollars" in STORY
    assert "2 passed" in printed["python -m pytest test_crew.py"]
    assert "about 200 kB" in STORY
    assert (folder / "moment.axlog").stat().st_size == pytest.approx(200_000, rel=0.1)


def test_the_day_is_the_same_every_time(folder: Path) -> None:
    run("python make_day.py", folder)
    again = folder / "again"
    again.mkdir()
    run("python make_day.py again", folder)
    exports = [run(f"agentexchange export {path} --format jsonl", folder) for path in ("day.axlog", "again/day.axlog")]
    assert exports[0] == exports[1]


def test_the_code_that_is_shown_is_the_code_that_runs() -> None:
    files = "".join(source.read_text() for source in sorted(FOLDER.glob("*.py")))
    shown = re.findall(r"^```py\n(.*?)^```", STORY, re.DOTALL | re.MULTILINE)  # parts; programs are in ```python
    assert shown
    assert all(block in files for block in shown)

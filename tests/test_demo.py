"""The demonstration as a user starts it: it works, judges honestly, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CLI = [sys.executable, "-m", "agentexchange_bridge", "demo"]
DEADLINE_S = 45


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the demonstration keeps its files; empty again afterwards."""
    with tempfile.TemporaryDirectory(prefix="axd-") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


@contextlib.contextmanager
def demo(*argv: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([*CLI, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def children_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_figures(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert any("consumers: 3" in line for line in process.stdout)


def without_escapes(text: bytes) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode(errors="replace"))


def assert_all_gone(children: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_a_few_seconds_show_two_sessions_three_consumers_and_equal_events(folder: Path) -> None:
    wanted = "upstream sessions: 2, consumers: 3"
    for seconds in ("3", "15", "40"):  # the longer ones on a busy machine
        code, text, children = run_through(seconds)
        if wanted in text and "nothing to compare" not in text:
            break
    assert code == 0, text
    assert len(children) == 6  # server, sandbox, bridge, three consumers
    assert wanted in text
    assert re.search(r"BTCUSDT \d+\.\d+", text)
    assert "FAIL" not in text
    for name in ("tickers = log", "all = log", "account = log", "tickers = all"):
        assert re.search(rf"ok +{name}: [\d,]+ events equal", text), text
    assert_all_gone(children)
    assert list(folder.iterdir()) == []


def run_through(seconds: str) -> tuple[int, str, list[psutil.Process]]:
    """Its exit code, what it prints until its time is up, and its processes at the first line."""
    with demo("--seconds", seconds) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        children = children_of(process)
        text = first + process.stdout.read()
        code = process.wait(DEADLINE_S)
    return code, text, children


def test_ctrl_c_ends_it_early_with_its_summary(folder: Path) -> None:
    with demo("--seconds", "600") as process:
        wait_for_figures(process)
        children = children_of(process)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        text = process.stdout.read()
        assert process.wait(DEADLINE_S) == 0, text
    assert "what each process received" in text
    assert_all_gone(children)
    assert list(folder.iterdir()) == []


def test_a_process_that_dies_fails_the_demo_which_ends_the_others(folder: Path) -> None:
    with demo("--seconds", "600") as process:
        wait_for_figures(process)
        children = children_of(process)
        next(child for child in children if "sandbox" in child.cmdline()).kill()
        assert process.stdout is not None
        text = process.stdout.read()
        assert process.wait(DEADLINE_S) == 1
    assert "agentexchange: demo: sandbox ended" in text
    assert "Traceback" not in text
    assert_all_gone(children)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_killed_without_a_chance_to_clean_up_it_leaves_no_process(folder: Path) -> None:
    with demo("--seconds", "600") as process:
        wait_for_figures(process)
        children = children_of(process)
        process.kill()
        process.wait(DEADLINE_S)
    assert_all_gone(children)


def test_on_a_terminal_it_draws_tables(folder: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    wanted = "upstream sessions: 2, consumers: 3"
    with subprocess.Popen([*CLI, "--seconds", "30"], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        text, is_ending = b"", False
        with contextlib.suppress(OSError):  # the terminal is closed
            while chunk := os.read(ours, 65536):
                text += chunk
                if not is_ending and wanted in without_escapes(text):
                    process.send_signal(signal.SIGINT)
                    is_ending = True
        os.close(ours)
        assert process.wait(DEADLINE_S) == 0
    plain = without_escapes(text)
    assert "prices" in plain
    assert wanted in plain
    assert "per second" in plain


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "4000"])
def test_a_senseless_time_is_bad_input(seconds: str) -> None:
    result = subprocess.run([*CLI, "--seconds", seconds], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "seconds must be 1 to 3600" in result.stderr

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.chaos.processes import Managed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TALK = "import sys; print('ready', flush=True); [print(line.strip()[::-1], flush=True) for line in sys.stdin]"
_DEAF = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); sys.stdin.read()"
)


@pytest.fixture
def talker(tmp_path: Path) -> Iterator[Managed]:
    process = Managed("talker", [sys.executable, "-c", _TALK], tmp_path / "log", piped=True)
    process.start()
    yield process
    process.kill()


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - not a file
        return file.read().rpartition(")")[2].split()[0]


async def test_it_hears_and_answers(talker: Managed) -> None:
    assert await talker.hear(10) == "ready"
    await talker.say("abc")
    assert await talker.hear(10) == "cba"


async def test_it_is_stopped_and_goes_on(talker: Managed) -> None:
    await talker.hear(10)
    talker.stop()
    await asyncio.to_thread(os.waitid, os.P_PID, talker.pid, os.WSTOPPED)
    assert state_of(talker.pid) == "T"
    assert talker.is_running
    talker.cont()
    await talker.say("abc")
    assert await talker.hear(10) == "cba"


async def test_it_is_killed_and_started_again(talker: Managed) -> None:
    await talker.hear(10)
    before = talker.pid
    talker.kill()
    assert not talker.is_running
    assert not os.path.exists(f"/proc/{before}")  # noqa: PTH110, ASYNC240 - reaped, too
    talker.start()
    assert await talker.hear(10) == "ready"


async def test_sigterm_ends_it_also_while_it_is_stopped(talker: Managed) -> None:
    await talker.hear(10)
    talker.stop()
    assert await talker.term() == -15
    assert not talker.is_running


async def test_what_does_not_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.processes.END_TIMEOUT_S", 0.2)
    process = Managed("deaf", [sys.executable, "-c", _DEAF], tmp_path / "log", piped=True)
    process.start()
    await process.hear(10)
    assert await process.term() is None
    assert not process.is_running


async def test_its_memory_is_sampled(talker: Managed) -> None:
    await talker.hear(10)
    talker.sample()
    assert 1 < talker.memory.last < 500
    assert talker.memory.peak == talker.memory.first == talker.memory.last


async def test_one_that_ended_says_why(tmp_path: Path) -> None:
    process = Managed("gone", [sys.executable, "-c", "raise SystemExit('no way')"], tmp_path / "log", piped=True)
    process.start()
    with pytest.raises(RuntimeError, match="no way"):
        await process.hear(10)
    process.kill()

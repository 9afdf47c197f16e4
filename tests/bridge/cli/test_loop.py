from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import asyncio

PROGRAM = """
import asyncio, sys
from agentexchange_bridge.cli._loop import run_stoppable

async def command(stop):
    print("up", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    if sys.argv[1] == "hangs":
        await asyncio.Event().wait()
    return 7

sys.exit(run_stoppable(command))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_command_to_stop(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, "obeys"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopping\n"
        assert process.wait(timeout=10) == 7


def test_the_second_signal_ends_a_command_that_hangs() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "hangs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.stdout.readline() == "stopping\n"
        process.terminate()
        assert process.wait(timeout=10) == 1
        assert process.stderr.read() == ""


def test_an_error_leaves_as_it_is() -> None:
    from agentexchange_bridge.cli._loop import run_stoppable

    async def fails(_stop: asyncio.Event) -> int:
        raise LookupError("as it is")

    with pytest.raises(LookupError, match="as it is"):
        run_stoppable(fails)

"""The command as a process, for tests that are coroutines."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from agentexchange_bridge.demo._processes import Process, child_environment
from tests._hygiene import WATCH

KEY = "ak_live_cli_test/key+1"
CLI = (sys.executable, "-m", "agentexchange_bridge")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


async def run(*argv: str, key: str | None = KEY, **environment: str) -> Result:
    """Run a command that ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *CLI, *argv, env=_environment(key, environment), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    WATCH.look(out.decode() + err.decode(), f"output of {argv[:1]}")
    return Result(process.returncode or 0, out.decode(), err.decode())


def start(*argv: str, key: str | None = KEY, **environment: str) -> Process:
    """A command that runs until it is stopped; an async context manager."""
    return Process(
        argv[0],
        [*CLI, *argv],
        environment=_environment(key, environment),
        on_line=lambda line: WATCH.look(line, f"output of {argv[0]}"),
    )


def one_line(result: Result) -> str:
    """What a failed command said: exactly one line on stderr, nothing else."""
    assert result.out == ""
    assert result.err.count("\n") == 1, result.err
    return result.err


def _environment(key: str | None, more: dict[str, str]) -> dict[str, str]:
    own = {} if key is None else {"AGENTEXCHANGE_API_KEY": key}
    return child_environment(**own, **more)

"""The command as a process, for tests that are coroutines."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from agentexchange_bridge.demo._processes import Process, child_environment
from tests._hygiene import WATCH

from ._forks import forked

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
    code, out, err = await forked(argv, _environment(key, environment), timeout_s=30)
    WATCH.look(out.decode() + err.decode(), f"output of {argv[:1]}")
    return Result(code, out.decode(), err.decode())


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

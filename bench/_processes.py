"""The processes of a run: started, spoken to by lines, measured by the operating system, always ended."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 60


class Child:
    """One ``python -m`` process that speaks in lines."""

    def __init__(self, module: str, *args: str, env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self._usage = psutil.Process(self._process.pid)

    def say(self, line: str) -> None:
        """Write one line to the child."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Read one line from the child; raises RuntimeError where it has ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self._process.args} ended without an answer")
        return line

    def has_line(self) -> bool:
        """Whether the child has said something that was not read yet."""
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def result(self) -> dict[str, Any]:
        """The JSON object on the child's next line."""
        answer: dict[str, Any] = json.loads(self.hear())
        return answer

    def cpu_s(self) -> float:
        """CPU seconds, user and system, of all its threads so far."""
        times = self._usage.cpu_times()
        return times.user + times.system

    def memory_mb(self) -> float:
        """Resident memory."""
        return self._usage.memory_info().rss / 2**20

    def end(self) -> None:
        """Ask it to stop, and kill it where it does not."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin and self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT_S / 6)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def child(module: str, *args: str, env: dict[str, str] | None = None) -> Iterator[Child]:
    """Start a child and end it on leaving."""
    process = Child(module, *args, env=env)
    try:
        yield process
    finally:
        process.end()

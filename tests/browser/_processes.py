"""Server processes for the browser tests: started on free ports, read line by line, ended by their own id."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests._hygiene import WATCH

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ROOT", "ServerProcess"]

ROOT = Path(__file__).parents[2]
_START_S = 30.0


class ServerProcess:
    """``python -m MODULE …`` whose output is kept; a context manager."""

    def __init__(
        self, *argv: str, ready: str, environment: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self._argv = [sys.executable, "-m", *argv]
        self._ready = ready
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AGENTEXCHANGE_")}
        paths = [str(ROOT / part) for part in ("schemas", "sdk", "bridge")] + [str(ROOT)]
        self._environment = inherited | {"PYTHONPATH": os.pathsep.join(paths)} | (environment or {})
        self._cwd = cwd or ROOT
        self._lines: queue.Queue[str] = queue.Queue()
        self.output: list[str] = []
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv, env=self._environment, cwd=self._cwd, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.wait_line(self._ready, _START_S)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        WATCH.look("\n".join(self.output), self._argv[2])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait_line(self, part: str, timeout_s: float = 10.0) -> str:
        """The next line that holds ``part``."""
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=min(left, 0.2))
            except queue.Empty:
                if self._process.poll() is not None and self._lines.empty():
                    break
                continue
            if part in line:
                return line
        raise AssertionError(f"{self._argv[2:]}: no line with {part!r} in:\n" + "\n".join(self.output[-30:]))

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.output.append(line.rstrip())
                self._lines.put(line.rstrip())

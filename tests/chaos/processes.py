"""The processes of a run: started, stopped, killed, measured, and always ended, each by its own id."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Managed", "Memory"]

END_TIMEOUT_S: Final = 8.0
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


@dataclass(slots=True)
class Memory:
    """Resident memory of one process, MB: at its first sample (after start-up), at its highest, at its last."""

    first: float = 0.0
    peak: float = 0.0
    last: float = 0.0

    def sample(self, megabytes: float) -> None:
        """Take a sample."""
        self.first = self.first or megabytes
        self.peak = max(self.peak, megabytes)
        self.last = megabytes


@dataclass
class Managed:
    """One process; may be started again after it has ended.

    Attributes:
        name: for reports.
        argv: what to run.
        log: file that takes its stdout (unless piped) and stderr.
        env: its environment.
        piped: whether stdin and stdout are pipes.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] | None = None
    piped: bool = False
    memory: Memory = field(default_factory=Memory)
    is_stopped: bool = False
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; call this on the main thread: the kernel kills it when the thread that forked is gone."""
        assert not self.is_running
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE if self.piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.piped else log,
                stderr=log,
                env=self.env,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - the child only calls prctl before exec
            )
        self.is_stopped = False
        self.memory = Memory()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Started and not ended; a stopped one runs, too."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """SIGSTOP."""
        if self.is_running:
            self.is_stopped = True
            os.kill(self.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT."""
        self.is_stopped = False
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        if self.process is not None and self.is_running:
            self.process.kill()
            self.process.wait(END_TIMEOUT_S)
        self._close()

    async def term(self) -> int | None:
        """SIGTERM, wait, and kill what does not go. Returns the exit code; None where it had to be killed."""
        if self.process is None or not self.is_running:
            return None
        self.cont()
        self.process.terminate()
        try:
            return await asyncio.to_thread(self.process.wait, END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def sample(self) -> None:
        """Measure its resident memory."""
        if self.is_running:
            with contextlib.suppress(OSError):
                pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
                self.memory.sample(round(pages * _PAGE_BYTES / 2**20, 1))

    async def say(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    async def hear(self, within_s: float) -> str:
        """The next line of its stdout.

        Raises:
            RuntimeError: it ended instead.
            TimeoutError: it says nothing.
        """
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(within_s):
            line = await asyncio.to_thread(self.process.stdout.readline)
        if not line:
            raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-1000:]}")
        return line.decode().strip()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout) if self.process is not None else ():
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _die_with_parent() -> None:
    """Linux: the kernel kills the child when the run is gone, even after SIGKILL."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

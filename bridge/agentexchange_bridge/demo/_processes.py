"""Child processes with an owner: read while they run, ended by their own process id whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

__all__ = ["DemoError", "Process", "child_environment"]

KEPT_LINES: Final = 30
GRACE_S: Final = 8.0  # more than a bridge takes to drain
_LINE_BYTES: Final = 1024 * 1024
_PR_SET_PDEATHSIG: Final = 1


class DemoError(Exception):
    """The demonstration cannot go on; the message says what happened, with the last lines of the process at fault."""


class Process:
    """One child; use it as an async context manager.

    It runs in a session of its own, so that Ctrl-C reaches only the parent, which ends its children in order. On Linux
    the kernel ends it when the parent dies without having had the time.

    Args:
        name: what errors call it.
        argv: the command.
        environment: all of its environment.
        on_line: gets each line of its output (stdout and stderr).
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        on_line: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.name = name
        self._argv = argv
        self._environment = dict(environment)
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._news = asyncio.Condition()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._argv,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LINE_BYTES,
            start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        self._reader = asyncio.create_task(self._read(), name=f"output of {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.end()
        except asyncio.CancelledError:  # a second Ctrl-C: no more patience
            self._send(signal.SIGKILL)
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None  # noqa: S101 - within the context
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process is not None and self._process.returncode is not None

    async def end(self) -> int:
        """SIGTERM, and SIGKILL where that does not help in time; the exit code. Idempotent."""
        assert self._process is not None  # noqa: S101 - within the context
        assert self._reader is not None  # noqa: S101
        if not self.has_ended:
            self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE_S):
                await self._process.wait()
        except TimeoutError:
            self._send(signal.SIGKILL)
            await self._process.wait()
        await self._reader
        return self._process.returncode or 0

    async def wait_line(self, pattern: str, *, timeout_s: float = 30.0) -> re.Match[str]:
        """The first line of its output that matches, also an earlier one.

        Raises:
            DemoError: it ended, or said nothing like it in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._news:
                while not (found := self._find(pattern)) and not self.has_ended:
                    await self._news.wait()
                if found:
                    return found
        raise self.failure("did not start")

    def failure(self, what: str) -> DemoError:
        """An error about this process, with its last words."""
        return DemoError("\n    ".join([f"{self.name} {what}; its last lines:", *self._lines]))

    def _find(self, pattern: str) -> re.Match[str] | None:
        return next((found for line in self._lines if (found := re.search(pattern, line))), None)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.send_signal(number)

    async def _read(self) -> None:
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        async for raw in self._process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            self._lines.append(line)
            self._on_line(line)
            async with self._news:
                self._news.notify_all()
        await self._process.wait()
        async with self._news:
            self._news.notify_all()


def child_environment(**more: str) -> dict[str, str]:
    """This process's environment without its own AgentExchange settings, which would reach into the demonstration."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("AGENTEXCHANGE_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | more


def _end_with_parent() -> None:
    """In the child, before exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

"""The real parts put together: worker processes, and clients that record what their handlers are given."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentexchange import AgentExchangeWS
from tests._hygiene import WATCH
from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["KEY", "TICKS_ON_DEMAND", "Worker", "client", "eventually", "worker"]

KEY = "ak_live_integration_secret"
TICKS_ON_DEMAND = ("--tick-stale-after-s", "3600")
"""For a worker whose exchange sends no ticks of its own: it shall not take the session for broken meanwhile."""
_POLL_S = 0.02


async def eventually(condition: Callable[[], Any], *, within_s: float = PATIENCE_S, what: str = "") -> Any:
    """Wait until ``condition`` (sync or async) gives something true, and return it."""
    until = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < until, f"not within {within_s:g} s: {what or condition}"
        await asyncio.sleep(_POLL_S)


class Worker:
    """One ``agentexchange bridge`` process."""

    def __init__(self, upstream_url: str, redis_url: str, *, log: Path, args: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-m", "agentexchange_bridge", "bridge", "--http", "off", "--log-level", "debug"]
        command += ["--upstream-url", upstream_url, "--redis-url", redis_url, *args]
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                env=os.environ | {"AGENTEXCHANGE_API_KEY": KEY},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = PATIENCE_S) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
            if number is not signal.SIGKILL:
                self._process.send_signal(signal.SIGCONT)
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def memory_mb(self) -> float:
        """Resident memory, from the kernel."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@contextlib.contextmanager
def worker(upstream_url: str, redis_url: str, *, log: Path, args: tuple[str, ...] = ()) -> Iterator[Worker]:
    """A worker process, ended on leaving whatever happened."""
    process = Worker(upstream_url, redis_url, log=log, args=args)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)
        WATCH.look(log.read_text(errors="replace"), "log of a worker")


@contextlib.asynccontextmanager
async def client(
    url: str, register: Callable[[AgentExchangeWS], None], **options: Any
) -> AsyncIterator[AgentExchangeWS]:
    """A connected client with the handlers that ``register`` gives it."""
    ws = AgentExchangeWS(api_key=KEY, base_url=url, **options)
    register(ws)
    async with ws:
        yield ws

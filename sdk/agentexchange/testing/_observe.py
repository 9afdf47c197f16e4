"""What a test can see and wait for: counters, connections, and conditions that need no sleeping."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ConnectionInfo", "Observations"]


@dataclass(frozen=True, kw_only=True)
class ConnectionInfo:
    """One open connection as it is at this moment; the frame counts are by kind."""

    id: int
    api_key: str = field(repr=False)
    subscriptions: frozenset[str]
    requests: int
    pongs: int
    frames_sent: dict[str, int]
    ticks_dropped: int


class Observations:
    """Counters of the whole sandbox since its start, and those who wait for a change."""

    def __init__(self) -> None:
        self.connections_total = 0
        self.handshakes_refused = 0
        self.rest_requests = 0
        self.requests = 0
        self.pongs = 0
        self.ticks_dropped = 0
        self.frames_sent: Counter[str] = Counter()
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._failure: BaseException | None = None

    def changed(self) -> None:
        """Wake everyone whose condition holds now."""
        if self._waiting:
            still = []
            for condition, waiter in self._waiting:
                if waiter.done():
                    continue
                if condition():
                    waiter.set_result(None)
                else:
                    still.append((condition, waiter))
            self._waiting = still

    def fail(self, failure: BaseException) -> None:
        """Nothing will change any more: end every wait with ``failure``."""
        self._failure = failure
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(failure)
        self._waiting.clear()

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float, what: str) -> None:  # noqa: ASYNC109  # a test wants one line, not a block
        """Return once ``condition`` holds.

        Raises:
            TimeoutError: it did not within ``timeout`` seconds; the message names ``what``.
        """
        if self._failure is not None:
            raise self._failure
        if condition():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, waiter))
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            raise TimeoutError(f"no {what} within {timeout:g} s") from None
        finally:
            waiter.cancel()

"""Time that a test moves by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Timeline"]


class Timeline:
    """``clock`` and ``sleep`` to inject; `advance` wakes whose time has come."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._changed = asyncio.Event()

    def clock(self) -> float:
        return self.now

    async def sleep(self, delay: float) -> None:
        self.slept.append(delay)
        waiter = asyncio.get_running_loop().create_future()
        self._sleepers[waiter] = self.now + delay
        self._changed.set()
        try:
            await waiter
        finally:
            del self._sleepers[waiter]
            self._changed.set()

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for waiter, due in self._sleepers.items():
            if due <= self.now and not waiter.done():
                waiter.set_result(None)

    async def until_asleep(self, seconds: float) -> None:
        """Wait until someone sleeps for so long from now."""
        await self._until(lambda: any(abs(due - self.now - seconds) < 1e-6 for due in self._sleepers.values()))

    async def until_nobody_sleeps(self) -> None:
        await self._until(lambda: not self._sleepers)

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

"""Reads one run ahead, so that nothing that is due waits for the disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from agentexchange._tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from agentexchange.recording import LaneRun

__all__ = ["Ahead"]


class Ahead:
    """``async with Ahead(runs) as ahead: async for run in ahead``: the next run is read while one is played.

    What reading raises comes out in its place, behind the runs before it.
    """

    def __init__(self, runs: AsyncGenerator[LaneRun, None]) -> None:
        self._runs = runs

    async def __aenter__(self) -> Self:
        self._coming = self._read()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end((self._coming,))
        await self._runs.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LaneRun:
        run = await self._coming
        if run is None:
            raise StopAsyncIteration
        self._coming = self._read()
        return run

    def _read(self) -> asyncio.Task[LaneRun | None]:
        return asyncio.create_task(self._next(), name="agentexchange:serving-reader")

    async def _next(self) -> LaneRun | None:
        return await anext(self._runs, None)

"""A task that lives as long as an ``async with`` block."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ._tasks import end
from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["TaskScope"]


class TaskScope:
    """Runs ``work`` beside a block. If it fails, the block is cancelled and the failure raised from it."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        parent = asyncio.current_task()
        if parent is None:
            work.close()
            raise UsageError("async with needs a running asyncio task")
        self._parent = parent
        self._cancelling = parent.cancelling()
        self._interrupted = False
        self._task = asyncio.create_task(work, name="agentexchange:connect")
        self._task.add_done_callback(self._ended)

    async def leave(self, stop: Callable[[], None], kind: type[BaseException] | None) -> None:
        """End the work by ``stop`` and wait for it.

        Raises:
            Exception: what the work failed with, unless the block raises something of its own (``kind``).
        """
        self._task.remove_done_callback(self._ended)
        stop()
        try:
            await asyncio.wait((self._task,))
        finally:
            await end((self._task,))
        is_ours = self._interrupted and self._parent.uncancel() <= self._cancelling
        if kind is None or (is_ours and issubclass(kind, asyncio.CancelledError)):
            self._task.result()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._interrupted = True
            self._parent.cancel()

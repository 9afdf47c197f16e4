"""The one thread on which a replay calls sync handlers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CallThread"]

_T = TypeVar("_T")


class CallThread:
    """Runs one job at a time, from the first on; a daemon, so that a handler which never returns holds nobody up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_abandoned = False
        """Whether nobody waits for the job any more: it is to end as soon as it can."""

    async def run(self, job: Callable[[], _T]) -> _T:
        """Run ``job`` there, and return what it returns or raise what it raises, ``SystemExit`` included.

        Cancelled, it abandons the job and the thread.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()

        def work() -> None:
            try:
                result = job()
            except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
                _tell(loop, _fail, done, exc)
            else:
                _tell(loop, _succeed, done, result)

        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(work)
        try:
            return await done
        except asyncio.CancelledError:
            self.is_abandoned = True
            raise

    def close(self) -> None:
        """Let the thread end, after the job under way. Idempotent."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            work()


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[..., None], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(settle, *arguments)


def _succeed(done: asyncio.Future[_T], result: _T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[_T], exc: BaseException) -> None:
    if not done.done():
        done.set_exception(exc)

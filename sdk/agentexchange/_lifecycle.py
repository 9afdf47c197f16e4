"""A client's life: one connection at a time, ended from any thread, changed while it runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from ._tasks import end
from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange_schemas import Topic

    from ._dispatch import Dispatcher
    from ._transport import Outlook, Transport

__all__ = ["DRAIN_TIMEOUT_S", "Lifecycle", "Phase"]

DRAIN_TIMEOUT_S: Final = 10.0
"""Seconds that handlers have for what waits, where it is to be delivered at the end."""


class Phase(Enum):
    """Where a client is in its life."""

    NEW = "new"
    STOPPED_EARLY = "stopped early"
    """Stopped before the first run began: that run ends as it starts."""
    RUNNING = "running"
    ENDED = "ended"
    """It may be run again."""


class Lifecycle:
    """Runs a transport and the dispatcher side by side. Everything but `run` may be called from any thread."""

    def __init__(self, dispatcher: Dispatcher, make_transport: Callable[[], Transport]) -> None:
        self._dispatcher = dispatcher
        self._make_transport = make_transport
        self._lock = threading.RLock()
        self._phase = Phase.NEW
        self._drain_s: float | None = None
        self._changes: deque[Callable[[], None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.transport: Transport | None = None
        """The transport of the run under way: to be touched by what `apply` is given only."""
        self._last_stats: dict[str, int | float] = {}

    @property
    def phase(self) -> Phase:
        """Where in its life the client is."""
        return self._phase

    async def run(self) -> None:
        """Connect and deliver until stopped.

        Raises:
            UsageError: it is running already.
            AuthenticationError: from the transport.
            ConnectionError: from the transport.
        """
        transport = self._begin()
        if transport is None:
            return
        try:
            await self._drive(transport)
        finally:
            self._end()

    def apply(self, change: Callable[[], None]) -> None:
        """Make a change: at once on the loop's thread or while none runs, else as soon as the loop gets to it."""
        with self._lock:
            self._changes.append(change)
            self._dispatcher.is_changing = True
            if self._loop is None or _running_loop() is self._loop:
                self._make_changes()
            else:
                self._loop.call_soon_threadsafe(self._make_changes)

    def stats(self) -> dict[str, int | float]:
        """The transport's counters; after its end those it ended with."""
        with self._lock:
            return dict(self._last_stats) if self.transport is None else self.transport.stats()

    def outlook(self, topic: Topic) -> Outlook | None:
        """What the transport knows of ``topic``; None while there is none."""
        with self._lock:
            return None if self.transport is None else self.transport.outlook(topic)

    def stop(self, *, drain_s: float | None = None) -> None:
        """End the run under way, or the first one before it begins. Idempotent.

        Handlers get what waits for them, for ``drain_s`` seconds at most; with None it is dropped.
        """
        with self._lock:
            if self._phase is Phase.NEW:
                self._phase = Phase.STOPPED_EARLY
            elif self._phase is Phase.RUNNING:
                self.apply(partial(self._stop_on_loop, drain_s))

    async def stopped(self) -> None:
        """Wait until the run under way has ended. A handler does not wait, as the run waits for it."""
        with self._lock:
            done = self._done if self._phase is Phase.RUNNING else None
        if done is not None and not self._dispatcher.owns(asyncio.current_task()):
            await asyncio.shield(asyncio.wrap_future(done))

    def _begin(self) -> Transport | None:
        with self._lock:
            if self._phase is Phase.RUNNING:
                raise UsageError("this client is connected already: one connect() or run_forever() at a time")
            if self._phase is Phase.STOPPED_EARLY:
                self._phase = Phase.ENDED
                return None
            self.transport = self._make_transport()
            self._loop = asyncio.get_running_loop()
            self._done = concurrent.futures.Future()
            self._phase = Phase.RUNNING
            self._drain_s = None
            return self.transport

    def _end(self) -> None:
        with self._lock:
            self._phase = Phase.ENDED
            if self.transport is not None:
                self._last_stats = self.transport.stats()
            self._loop = self.transport = None
            self._make_changes()  # those the loop did not get to
            self._done.set_result(None)

    def _make_changes(self) -> None:
        with self._lock:
            while self._changes:
                self._changes.popleft()()
            self._dispatcher.is_changing = False

    def _stop_on_loop(self, drain_s: float | None) -> None:
        if self.transport is None:
            return
        self._drain_s = drain_s
        self.transport.stop()
        if drain_s is None:
            self._dispatcher.finish(deliver=False)
        else:
            self._dispatcher.finish(deliver=True, timeout_s=drain_s)

    async def _drive(self, transport: Transport) -> None:
        delivering = asyncio.create_task(self._dispatcher.run(), name="agentexchange:dispatcher")
        moving = asyncio.create_task(transport.run(), name="agentexchange:transport")
        tasks = (moving, delivering)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if moving.done() and self._drain_s is not None:
                # once more: a stop before the dispatcher's first step found nothing to finish
                self._dispatcher.finish(deliver=True, timeout_s=self._drain_s)
            elif moving.done():
                # a terminal error is told to the status handlers too: let them hear it
                self._dispatcher.finish(deliver=moving.exception() is not None)
            transport.stop()
            await asyncio.wait(tasks)
        finally:
            await end(tasks)
        for task in tasks:
            task.result()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

"""What calls a handler: a task on the event loop, or a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from ._meta import Origin, event_meta

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange_schemas import Envelope

    from ._handlers import Handler
    from ._queue import HandlerQueue, Item

__all__ = ["Runner"]

_log: Final = logging.getLogger("agentexchange.handlers")
_SLICE_EVENTS: Final = 64  # events between two looks at the clock, and the most a thread takes at once
_SLICE_S: Final = 0.01  # of loop time for one handler before others run
_LOGGED_FAILURES: Final = 10  # of one handler that are logged each; later ones at most once a second
_LOG_EVERY_S: Final = 1.0


class Runner:
    """One handler with its queue, while it lives. `put` is called on the event loop's thread.

    Attributes:
        delivered: calls that were made, failed ones included.
        failed: calls that raised.
    """

    def __init__(self, handler: Handler, queue: HandlerQueue) -> None:
        self.handler = handler
        self.queue = queue
        self.delivered = 0
        self.failed = 0
        self._items = queue.items
        self._hides_forming = handler.closed_only
        self._wants_meta = handler.wants_meta
        self._is_plain = handler.model is None and not handler.wants_meta
        self._idle = False
        self._wake: Callable[[], None] = _nothing
        self._next_log_at = 0.0

    def put(
        self,
        topic: str,
        fields: dict[str, Any],
        envelope: Envelope | None = None,
        source: str = "live",
        scope: str | None = None,
    ) -> None:
        """Queue one event. Hot path."""
        if self._hides_forming and fields.get("is_closed") is False:
            return
        origin = Origin(envelope, source, scope, time.time_ns() // 1000) if self._wants_meta else None
        items = self._items  # as `put_item`: a call less for each event
        if len(items) >= self.queue.limit:
            self.queue.make_room()
        items.append((topic, fields, origin))
        if self._idle:
            self._rouse()

    def put_item(self, item: Item) -> None:
        """Queue one item."""
        items = self._items
        if len(items) >= self.queue.limit:
            self.queue.make_room()
        items.append(item)
        if self._idle:
            self._rouse()

    def _rouse(self) -> None:
        self._idle = False
        self.queue.caught_up()
        self._wake()

    def finish(self, *, deliver: bool) -> None:
        """Make `run` return, after what waits if ``deliver``."""
        self.queue.finish(deliver=deliver)
        self._idle = False
        self._wake()

    async def run(self) -> None:
        """Call the handler until `finish`, or until cancelled. May be called again."""
        try:
            await (self._run_on_loop() if self.handler.is_async else self._run_on_thread())
        finally:
            self._wake = _nothing
            self._idle = False

    # On the event loop

    async def _run_on_loop(self) -> None:
        items, function, is_plain = self._items, self.handler.function, self._is_plain
        woken = asyncio.Event()
        self._wake = woken.set
        slice_end = time.monotonic() + _SLICE_S
        while True:
            while items:
                item = items.popleft()
                if item is None:
                    return
                self.delivered += 1
                try:
                    await (function(item[1]) if is_plain else function(*self._arguments(item)))
                except asyncio.CancelledError as exc:
                    if _is_cancelled():
                        raise
                    self._report(item[0], exc)
                except Exception as exc:  # noqa: BLE001 - whatever a handler raises stops nothing
                    self._report(item[0], exc)
                if self.delivered % _SLICE_EVENTS == 0 and time.monotonic() > slice_end:
                    await asyncio.sleep(0)
                    slice_end = time.monotonic() + _SLICE_S
            woken.clear()
            self._idle = True
            await woken.wait()
            slice_end = time.monotonic() + _SLICE_S

    # On a thread of its own

    async def _run_on_thread(self) -> None:
        """A daemon thread: one that never returns keeps neither the client nor the process from ending."""
        loop = asyncio.get_running_loop()
        finished = loop.create_future()
        woken, abandoned = threading.Event(), threading.Event()
        self._wake = woken.set

        def work() -> None:
            try:
                self._work(woken, abandoned)
            except BaseException as exc:  # noqa: BLE001 - SystemExit and KeyboardInterrupt leave through the loop
                _on_loop(loop, _raise, exc)
            else:
                _on_loop(loop, _resolve, finished)

        threading.Thread(target=work, name=f"agentexchange:{self.handler.name}", daemon=True).start()
        try:
            await finished
        finally:
            abandoned.set()
            woken.set()

    def _work(self, woken: threading.Event, abandoned: threading.Event) -> None:
        while not abandoned.is_set():
            for item in self.queue.take(_SLICE_EVENTS):
                if item is None or abandoned.is_set():
                    return
                self._call(item)
            woken.clear()
            if not self._items:
                self._idle = True
                if not self._items:  # what came between the two looks saw no idle runner
                    woken.wait()
                self._idle = False

    def _call(self, item: Item) -> None:
        self.delivered += 1
        try:
            result = self.handler.function(*self._arguments(item))
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("it returned a coroutine, which nobody awaits: declare it with async def")  # noqa: TRY301
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # noqa: BLE001 - whatever else it raises, a CancelledError too, stops nothing
            self._report(item[0], exc)

    # Both

    def _arguments(self, item: Item) -> tuple[Any, ...]:
        topic, fields, origin = item
        model = self.handler.model
        data = fields if model is None or isinstance(fields, model) else model.model_validate(fields)
        return (data,) if origin is None else (data, event_meta(topic, fields, origin))

    def _report(self, topic: str, exc: BaseException) -> None:
        self.failed += 1
        now = time.monotonic()
        if self.failed > _LOGGED_FAILURES and now < self._next_log_at:
            return
        self._next_log_at = now + _LOG_EVERY_S
        _log.error("handler %s failed on %s (failure %d)", self.handler.name, topic, self.failed, exc_info=exc)


def _is_cancelled() -> bool:
    """Whether this task is being cancelled, rather than a handler having awaited something that was."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], argument: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, argument)
    except RuntimeError:
        _log.debug("a handler's thread outlived its event loop")


def _raise(exc: BaseException) -> None:
    raise exc


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _nothing() -> None:
    """Wake nobody: no run is under way."""

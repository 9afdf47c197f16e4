"""What calls a handler: a task on the event loop, or a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ._meta import Origin, event_meta
from ._policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange_schemas import Envelope

    from ._handlers import Handler
    from ._queue import HandlerQueue, Item

    _Job = tuple[Item, asyncio.Future[BaseException | None]]

__all__ = ["HandlerFailed", "HandlersEnded", "Runner", "WaitingRunner", "is_cancelled"]

_log: Final = logging.getLogger("agentexchange.handlers")
_SLICE_S: Final = 0.01  # of loop time for one handler before others run, and between two looks at its queue
_LOGGED_FAILURES: Final = 10  # of one handler that are logged each; later ones at most once a second
_LOG_EVERY_S: Final = 1.0
_MAX_TOPICS: Final = 8192  # whose last call is remembered


class HandlerFailed(Exception):  # noqa: N818 - it says what happened, to a transport; no user sees it
    """A handler raised on an event that was to be acknowledged; ``__cause__`` is what it raised."""

    def __init__(self, name: str, topic: str) -> None:
        super().__init__(f"handler {name} failed on {topic}")
        self.name = name
        self.topic = topic


class HandlersEnded(Exception):  # noqa: N818 - as above
    """The handlers do not run (any more): an event was not given to all of them."""


class Runner:
    """One handler with its queue, while it lives. `put` is called on the event loop's thread.

    Args:
        handler: what to call.
        queue: where its events wait.
        on_room: called on the loop's thread when the queue was full and has room again.

    Attributes:
        delivered: calls that were made, failed ones included.
        errors: calls that raised.
        slowest_s: the longest call, in seconds.
        function: the handler's.
        is_plain: whether the handler takes the fields and nothing else.
        wants_meta: whether it takes metadata, too.
        hides_forming: whether forming candles are kept from it.
        calls: when it was last called with an event of each topic, `time.monotonic`.
    """

    def __init__(self, handler: Handler, queue: HandlerQueue, on_room: Callable[[], None]) -> None:
        self.handler = handler
        self.function = handler.function
        self.queue = queue
        self.delivered = 0
        self.errors = 0
        self.slowest_s = 0.0
        self._on_room = on_room
        self._items = queue.items
        self.hides_forming = handler.options.closed_only
        self.wants_meta = handler.wants_meta
        self.is_plain = handler.model is None and not handler.wants_meta
        self._jobs: deque[_Job] = deque()
        self._called: set[asyncio.Future[BaseException | None]] = set()
        self._turn = asyncio.Lock()
        self._runs = False
        self._finishing = False
        self._idle = False
        self._wake: Callable[[], None] = _nothing
        self._next_log_at = 0.0
        self.calls: dict[str, float] = {}

    def called_at(self, topic: str | None) -> float | None:
        """When it was last called with an event of ``topic`` (None: any), `time.monotonic`. On any thread."""
        return max(list(self.calls.values()), default=None) if topic is None else self.calls.get(topic)

    def put(
        self,
        topic: str,
        fields: dict[str, Any],
        envelope: Envelope | None = None,
        source: str = "live",
        scope: str | None = None,
    ) -> None:
        """Queue one event. Hot path."""
        if self.hides_forming and fields.get("is_closed") is False:
            return
        origin = Origin(envelope, source, scope, time.time_ns() // 1000) if self.wants_meta else None
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

    def sweep(self) -> None:
        """To be called at regular times, on the loop's thread: tells a lagging handler from a short stall.

        And tells that a loss has ended, as the next event may be long in coming.
        """
        if self._idle and self.queue.has_lost and not self._items:
            self.queue.caught_up()
        if self.queue.policy is Policy.CONFLATE:
            self.queue.sweep(self.delivered)
        if len(self.calls) > _MAX_TOPICS:
            self.calls.clear()

    def finish(self, *, deliver: bool) -> None:
        """Make `run` return, after what waits if ``deliver``."""
        if not deliver:
            self.queue.clear()
        self._finishing = True
        self._idle = False
        self._wake()

    def begin(self) -> None:
        """To be called before each `run`: from now on `call` may be."""
        self._turn, self._finishing, self._runs = asyncio.Lock(), False, True

    async def run(self) -> None:
        """Call the handler until `finish`, or until cancelled. May be called again."""
        try:
            await (self._run_on_loop() if self.handler.is_async else self._run_on_thread())
        finally:
            self._wake = _nothing
            self._runs = self._idle = False
            self.queue.clear()  # an abandoned thread would still call the handler with what waits
            self._jobs.clear()
            for future in self._called:
                _resolve(future, HandlersEnded())

    async def call(
        self, topic: str, fields: dict[str, Any], envelope: Envelope | None, source: str, scope: str | None
    ) -> None:
        """Call the handler with one event, past its queue, and return when it has returned.

        Cancelled, it cancels an async handler; a sync one under way goes on, and the next call waits for it.

        Raises:
            HandlerFailed: it raised.
            HandlersEnded: `run` has returned, or never began.
        """
        if self.hides_forming and fields.get("is_closed") is False:
            return
        if not self._runs:
            raise HandlersEnded
        origin = Origin(envelope, source, scope, time.time_ns() // 1000) if self.wants_meta else None
        item = (topic, fields, origin)
        exc = await (self._call_on_loop(item) if self.handler.is_async else self._call_on_thread(item))
        if isinstance(exc, HandlersEnded):
            raise exc
        if exc is not None:
            raise HandlerFailed(self.handler.name, topic) from exc

    # On the event loop

    async def _run_on_loop(self) -> None:
        items, function, is_plain, clock = self._items, self.handler.function, self.is_plain, time.monotonic
        calls, new_future = self.calls, asyncio.get_running_loop().create_future
        while True:
            before = clock()
            slice_end = before + _SLICE_S
            while items:
                item = items.popleft()
                self.delivered += 1
                calls[item[0]] = before
                try:
                    await (function(item[1]) if is_plain else function(*self.arguments(item)))
                except asyncio.CancelledError as exc:
                    if is_cancelled():
                        raise
                    self.report(item[0], exc)
                except Exception as exc:  # noqa: BLE001 - whatever a handler raises stops nothing
                    self.report(item[0], exc)
                now = clock()
                if now - before > self.slowest_s:  # noqa: PLR1730 - max() costs a tenth of the whole event
                    self.slowest_s = now - before
                before = now
                if now > slice_end:
                    await asyncio.sleep(0)
                    self._look_after(self._on_room)
                    before = clock()
                    slice_end = before + _SLICE_S
            self._look_after(self._on_room)
            if self._finishing:
                return
            # a bare future: with an asyncio.Event an event that comes alone costs 1 µs more, a quarter of the whole way
            woken = new_future()
            self._wake = partial(_resolve, woken, None)
            self._idle = True
            await woken

    async def _call_on_loop(self, item: Item) -> BaseException | None:
        async with self._turn:
            self.delivered += 1
            self.calls[item[0]] = before = time.monotonic()
            try:
                await self.handler.function(*self.arguments(item))
            except asyncio.CancelledError as exc:
                if is_cancelled():
                    raise
                return self.report(item[0], exc)
            except Exception as exc:  # noqa: BLE001 - told to the caller
                return self.report(item[0], exc)
            finally:
                self.slowest_s = max(self.slowest_s, time.monotonic() - before)
        return None

    # On a thread of its own

    async def _run_on_thread(self) -> None:
        """A daemon thread: one that never returns keeps neither the client nor the process from ending."""
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[None] = loop.create_future()
        woken, abandoned = threading.Event(), threading.Event()
        self._wake = woken.set

        def work() -> None:
            try:
                self._work(loop, woken, abandoned)
            except BaseException as exc:  # noqa: BLE001 - SystemExit and KeyboardInterrupt leave through the loop
                _on_loop(loop, _raise, exc)
            else:
                _on_loop(loop, _resolve, finished, None)

        threading.Thread(target=work, name=f"agentexchange:{self.handler.name}", daemon=True).start()
        try:
            await finished
        finally:
            abandoned.set()
            woken.set()

    def _work(self, loop: asyncio.AbstractEventLoop, woken: threading.Event, abandoned: threading.Event) -> None:
        on_room = partial(_on_loop, loop, self._on_room)
        while not abandoned.is_set():
            self._work_off(loop, abandoned, on_room)
            self._look_after(on_room)
            woken.clear()
            if not self._has_work:
                if self._finishing:
                    return
                self._idle = True
                self._wait(woken)
                self._idle = False

    def _work_off(
        self, loop: asyncio.AbstractEventLoop, abandoned: threading.Event, on_room: Callable[[], None]
    ) -> None:
        items, lock, jobs, clock = self._items, self.queue.lock, self._jobs, time.monotonic
        before = clock()
        slice_end = before + _SLICE_S
        while True:
            if jobs:
                item, future = jobs.popleft()
                if not future.cancelled():
                    self.calls[item[0]] = before
                    _on_loop(loop, _resolve, future, self.call_now(item))
            else:
                with lock:
                    if not items:
                        return
                    item = items.popleft()
                self.calls[item[0]] = before
                self.call_now(item)
            now = clock()
            if now - before > self.slowest_s:  # noqa: PLR1730 - as above
                self.slowest_s = now - before
            before = now
            if now > slice_end:
                if abandoned.is_set():
                    return
                self._look_after(on_room)
                before = clock()
                slice_end = before + _SLICE_S

    def _wait(self, woken: threading.Event) -> None:
        if not (self._has_work or self._finishing):  # what came since the last look saw no idle runner
            woken.wait()

    @property
    def _has_work(self) -> bool:
        return bool(self._items or self._jobs)

    async def _call_on_thread(self, item: Item) -> BaseException | None:
        future: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._jobs.append((item, future))
        self._called.add(future)
        self._idle = False
        self._wake()
        try:
            return await future
        finally:
            self._called.discard(future)

    def call_now(self, item: Item) -> BaseException | None:
        """Call a sync handler on this thread; returns what it raised."""
        self.delivered += 1
        try:
            result = self.handler.function(*self.arguments(item))
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("it returned a coroutine, which nobody awaits: declare it with async def")  # noqa: TRY301
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # noqa: BLE001 - whatever else it raises, a CancelledError too, stops nothing
            return self.report(item[0], exc)
        return None

    # Both

    def _look_after(self, on_room: Callable[[], None]) -> None:
        queue = self.queue
        if queue.lagging:
            queue.conflate()
        if queue.is_full and queue.is_half_empty:
            on_room()

    def arguments(self, item: Item) -> tuple[Any, ...]:
        """What the handler is called with."""
        topic, fields, origin = item
        model = self.handler.model
        data = fields if model is None or isinstance(fields, model) else model.model_validate(fields)
        return (data,) if origin is None else (data, event_meta(topic, fields, origin))

    def report(self, topic: str, exc: BaseException) -> BaseException:
        """Count and log what the handler raised; returns it."""
        self.errors += 1
        now = time.monotonic()
        if self.errors <= _LOGGED_FAILURES or now >= self._next_log_at:
            self._next_log_at = now + _LOG_EVERY_S
            _log.error("handler %s failed on %s (failure %d)", self.handler.name, topic, self.errors, exc_info=exc)
        return exc


class WaitingRunner(Runner):
    """One whose queue is bounded by memory, too."""

    def put(
        self,
        topic: str,
        fields: dict[str, Any],
        envelope: Envelope | None = None,
        source: str = "live",
        scope: str | None = None,
    ) -> None:
        """Queue one event, and count what it weighs."""
        self.queue.weigh(fields)
        super().put(topic, fields, envelope, source, scope)


def is_cancelled() -> bool:
    """Whether this task is being cancelled, rather than a handler having awaited something that was."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        _log.debug("a handler's thread outlived its event loop")


def _raise(exc: BaseException) -> None:
    raise exc


def _resolve(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _nothing() -> None:
    """Wake nobody: no run is under way."""

"""From events to handlers: routes, one bounded queue per handler, and the tasks that run them."""

from __future__ import annotations

import asyncio
import copy
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from agentexchange_schemas import ALL, Cause, FeedState, FeedStatus, ScopeStates, Topic, TopicState
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._policy import Policy
from ._queue import HandlerQueue, Loss
from ._runner import HandlerFailed, HandlersEnded, Runner, WaitingRunner
from ._tasks import end

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from agentexchange_schemas import Envelope

    from ._handlers import Handler

__all__ = [
    "DEFAULT_MAX_QUEUE",
    "SWEEP_S",
    "Arrival",
    "Dispatcher",
    "HandlerFailed",
    "HandlerStats",
    "HandlersEnded",
    "Route",
    "copy_of",
]

DEFAULT_MAX_QUEUE: Final = 10_000
"""Events that may wait for one handler."""
SWEEP_S: Final = 0.1
"""Between two looks at which handlers lag behind."""

_STATUS_FACTOR: Final = 10  # how many times more statements about the feed may wait
_MAX_ROUTES: Final = 8192
_GRACE_S: Final = 1.0
_WILDCARD: Final = str(Topic.ticker(ALL))
_TICKERS: Final = "ticker:"
_UNTOLD: Final = ScopeStates()
_clock: Final = time.monotonic


@dataclass(frozen=True, slots=True)
class HandlerStats:
    """One handler's counters since the client was made: every event for it is in exactly one of the first four.

    Attributes:
        name: the function's.
        topic: what it is registered for.
        delivered: calls that were made, failed ones included.
        conflated: events that a newer one of their topic replaced.
        dropped: events that were lost to a full queue, or that still waited at the end of a connection.
        waiting: events in its queue now.
        errors: calls that raised.
        slowest_s: the longest call, in seconds.
    """

    name: str
    topic: str
    delivered: int
    conflated: int
    dropped: int
    waiting: int
    errors: int
    slowest_s: float


class Arrival(NamedTuple):
    """The newest event of a topic, whether or not a handler takes it.

    Attributes:
        at: when it came, `time.monotonic`.
        fields: its fields; the first handler has the same dict.
        envelope: of a shared feed.
    """

    at: float
    fields: dict[str, Any]
    envelope: Envelope | None


class Route(tuple[Runner, ...]):  # noqa: SLOT001 - a tuple with attributes has a dict
    """The handlers of one topic, in the order of registration.

    Attributes:
        is_async: whether each runs on the event loop.
        is_sync: whether each runs on a thread; of no handlers neither is false.
    """

    is_async: bool
    is_sync: bool

    def __new__(cls, runners: Iterable[Runner]) -> Self:
        route = super().__new__(cls, runners)
        kinds = {runner.handler.is_async for runner in route}
        route.is_async, route.is_sync = False not in kinds, True not in kinds
        return route


class Dispatcher:
    """Delivers events to handlers. Every method is called on the event loop's thread, or while none runs.

    A handler gets an event when its topic is open: its own, or for the ``ticker:all`` handlers also the tick's own.

    Attributes:
        log_backed: set by a transport that can stop reading a topic and go on from its place in the log.
        blocked: for such a transport, the topics of which no more is to be handed on, as a handler that must not miss
            any is full. What is handed on all the same still waits, up to ten times the queue's bound.
        on_room: set by such a transport; called with a topic that was blocked and is no longer.
        arrivals: the newest event of each topic, as the parts of an `Arrival`: another tuple with each event.
        routes: the handlers of topics that came lately, filled by `route`.
        past_queues: set by a transport that calls the handlers itself, past their queues: `run` then runs none.
        on_listener: set by such a transport; called with a status handler that is added meanwhile.
        is_changing: whether handlers or subscriptions are about to change, as another thread asked for.
    """

    def __init__(
        self,
        *,
        max_queue: int = DEFAULT_MAX_QUEUE,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self.log_backed = False
        self.blocked: set[str] = set()
        self.on_room: Callable[[str], None] = _ignore
        self.arrivals: dict[str, tuple[float, dict[str, Any], Envelope | None]] = {}
        self.routes: dict[str, Route] = {}
        self.past_queues = False
        self.on_listener: Callable[[Runner], None] = _ignore
        self.is_changing = False
        self._max_queue = max_queue
        self._sleep = sleep
        self._runners: list[Runner] = []
        self._listeners: list[Runner] = []
        self._open: set[str] = set()
        self._state = FeedState.LIVE
        self._told: dict[str | None, FeedStatus] = {}
        self._states: dict[str | None, ScopeStates] = {}
        self._tasks: dict[asyncio.Task[None], Runner] = {}
        self._callers: set[asyncio.Task[Any] | None] = set()
        self._finished: asyncio.Event | None = None
        self._patience_s = _GRACE_S
        self._fault: BaseException | None = None

    def add(self, handler: Handler) -> None:
        """Register ``handler``; one for events opens its topic."""
        runner = self._runner(handler)
        if handler.topic is None:
            self._listeners.append(runner)
        else:
            self._runners.append(runner)
            self.open(handler.topic)
        if self._finished is None:
            return
        if not self.past_queues:
            self._start(runner)
            for status in self._told.values() if handler.topic is None else ():
                runner.put_item((STATUS_TOPIC, status, None))
        elif handler.topic is None:
            self.on_listener(runner)

    def open(self, topic: Topic) -> None:
        """Deliver events of ``topic``."""
        self._open.add(str(topic))
        self.routes.clear()

    def close(self, topic: Topic) -> None:
        """Deliver events of ``topic`` no more, though they may still come."""
        self._open.discard(str(topic))
        self.routes.clear()
        for states in self._states.values():
            states.topics.pop(str(topic), None)
        self._unblock()

    def reaches(self, topic: Topic) -> bool:
        """Whether any handler would get an event of ``topic`` now."""
        return bool(self._runners if topic.is_wildcard else self.route(str(topic)))

    def recovers(self, topic: str) -> bool:
        """Whether any handler of ``topic`` wants missed events, rather than to go on with the newest."""
        return any(runner.handler.options.recover == "all" for runner in self.route(topic))

    def event(
        self,
        topic: str,
        fields: dict[str, Any],
        envelope: Envelope | None = None,
        source: str = "live",
        scope: str | None = None,
        at: float | None = None,
    ) -> None:
        """Queue one event for its handlers; each gets a dict of its own. Hot path: never blocks.

        ``at`` is when it came, `time.monotonic`: one look at the clock may do for a batch. None: now.
        """
        self.arrivals[topic] = (at or _clock(), fields, envelope)
        runners = self.routes.get(topic)
        if runners is None:
            runners = self.route(topic)
        if not runners:
            return
        for runner in runners[1:]:
            runner.put(topic, copy_of(fields), envelope, source, scope)
        runners[0].put(topic, fields, envelope, source, scope)

    async def call(
        self, topic: str, fields: dict[str, Any], envelope: Envelope | None, source: str, scope: str | None
    ) -> None:
        """Call every handler of ``topic`` with one event, one after the other, past their queues.

        Returns when all have returned. One that fails keeps no other from its call. Each gets a dict of its own.

        Raises:
            HandlerFailed: one raised, the first of them; it is logged and counted as ever.
            HandlersEnded: `run` has ended, or never began; not every handler had the event.
        """
        self.arrivals[topic] = (_clock(), fields, envelope)
        failed: HandlerFailed | None = None
        with self.calling():
            for runner in self.routes.get(topic) or self.route(topic):
                try:
                    await runner.call(topic, copy_of(fields), envelope, source, scope)
                except HandlerFailed as exc:
                    failed = failed or exc
        if failed is not None:
            raise failed

    @contextmanager
    def calling(self) -> Iterator[None]:
        """While it lasts, the present task calls handlers, and counts as one of them."""
        task = asyncio.current_task()
        self._callers.add(task)
        try:
            yield
        finally:
            self._callers.discard(task)

    def status(self, status: FeedStatus) -> None:
        """Queue a statement about the feed for the status handlers. Later ones are given the state of each scope."""
        self.take(status)
        for runner in self._listeners:
            runner.put_item((status.topic or STATUS_TOPIC, status, None))

    def take(self, status: FeedStatus) -> None:
        """Follow a statement about the feed without telling it."""
        if status.topic is None:
            self._state = status.state
            self._told[status.scope] = status
        self._states.setdefault(status.scope, ScopeStates()).take(status)

    def forget(self) -> None:
        """Know nothing any more of events and of the feed: another time follows."""
        self.arrivals.clear()
        self._told.clear()
        self._states.clear()
        for runner in self._runners:
            runner.calls.clear()

    @property
    def listeners(self) -> tuple[Runner, ...]:
        """The status handlers."""
        return tuple(self._listeners)

    @property
    def present(self) -> tuple[FeedStatus, ...]:
        """The present state of each scope, as it was told."""
        return tuple(self._told.values())

    # Read on any thread

    def state_of(self, topic: Topic, scope: str | None) -> TopicState:
        """How ``topic`` is, going by what was told of it and of the ``scope`` that it comes from."""
        return self._states.get(scope, _UNTOLD).of(topic)

    def last_arrival(self, topic: Topic) -> Arrival | None:
        """The last event of ``topic``, for the wildcard of any ticker."""
        if not topic.is_wildcard:
            known = self.arrivals.get(str(topic))
            return None if known is None else Arrival(*known)
        ticks = [arrival for name, arrival in list(self.arrivals.items()) if name.startswith(_TICKERS)]
        return Arrival(*max(ticks, key=lambda arrival: arrival[0])) if ticks else None

    def called_at(self, topic: Topic) -> float | None:
        """When a handler was last called with an event of ``topic``, `time.monotonic`."""
        name = None if topic.is_wildcard else str(topic)
        calls = [at for runner in tuple(self._runners) if (at := runner.called_at(name)) is not None]
        return max(calls, default=None)

    # On the loop's thread, or while none runs

    def owns(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether ``task`` runs one of the handlers: its own, or one that waits in `call`."""
        return task in self._tasks or task in self._callers

    def stats(self) -> list[HandlerStats]:
        """Each handler's counters, in the order of registration, status handlers last."""
        return [
            HandlerStats(
                name=runner.handler.name,
                topic=str(runner.handler.topic or STATUS_TOPIC),
                delivered=runner.delivered,
                conflated=runner.queue.conflated,
                dropped=runner.queue.dropped,
                waiting=len(runner.queue.items),
                errors=runner.errors,
                slowest_s=runner.slowest_s,
            )
            for runner in (*self._runners, *self._listeners)
        ]

    async def run(self) -> None:
        """Run the handlers until `finish`; owns their tasks. May be called again when it has returned."""
        self._finished, self._fault = asyncio.Event(), None
        self._told.clear()
        self._states.clear()
        self.blocked.clear()
        for runner in () if self.past_queues else (*self._runners, *self._listeners):
            runner.queue.clear()
            self._start(runner)
        sweeping = asyncio.create_task(self._sweep(), name="agentexchange:sweep")
        try:
            await self._finished.wait()
            await self._wait_for_handlers()
        finally:
            self._finished = None
            await end((sweeping, *self._tasks))
        if self._fault is not None:
            raise self._fault

    def finish(self, *, deliver: bool, timeout_s: float = _GRACE_S) -> None:
        """Make `run` return: calls under way may end, what waits is delivered or dropped.

        Both within a second, but in queues that do not conflate within ``timeout_s``. Called again, what the later
        call says counts.
        """
        if self._finished is not None:
            self._patience_s = timeout_s if deliver else _GRACE_S
            self._finished.set()
            for runner in (*self._runners, *self._listeners):
                runner.finish(deliver=deliver)

    @property
    def patience_s(self) -> float:
        """How long calls under way may take to return, once `finish` was called."""
        return self._patience_s

    async def _wait_for_handlers(self) -> None:
        started = time.monotonic()
        while self._tasks:
            spent = time.monotonic() - started
            waits_on = [task for task, runner in self._tasks.items() if spent < self._patience(runner)]
            if not waits_on:
                return
            least = min(self._patience(self._tasks[task]) for task in waits_on)
            await asyncio.wait(waits_on, timeout=min(least - spent, _GRACE_S))

    def _patience(self, runner: Runner) -> float:
        conflates = runner.queue.policy is Policy.CONFLATE
        return min(self._patience_s, _GRACE_S) if conflates else self._patience_s

    async def _sweep(self) -> None:
        while True:
            await self._sleep(SWEEP_S)
            if len(self.arrivals) > _MAX_ROUTES:
                self.arrivals.clear()
            for runner in self._runners:
                runner.sweep()

    def _runner(self, handler: Handler) -> Runner:
        options = handler.options
        bound = options.max_queue or self._max_queue * (_STATUS_FACTOR if handler.topic is None else 1)
        policy = options.policy_for(handler.topic)
        queue = HandlerQueue(policy, bound, on_loss=partial(self._tell_loss, handler), on_full=self._block)
        make = WaitingRunner if policy is Policy.WAIT else Runner
        return make(handler, queue, on_room=lambda: self._unblock(queue))

    def _block(self) -> None:
        if self.log_backed:
            full = {str(runner.handler.topic) for runner in self._runners if runner.queue.is_full}
            self.blocked |= full | {topic for topic, runners in self.routes.items() if _is_any_full(runners)}

    def _unblock(self, queue: HandlerQueue | None = None) -> None:
        """``queue`` may have room again, or the routes have changed: unblock what is not blocked otherwise."""
        if queue is not None and not queue.reopen():
            return
        for topic in tuple(self.blocked):
            if not _is_any_full(self.route(topic)):
                self.blocked.discard(topic)
                self.on_room(topic)

    def _start(self, runner: Runner) -> None:
        runner.begin()
        task = asyncio.get_running_loop().create_task(runner.run(), name=f"agentexchange:{runner.handler.name}")
        self._tasks[task] = runner
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None and self._finished is not None:
            self._fault = task.exception()
            self.finish(deliver=False)

    def route(self, topic: str) -> Route:
        """The handlers of ``topic``, remembered in `routes`."""
        if len(self.routes) >= _MAX_ROUTES:
            self.routes.clear()
        self.routes[topic] = runners = Route(runner for runner in self._runners if self._takes(runner, topic))
        if self.log_backed and _is_any_full(runners):
            self.blocked.add(topic)
        return runners

    def _takes(self, runner: Runner, topic: str) -> bool:
        registered = str(runner.handler.topic)
        if registered == _WILDCARD and topic.startswith("ticker:"):
            return _WILDCARD in self._open or topic in self._open
        return registered == topic and topic in self._open

    def _tell_loss(self, handler: Handler, loss: Loss, ended: bool) -> None:  # noqa: FBT001 - the queue's callback
        if handler.topic is None:
            return
        self.status(
            FeedStatus(
                topic=str(handler.topic),
                state=self._state,
                since=loss.since,
                until=datetime.now(UTC) if ended else None,
                cause=Cause.DROPPED,
                count=loss.count if ended else None,
                message=f"handler {handler.name} is too slow: events were dropped",
            )
        )


def _is_any_full(runners: Iterable[Runner]) -> bool:
    return any(runner.queue.is_full for runner in runners)


def _ignore(subject: object) -> None:
    del subject


def copy_of(fields: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing a handler could change: what upstream adds may be nested."""
    if any(type(value) in (dict, list) for value in fields.values()):
        return copy.deepcopy(fields)
    return fields.copy()

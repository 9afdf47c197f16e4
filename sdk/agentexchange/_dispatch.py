"""From events to handlers: routes, one bounded queue per handler, and the tasks that run them."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import ALL, Cause, FeedState, FeedStatus, Kind, Topic
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._queue import FullPolicy, HandlerQueue, Loss
from ._runner import Runner
from ._tasks import end

if TYPE_CHECKING:
    from agentexchange_schemas import Envelope

    from ._handlers import Handler

__all__ = ["DEFAULT_MAX_QUEUE", "Dispatcher", "HandlerStats"]

DEFAULT_MAX_QUEUE: Final = 10_000
"""Events that may wait for one handler."""

_HARD_FACTOR: Final = 10  # how many times more may wait where nothing may be conflated
_MAX_ROUTES: Final = 8192
_GRACE_S: Final = 1.0
_WILDCARD: Final = str(Topic.ticker(ALL))
_CONFLATED_KINDS: Final = (Kind.TICKER, Kind.PORTFOLIO)


@dataclass(frozen=True, slots=True)
class HandlerStats:
    """One handler's counters: what waits now; what was delivered, failed, replaced by newer, lost since the start."""

    name: str
    topic: str
    waiting: int
    delivered: int
    failed: int
    conflated: int
    dropped: int


class Dispatcher:
    """Delivers events to handlers. Every method is called on the event loop's thread, or while none runs.

    A handler gets an event when its topic is open: its own, or for the ``ticker:all`` handlers also the tick's own.
    """

    def __init__(self, *, max_queue: int = DEFAULT_MAX_QUEUE) -> None:
        self._max_queue = max_queue
        self._runners: list[Runner] = []
        self._listeners: list[Runner] = []
        self._open: set[str] = set()
        self._routes: dict[str, tuple[Runner, ...]] = {}
        self._state = FeedState.LIVE
        self._tasks: dict[asyncio.Task[None], Runner] = {}
        self._finished: asyncio.Event | None = None
        self._fault: BaseException | None = None

    def add(self, handler: Handler) -> None:
        """Register ``handler``; one for events opens its topic."""
        runner = Runner(handler, self._queue(handler))
        if handler.topic is None:
            self._listeners.append(runner)
        else:
            self._runners.append(runner)
            self.open(handler.topic)
        if self._finished is not None:
            self._start(runner)

    def open(self, topic: Topic) -> None:
        """Deliver events of ``topic``."""
        self._open.add(str(topic))
        self._routes.clear()

    def close(self, topic: Topic) -> None:
        """Deliver events of ``topic`` no more, though they may still come."""
        self._open.discard(str(topic))
        self._routes.clear()

    def reaches(self, topic: Topic) -> bool:
        """Whether any handler would get an event of ``topic`` now."""
        return bool(self._runners if topic.is_wildcard else self._route(str(topic)))

    def event(
        self,
        topic: str,
        fields: dict[str, Any],
        envelope: Envelope | None = None,
        source: str = "live",
        scope: str | None = None,
    ) -> None:
        """Queue one event for its handlers; each gets a dict of its own. Hot path: never blocks."""
        runners = self._routes.get(topic)
        if runners is None:
            runners = self._route(topic)
        if not runners:
            return
        for runner in runners[1:]:
            runner.put(topic, _copy(fields), envelope, source, scope)
        runners[0].put(topic, fields, envelope, source, scope)

    def status(self, status: FeedStatus) -> None:
        """Queue a statement about the feed for the status handlers."""
        if status.topic is None:
            self._state = status.state
        for runner in self._listeners:
            runner.put_item((status.topic or STATUS_TOPIC, status, None))

    def owns(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether ``task`` runs one of the handlers."""
        return task in self._tasks

    def stats(self) -> list[HandlerStats]:
        """Each handler's counters, in the order of registration, status handlers last."""
        return [
            HandlerStats(
                name=runner.handler.name,
                topic=str(runner.handler.topic or STATUS_TOPIC),
                waiting=len(runner.queue.items),
                delivered=runner.delivered,
                failed=runner.failed,
                conflated=runner.queue.conflated,
                dropped=runner.queue.dropped,
            )
            for runner in (*self._runners, *self._listeners)
        ]

    async def run(self) -> None:
        """Run the handlers until `finish`; owns their tasks. May be called again when it has returned."""
        self._finished, self._fault = asyncio.Event(), None
        for runner in (*self._runners, *self._listeners):
            runner.queue.clear()
            self._start(runner)
        try:
            await self._finished.wait()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_GRACE_S)
        finally:
            self._finished = None
            await end(self._tasks)
        if self._fault is not None:
            raise self._fault

    def finish(self, *, deliver: bool) -> None:
        """Make `run` return within a second: calls under way may end, what waits is delivered or dropped."""
        if self._finished is not None:
            self._finished.set()
            for runner in (*self._runners, *self._listeners):
                runner.finish(deliver=deliver)

    def _queue(self, handler: Handler) -> HandlerQueue:
        conflates = handler.topic is not None and handler.topic.kind in _CONFLATED_KINDS
        return HandlerQueue(
            FullPolicy.CONFLATE if conflates else FullPolicy.DROP_OLDEST,
            self._max_queue if conflates else self._max_queue * _HARD_FACTOR,
            partial(self._tell_loss, handler),
        )

    def _start(self, runner: Runner) -> None:
        task = asyncio.get_running_loop().create_task(runner.run(), name=f"agentexchange:{runner.handler.name}")
        self._tasks[task] = runner
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None and self._finished is not None:
            self._fault = task.exception()
            self.finish(deliver=False)

    def _route(self, topic: str) -> tuple[Runner, ...]:
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        self._routes[topic] = runners = tuple(runner for runner in self._runners if self._takes(runner, topic))
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


def _copy(fields: dict[str, Any]) -> dict[str, Any]:
    """A copy that shares nothing a handler could change: what upstream adds may be nested."""
    if any(type(value) in (dict, list) for value in fields.values()):
        return copy.deepcopy(fields)
    return fields.copy()

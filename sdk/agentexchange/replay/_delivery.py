"""Recorded events to handlers: one after the other, each to all of its handlers in turn, past their queues."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

from agentexchange._dispatch import copy_of
from agentexchange._meta import Origin
from agentexchange._runner import is_cancelled
from agentexchange_schemas import EnvelopeError, FeedStatus, Kind
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._states import inferred_live, shows_live, tells_scope
from ._thread import CallThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agentexchange._clock import Clock
    from agentexchange._dispatch import Dispatcher, Route
    from agentexchange._queue import Item
    from agentexchange._runner import Runner
    from agentexchange_schemas import Envelope, FeedState

    from ._control import ReplayControl
    from ._reader import Part

    _Call = tuple[Runner, Item]

__all__ = ["SOURCE", "Delivery"]

SOURCE: Final = "replayed"
"""`EventMeta.source` of what is replayed."""

_log: Final = logging.getLogger("agentexchange.replay")
_CANDLES: Final = f"{Kind.CANDLES}:"
_SLICE_S: Final = 0.005  # of loop time before others run
_monotonic: Final = time.monotonic


class Delivery:
    """Calls handlers: async ones here, sync ones on one thread, consecutive events for these in one go.

    Between two events it looks whether anything is wished for, or is being changed about the handlers, and then stops.

    Args:
        dispatcher: whose handlers.
        clock: is set to each event's time.
        control: whose wishes interrupt.
        is_concerned: whether to tell status handlers how a topic is.

    Attributes:
        events: that were given to handlers.
        last_us: ``r`` of the last event, whether or not it had a handler; None before the first.
    """

    def __init__(
        self, dispatcher: Dispatcher, clock: Clock, control: ReplayControl, *, is_concerned: Callable[[str], bool]
    ) -> None:
        self.events = 0
        self.last_us: int | None = None
        self._dispatcher = dispatcher
        self._clock = clock
        self._control = control
        self._is_concerned = is_concerned
        self._thread = CallThread("agentexchange:replay")
        self._states: dict[str, FeedState] = {}  # of the scopes, as they were told
        self._now_s = 0.0  # recorded time
        self._mark = 0.0  # when the last call ended, real time
        self._slice_end = 0.0

    def close(self) -> None:
        """Let the thread go. Idempotent."""
        self._thread.close()

    def forget(self) -> None:
        """Another time follows: nothing is known of the feed."""
        self._dispatcher.forget()
        self._states.clear()
        self.last_us = None

    def begin_at(self, at_us: int) -> None:
        """Until the first event the clock shows this."""
        self._clock.replayed_us = at_us

    @property
    def is_changing(self) -> bool:
        """Whether handlers or subscriptions are about to change."""
        return self._dispatcher.is_changing

    @property
    def is_interrupted(self) -> bool:
        """Whether something is to be done before the next event."""
        return self._control.has_wishes or self._dispatcher.is_changing

    async def deliver(self, part: Part, begin: int, end: int) -> int:
        """Deliver events ``begin`` to ``end`` of ``part``; returns the index of the first that was not.

        That is less than ``end`` where it was interrupted. An event is given to all of its handlers, or to none.
        """
        at, routes, envelopes, scope = begin, self._dispatcher.routes, part.envelopes, part.scope
        while at < end and not self.is_interrupted:
            envelope = envelopes[at]
            topic, stop = envelope.topic, end
            if topic == STATUS_TOPIC:
                await self._notice(scope, envelope)
                at += 1
                continue
            if scope not in self._states:
                if shows_live(envelope):
                    await self._infer(scope, envelope.received_us)
                    continue
                stop = at + 1
            route = routes.get(topic) or self._dispatcher.route(topic)
            if route.is_async:
                at = await self._on_loop(part, at, stop, route)
            elif route.is_sync:
                at = await self._thread.run(partial(self._on_thread, part, at, stop, route))
            else:
                await self._by_turns(scope, envelope, route)
                at += 1
        return at

    async def begin_with(self, statuses: Iterable[FeedStatus]) -> None:
        """Tell how the scopes are where the replay begins."""
        for status in statuses:
            await self._follow(status)

    async def tell(self, statuses: Iterable[FeedStatus], runners: Iterable[Runner]) -> None:
        """Give statements about the feed to status handlers."""
        told = list(runners)
        for status in statuses:
            await self._give([(runner, (status.topic or STATUS_TOPIC, status, None)) for runner in told])

    # Many events

    async def _on_loop(self, part: Part, begin: int, end: int, first: Route) -> int:
        """As long as events have async handlers only; ``first`` are those of the first one. Hot path."""
        scope, envelopes = part
        dispatcher, control, call = self._dispatcher, self._control, self._call
        routes, started = dispatcher.routes, self._begin
        self._mark = _monotonic()
        for at in range(begin, end):
            envelope = envelopes[at]
            topic, fields = envelope.topic, envelope.data
            route = routes.get(topic) if at > begin else first
            if at > begin and (route is None or not route.is_async or control.has_wishes or dispatcher.is_changing):
                return at
            started(envelope)
            if route:
                self.events += 1
                last = route[-1]
                for runner in route:
                    data = fields if runner is last else copy_of(fields)
                    origin = _origin(envelope, scope) if runner.wants_meta else None
                    await call(runner, (topic, data, origin))
            if self._mark > self._slice_end:
                await asyncio.sleep(0)
                self._mark = _monotonic()
                self._slice_end = self._mark + _SLICE_S
        return end

    def _on_thread(self, part: Part, begin: int, end: int, first: Route) -> int:
        """As long as events have sync handlers only; on the thread, while the loop may change the routes."""
        scope, envelopes = part
        routes, thread = self._dispatcher.routes, self._thread
        self._mark = _monotonic()
        for at in range(begin, end):
            envelope = envelopes[at]
            route = routes.get(envelope.topic) if at > begin else first
            if not route or not route.is_sync or (at > begin and self.is_interrupted):
                return at
            self._begin(envelope)
            if thread.is_abandoned:
                self._clock.replayed_us = None  # the replay has ended, while a handler had not
                return at
            self.events += 1
            for runner, item in _calls(route, envelope, scope):
                if thread.is_abandoned:
                    return at
                self._call_now(runner, item)
        return end

    # One event

    def _begin(self, envelope: Envelope) -> None:
        received_us = envelope.received_us
        self._clock.replayed_us = self.last_us = received_us
        self._now_s = received_us / 1_000_000
        self._dispatcher.arrivals[envelope.topic] = (self._now_s, envelope.data, envelope)

    async def _by_turns(self, scope: str, envelope: Envelope, route: Route) -> None:
        """Handlers of both kinds, in their order."""
        self._begin(envelope)
        self.events += 1
        await self._give(list(_calls(route, envelope, scope)))

    async def _infer(self, scope: str, received_us: int) -> None:
        """The first event of a scope of which no notice has told how it is."""
        self._clock.replayed_us = received_us
        await self._follow(inferred_live(scope, received_us))

    async def _notice(self, scope: str, envelope: Envelope) -> None:
        self._clock.replayed_us = self.last_us = envelope.received_us
        try:
            status = FeedStatus.from_fields(envelope.data | {"scope": scope})
        except EnvelopeError as exc:
            _log.warning("a notice that cannot be read is left out: %s", exc)
            return
        if envelope.epoch == 0 and not status.tells_state:  # of who read the log, and does not know how the feed was
            status = status.model_copy(update={"state": self._states.get(scope, status.state)})
        self.events += await self._follow(status)

    async def _follow(self, status: FeedStatus) -> bool:
        """Take a statement about the feed, and tell it whom it concerns; whether anybody was told."""
        self._dispatcher.take(status)
        if tells_scope(status) and status.scope is not None:
            self._states[status.scope] = status.state
        if status.topic is not None and status.tells_state and not self._is_concerned(status.topic):
            return False
        listeners = self._dispatcher.listeners
        await self.tell([status], listeners)
        return bool(listeners)

    async def _give(self, calls: list[_Call]) -> None:
        self._mark = _monotonic()
        for is_async, group in groupby(calls, key=lambda call: call[0].handler.is_async):
            if is_async:
                for runner, item in group:
                    await self._call(runner, item)
            else:
                await self._thread.run(partial(self._call_each, list(group)))

    def _call_each(self, calls: list[_Call]) -> None:
        for runner, item in calls:
            if not self._thread.is_abandoned:
                self._call_now(runner, item)

    # One call

    async def _call(self, runner: Runner, item: Item) -> None:
        topic, data, _ = item
        if runner.hides_forming and topic.startswith(_CANDLES) and data.get("is_closed") is False:
            return
        runner.delivered += 1
        runner.calls[topic] = self._now_s
        try:
            await (runner.function(data) if runner.is_plain else runner.function(*runner.arguments(item)))
        except asyncio.CancelledError as exc:
            if is_cancelled():
                raise
            runner.report(topic, exc)
        except Exception as exc:  # noqa: BLE001 - whatever a handler raises stops nothing
            runner.report(topic, exc)
        now = _monotonic()
        if now - self._mark > runner.slowest_s:  # noqa: PLR1730 - max() costs more than all the rest here
            runner.slowest_s = now - self._mark
        self._mark = now

    def _call_now(self, runner: Runner, item: Item) -> None:
        topic, data, _ = item
        if runner.hides_forming and topic.startswith(_CANDLES) and data.get("is_closed") is False:
            return
        runner.calls[topic] = self._now_s
        runner.call_now(item)
        now = _monotonic()
        if now - self._mark > runner.slowest_s:  # noqa: PLR1730 - max() costs more than all the rest here
            runner.slowest_s = now - self._mark
        self._mark = now


def _origin(envelope: Envelope, scope: str) -> Origin:
    return Origin(envelope, SOURCE, scope, envelope.received_us, envelope.received_us)


def _calls(route: tuple[Runner, ...], envelope: Envelope, scope: str) -> Iterator[_Call]:
    """Each handler with what it gets: a dict of its own."""
    topic, fields = envelope.topic, envelope.data
    for runner in route:
        data = fields if runner is route[-1] else copy_of(fields)
        yield runner, (topic, data, _origin(envelope, scope) if runner.wants_meta else None)

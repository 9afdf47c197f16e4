"""One session: reads every frame at once, answers pings, asks for topics, notices silence."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from agentexchange._tasks import end
from agentexchange_schemas import FrameError
from agentexchange_schemas.upstream import (
    PONG,
    Ack,
    EventFrame,
    Ping,
    Refusal,
    subscribe_request,
    unsubscribe_request,
)

from ._twins import Twins
from ._verdict import SessionFault

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from websockets.asyncio.client import ClientConnection

    from agentexchange_schemas import Topic
    from agentexchange_schemas.upstream import Message

    from ._options import FeedOptions, FeedSink
    from ._stats import FeedStats
    from ._subscriptions import Answer, Subscriptions

__all__ = ["Session", "SessionOwner"]

_SECOND_LOOK_S: Final = 0.05
"""Before a silence is believed: after a blocked event loop, the frames of that time are still to be read."""

_TURN_FRAMES: Final = 256
_UNKNOWN_ACTION: Final = "UNKNOWN_ACTION"


class SessionOwner(Protocol):
    """Who hears what a session finds out. Every method may be called more often than once."""

    def heard(self) -> None:
        """An ack, event or heartbeat came: the key is good. An error is no proof, it may be about the key."""

    def flowing(self) -> None:
        """An event or heartbeat came, or every request is answered: what should flow does, unless ticks are missed."""

    def ticked(self) -> None:
        """A tick came, the first of the session."""

    def answered(self, answer: Answer) -> None:
        """A topic was accepted, refused or left."""

    def refused(self, refusal: Refusal) -> None:
        """An error came that answers no request for a topic."""

    def tick_limit_s(self) -> float:
        """How long ``ticker:all`` may be without a tick."""

    def silent(self, since: float) -> None:
        """Ticks stopped at ``since`` (the feed's clock) though the connection is up."""

    def junk(self, error: FrameError) -> None:
        """A frame was junk."""


class Session:
    """Runs one open connection until it ends."""

    def __init__(
        self,
        connection: ClientConnection,
        subscriptions: Subscriptions,
        *,
        sink: FeedSink,
        owner: SessionOwner,
        stats: FeedStats,
        options: FeedOptions,
        parse: Callable[[bytes], Message],
    ) -> None:
        self._connection = connection
        self._subscriptions = subscriptions
        self._sink = sink
        self._owner = owner
        self._stats = stats
        self._options = options
        self._parse = parse
        self._twins = Twins()
        self._outbox: list[str] = []
        self._to_send = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._given_up: SessionFault | None = None
        self._proof = False
        self._is_ticking = False
        self._opened_at = self._last_tick_at = self._asked_at = options.clock()

    @property
    def is_proved(self) -> bool:
        """Whether it was healthy: events or heartbeats came, or all was answered and it stayed up a while."""
        stayed = self._options.clock() - self._opened_at >= self._options.healthy_after_s
        return self._proof or (stayed and self._subscriptions.is_answered)

    @property
    def last_heard_at(self) -> float:
        """When the last frame came, or else when it was opened (seconds of the feed's clock)."""
        return max(self._opened_at, self._stats.last_frame_at or self._opened_at)

    def has_settled(self, topic: Topic) -> bool:
        """Whether upstream has served or refused ``topic``; one that answers nothing is not waited for."""
        waited = self._options.clock() - self._asked_at
        return self._subscriptions.is_settled(topic) or waited >= self._options.answer_timeout_s

    async def run(self) -> Exception:
        """Return what ended the session: a closed connection, or a `SessionFault`."""
        self._subscriptions.begin()
        self.ask()
        if self._subscriptions.is_answered:
            self._owner.flowing()
        self._tasks = tasks = [self._start(self._read()), self._start(self._send()), self._start(self._watch())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return self._given_up or next(fault for task in tasks if task.done() and (fault := _fault(task)))
        finally:
            await end(tasks)
            await self._close()

    def give_up(self, fault: SessionFault) -> None:
        """End the session by ``fault``. From this call on it delivers nothing, not even what it has read already.

        Called from a task that is not the session's.
        """
        self._given_up = fault
        for task in self._tasks:
            task.cancel()
        # a clean close would wait behind the very frames that nobody wants
        self._connection.transport.abort()

    def ask(self) -> None:
        """Send the requests that are due."""
        for request in self._subscriptions.requests():
            self._asked_at = self._options.clock()
            build = subscribe_request if request.subscribe else unsubscribe_request
            self._outbox.append(build(request.topic))
        self._to_send.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    async def _read(self) -> None:
        """The hot path. `recv` returns without a pause while frames of the last read are left.

        So under a flood it would never let anything else run: every few frames the others get their turn.
        """
        receive, clock, parse, on_event = self._connection.recv, self._options.clock, self._parse, self._sink.on_event
        stats, subscriptions, is_second = self._stats, self._subscriptions, self._twins.is_second
        while True:
            raw = await receive(decode=False)
            if not stats.frames % _TURN_FRAMES:
                await asyncio.sleep(0)
            stats.frames += 1
            stats.bytes += len(raw)
            stats.last_frame_at = now = clock()
            try:
                message = parse(raw)
            except FrameError as error:
                self._owner.junk(error)
                continue
            if type(message) is not EventFrame:
                self._take(message)
                continue
            topic, fields = message
            if topic[0] == "t":  # a ticker
                self._last_tick_at = now
                if not self._is_ticking:
                    self._is_ticking = True
                    self._owner.ticked()
                if subscriptions.doubled and topic in subscriptions.doubled and is_second(topic, fields):
                    stats.folded_twins += 1
                    continue
            if not self._proof:
                self._prove()
            stats.events += 1
            on_event(topic, fields)

    def _take(self, message: object) -> None:
        match message:
            case Ping():
                self._stats.pings += 1
                self._prove()
                self._pong()
            case Ack():
                self._last_tick_at = self._options.clock()
                self._owner.heard()
                self._settle(self._subscriptions.acknowledged(message))
            case Refusal():
                self._refuse(message)

    def _prove(self) -> None:
        self._proof = True
        self._owner.heard()
        self._owner.flowing()

    def _pong(self) -> None:
        if PONG not in self._outbox:  # one is enough, and bounds the outbox against a server that does not read
            self._outbox.append(PONG)
            self._to_send.set()

    def _refuse(self, refusal: Refusal) -> None:
        # the documented dialect may not know our pong's second half: that is no answer to a request
        answer = None if refusal.code == _UNKNOWN_ACTION else self._subscriptions.refused(refusal)
        if answer is None:
            self._owner.refused(refusal)
        self._settle(answer)

    def _settle(self, answer: Answer | None) -> None:
        if answer is not None:
            self._owner.answered(answer)
        self._twins.keep(self._subscriptions.doubled)
        self.ask()
        if self._subscriptions.is_answered:
            self._owner.flowing()

    async def _send(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._outbox:
                await self._connection.send(self._outbox.pop(0))

    async def _watch(self) -> None:
        """End the session by a `SessionFault` when nothing comes any more."""
        while True:
            # not longer than the shorter bound: when ticks begin to be due is not known before
            await self._options.sleep(max(min(self._patience_s(), self._options.tick_bound_s), _SECOND_LOOK_S))
            if self._patience_s() > 0.0:
                continue
            await self._options.sleep(_SECOND_LOOK_S)
            if self._patience_s() > 0.0:
                continue
            if self._ticks_due_in_s() > 0.0:
                raise SessionFault(f"no message for {self._options.stale_after_s:g} s")
            limit = self._owner.tick_limit_s()
            self._owner.silent(self._last_tick_at)
            raise SessionFault(f"no tick for {limit:g} s, though every pair is subscribed")

    def _patience_s(self) -> float:
        """How much longer the session may stay as silent as it is."""
        message_due_in_s = self.last_heard_at + self._options.stale_after_s - self._options.clock()
        return min(message_due_in_s, self._ticks_due_in_s())

    def _ticks_due_in_s(self) -> float:
        if not self._subscriptions.holds_wildcard:
            return inf  # a quiet pair is no proof of death
        return self._last_tick_at + self._owner.tick_limit_s() - self._options.clock()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(2 * self._options.close_timeout_s):
                await self._connection.close()
        except TimeoutError:
            pass
        finally:
            self._connection.transport.abort()


def _fault(task: asyncio.Task[None]) -> Exception | None:
    """What ended the task; an error that must leave, leaves."""
    exc = task.exception()
    if exc is not None and not isinstance(exc, Exception):
        raise exc
    return exc

"""UpstreamPool: as many sessions as the wanted topics need, behind the interface of one."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from agentexchange._tasks import first_failure
from agentexchange.errors import AuthenticationError

from ._allocation import WILDCARD, Allocation, is_single
from ._auth import AuthJudge, AuthPolicy
from ._gate import StaggerGate
from ._handover import Handover
from ._lane import Lane, LaneSink
from ._lanes import Lanes
from ._moves import Step
from ._options import FeedOptions, PoolOptions
from ._pool_voice import PoolVoice
from ._routes import Routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import SecretStr

    from agentexchange._urls import UpstreamUrl
    from agentexchange_schemas import FeedStatus, Topic
    from agentexchange_schemas.upstream import Refusal

    from ._moves import Move
    from ._options import FeedSink
    from ._stats import PoolStats
    from ._subscriptions import Answer

__all__ = ["UpstreamPool"]

_log: Final = logging.getLogger("agentexchange.upstream")
_LIMIT_CODE: Final = "SUBSCRIPTION_LIMIT"


class UpstreamPool:
    """Takes topics and delivers their events, as `UpstreamFeed` does, over as many sessions as that needs.

    Each topic's events come from the session that holds it. Many single tickers are taken as ``ticker:all``; of what
    that brings, the wanted symbols are delivered. A change of session loses no event and doubles none: where that
    cannot be made sure, it is told with the cause ``overlap``.

    Every method is called on the event loop's thread; ``stats`` may be read at any time, on any.
    """

    def __init__(
        self,
        url: UpstreamUrl,
        api_key: SecretStr,
        *,
        sink: FeedSink,
        topics: Iterable[Topic] = (),
        auth: AuthPolicy | AuthJudge,
        options: FeedOptions | None = None,
        on_answer: Callable[[], None] = lambda: None,
        pool: PoolOptions | None = None,
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._sink = sink
        self._judge = AuthJudge(auth) if isinstance(auth, AuthPolicy) else auth
        self._options = options or FeedOptions()
        self._on_answer = on_answer
        self._pool = pool or PoolOptions()
        self._allocation = Allocation(
            max_lanes=self._pool.max_sessions,
            capacity=self._pool.subscriptions,
            fold_from=self._pool.fold_from,
        )
        self._handover = Handover(sink, self, limit=self._pool.max_overlap)
        self._moves = self._handover.moves
        self._lanes = Lanes(self._new_lane)
        self._routes = Routes(sink, self._allocation, self._handover, self._lanes, private=self._pool.private)
        self._voice = PoolVoice(self._routes.topics_of, self.now)
        self._gate = StaggerGate(self._pool.stagger_s, self._options)
        self._limit_words = ""
        self._group: asyncio.TaskGroup | None = None
        self._timers: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()
        for topic in topics:
            self._allocation.want(topic)

    @property
    def stats(self) -> PoolStats:
        """Counters since the pool was built, as they are now."""
        unclaimed = self._routes.unclaimed + self._handover.repeats
        total = self._lanes.stats()
        total.state, total.ambiguous = self._voice.state, self._handover.ambiguous
        total.unclaimed = unclaimed
        total.events -= unclaimed
        return total

    async def run(self) -> None:
        """Keep the sessions up until `stop`. Called once.

        Raises:
            AuthenticationError: the key is refused, and the policy calls that final.
            ConnectionError: no session was ever open, and retrying cannot mend the fault.
        """
        fault: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._work()
        except BaseExceptionGroup as failures:
            fault = first_failure(failures)
        if isinstance(fault, AuthenticationError):
            self._tell(self._voice.key_refused())
        if fault is not None:
            raise fault

    async def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                self._changed.clear()
                self._settle()
                await self._changed.wait()
        finally:
            self._stopped.set()

    def subscribe(self, topic: Topic, *, optional: bool = False) -> None:
        """Want ``topic``. Idempotent; asks again for a refused one.

        Args:
            topic: the topic.
            optional: have it only where there is room. Whether it is had, `holds` says; the sink is told where
                upstream refuses it, but not where it is left out.
        """
        if not self._allocation.want(topic, optional=optional):
            return
        if (owner := self._routes.owner(topic)) is not None:
            self._tell(self._voice.moved(str(topic), owner))
        self.rethink()

    def unsubscribe(self, topic: Topic) -> None:
        """Want ``topic`` no more. Idempotent."""
        self._allocation.unwant(topic)
        self._voice.forget(str(topic))
        self._moves.unwanted(str(topic))
        self.rethink()

    def holds(self, topic: Topic) -> bool:
        """Whether upstream has acknowledged ``topic``, or what it rides on."""
        return self._routes.holds(topic)

    def has_settled(self, topic: Topic) -> bool:
        """Whether the sessions are past upstream's answer for ``topic``: what it serves comes from here on.

        So it is where there is nothing to wait for: for a topic that has no place, and one whose session cannot be
        opened while others are.
        """
        return not self._stopped.is_set() and self._routes.has_settled(topic)

    def silent_s(self) -> float | None:
        """How long ago the most silent of the present sessions was last heard; None where there is none."""
        return self._lanes.silent_s()

    def renew(self, message: str) -> None:
        """Replace the present sessions, one after the other.

        Nothing that they received is delivered after this call. That is told as blind.

        Args:
            message: why, for people.
        """
        self._moves.forget()
        self._lanes.forget_routes()
        for lane in tuple(self._lanes.values()):
            lane.renew(message)

    def stop(self) -> None:
        """Make `run` return: ends waits at once, and the sessions with a clean close that has a deadline."""
        self._stopped.set()
        self._changed.set()
        self._lanes.stop()
        for timer in self._timers:
            timer.cancel()

    # What lanes find out

    def began(self, lane: Lane) -> None:
        """A lane has a new session, which is about to ask for its topics."""
        self._lanes.began(lane.number)
        self._allocation.began(lane.number)
        self._moves.asked(lane.number)
        self._changed.set()

    def answered(self, lane: Lane, answer: Answer) -> None:
        """A topic was accepted, refused or left."""
        if lane.number not in self._lanes:
            return
        if not answer.subscribed:
            self._left(lane, answer.topic)
        elif answer.refusal is None:
            if self._allocation.allowed(answer.topic, lane.number):
                lane.subscribe(answer.topic)
            self._served(lane, answer.topic)
        else:
            self._refused(lane, answer.topic, answer.refusal)
        self._changed.set()

    def lost(self, lane: Lane) -> None:
        """A lane's session has ended; the lane will open another. Topics that were to be left are left by that."""
        number, allocation = lane.number, self._allocation
        if self._stopped.is_set() or number not in self._lanes:
            return
        heard = self._time_of(lane.last_heard_at)
        self._moves.lost_by_new(number)
        for move in self._moves.lost_by_old(number):
            self._handover.end(move, heard=heard)
        for wire in [wire for wire in allocation.leaving[number] if not self._moves.on(number, wire)]:
            lane.unsubscribe(wire)
            allocation.released(wire, number)
        self.rethink()

    def unreached(self, lane: Lane, message: str) -> None:
        """An attempt to open a session failed."""
        if lane.number in self._lanes:
            self._allocation.unreached.add(lane.number)
            self._tell(self._voice.unreached(lane.number, message))
            self._on_answer()

    def was_ever_open(self) -> bool:
        """Whether any lane has had a session."""
        return self._lanes.were_ever_up

    # What a handover finds out

    def moved(self, move: Move) -> None:
        """The new lane of a move delivers from now on."""
        self._lanes.forget_routes()
        if move.new is not None:
            self._tell(self._voice.moved(str(move.topic), move.new))

    def rethink(self) -> None:
        """Who delivers what has changed, or something else may be due."""
        self._lanes.forget_routes()
        self._changed.set()

    def now(self) -> datetime:
        """Wall time."""
        return self._time_of(self._options.clock())

    def _said(self, number: int, status: FeedStatus) -> None:
        if number in self._lanes:
            self._tell(self._voice.said(number, status))

    # Answers

    def _served(self, lane: Lane, wire: Topic) -> None:
        if self._allocation.places.get(wire) != lane.number:
            return
        served = self._moves.served(lane.number, wire)
        for move in served:
            if not self._lanes[move.old].is_up:
                self._handover.end(move)
        for topic in self._allocation.wanted:
            if self._allocation.wire_of(topic) == wire and self._routes.owner(topic) == lane.number:
                self._tell(self._voice.served(str(topic)))
        if served:
            self._later(self._pool.proof_s, partial(self._handover.prove, served))

    def _refused(self, lane: Lane, wire: Topic, refusal: Refusal) -> None:
        words = f"{refusal.code}: {refusal.message}"
        if wire == WILDCARD:
            self._keep_singles(lane)
        if refusal.code == _LIMIT_CODE:
            self._limit_words = words
            self._moves.unbind(wire, lane.number)
            self._allocation.limited(wire, lane.number, lane.held)
        else:
            self._no_move_to(wire)
            self._allocation.refuse(wire, lane.number)
        lane.unsubscribe(wire)
        if wire not in self._allocation.refused:
            _log.info("a session takes %d subscriptions: %s", self._allocation.capacity, words)
            return
        lane.stats.refused_topics += 1
        is_optional = self._allocation.wanted.get(wire) is False
        _log.log(logging.INFO if is_optional else logging.WARNING, "upstream refuses %s: %s", wire, words)
        if wire in self._allocation.wanted:
            self._tell(self._voice.unavailable(str(wire), words))

    def _keep_singles(self, lane: Lane) -> None:
        """Before the session leaves them for a wildcard that it does not get."""
        for topic in [topic for topic in self._allocation.leaving[lane.number] if topic in self._allocation.wanted]:
            if is_single(topic) and self._moves.get(str(topic)) is None:
                lane.subscribe(topic)
                self._allocation.kept(topic, lane.number)

    def _no_move_to(self, wire: Topic) -> None:
        """Upstream does not serve ``wire``: what was to move there stays, where there is anything to stay with."""
        for move in [move for move in self._moves if move.new_wire == wire]:
            self._moves.drop(move)
            if wire == WILDCARD and move.step < Step.LEAVING:
                self._allocation.kept(move.old_wire, move.old)

    def _left(self, lane: Lane, wire: Topic) -> None:
        for move in self._moves.on(lane.number, wire):
            self._handover.end(move)
        self._allocation.released(wire, lane.number)
        self._changed.set()

    # Carrying out what is decided

    def _settle(self) -> None:
        decision = self._allocation.decide(is_moving=self._moves.is_busy)
        for number in decision.opened:
            self._open(number)
        for wire, number in decision.left:
            self._begin_moves(wire, number)
        for wire, number in decision.placed:
            self._lanes[number].subscribe(wire)
        for wire, number in decision.sacrificed:
            self._sacrifice(wire, number)
        self._bind_moves()
        self._leave()
        for number in decision.closed:
            self._close(number)
        self._lanes.forget_routes()
        for wire, number in decision.placed:
            self._tell(self._voice.moved(str(wire), number) if wire in self._allocation.wanted else [])
        self._tell_no_room(decision.without_room)
        if decision.left or decision.without_room:
            self._on_answer()

    def _open(self, number: int) -> None:
        assert self._group is not None  # noqa: S101 - decisions are carried out within `run`
        self._tell(self._voice.opened(number))
        self._lanes.open(number, self._group)

    def _new_lane(self, number: int) -> Lane:
        return Lane(
            self._url,
            self._api_key,
            sink=LaneSink(
                partial(self._routes.taker, number),
                on_status=partial(self._said, number),
                on_junk=self._sink.on_junk,
            ),
            auth=self._judge,
            options=self._options,
            on_answer=self._on_answer,
            number=number,
            owner=self,
            gate=self._gate,
        )

    def _close(self, number: int) -> None:
        self._lanes.close(number)
        self._tell(self._voice.closed(number))

    def _begin_moves(self, wire: Topic, number: int) -> None:
        """``wire`` is not to stay where it is: what is wanted of it goes elsewhere before it is left."""
        for topic, new_wire in self._allocation.elsewhere(wire):
            self._moves.begin(topic, old=number, old_wire=wire, new_wire=new_wire, now=self.now())

    def _sacrifice(self, wire: Topic, number: int) -> None:
        """Leave ``wire`` before there is another way to have it."""
        if self._moves.get(str(wire)) is not None:
            self._moves.unwanted(str(wire))
            self._tell(self._voice.blind(str(wire), self.now()))
        self._unsubscribe(wire, number)

    def _bind_moves(self) -> None:
        """Say to moves that wait for a place which it is."""
        for wire in {move.new_wire for move in self._moves if move.new is None} & self._allocation.places.keys():
            number = self._allocation.places[wire]
            self._moves.bind(wire, number)
            lane = self._lanes[number]
            if lane.is_up:
                self._moves.asked(number, wire)
            if lane.holds(wire):
                self._served(lane, wire)

    def _leave(self) -> None:
        """End the subscriptions that are not to stay and whose symbols, if any, are served elsewhere."""
        for wire, number in self._moves.due():
            leaving = self._moves.on(number, wire)
            self._later(self._options.answer_timeout_s, partial(self._handover.end_all, leaving))
            self._unsubscribe(wire, number)
        used = {(move.old_wire, move.old) for move in self._moves if move.step is not Step.ENDED}
        for number, wires in self._allocation.leaving.items():
            for wire in [wire for wire in wires if (wire, number) not in used]:
                self._unsubscribe(wire, number)

    def _unsubscribe(self, wire: Topic, number: int) -> None:
        lane = self._lanes[number]
        lane.unsubscribe(wire)
        if not lane.concerns(wire):
            self._left(lane, wire)

    def _later(self, delay: float, act: Callable[[], None]) -> None:
        assert self._group is not None  # noqa: S101 - moves are made within `run`

        async def wait() -> None:
            await self._options.sleep(delay)
            act()

        if not self._stopped.is_set():
            timer = self._group.create_task(wait(), name="move")
            self._timers.add(timer)
            timer.add_done_callback(self._timers.discard)

    # Telling

    def _tell(self, statuses: Iterable[FeedStatus]) -> None:
        for status in statuses:
            self._sink.on_status(status)

    def _tell_no_room(self, wires: list[Topic]) -> None:
        if not wires:
            return
        of_wires = [topic for topic in self._allocation.wanted if self._allocation.wire_of(topic) in wires]
        full = f"no room: {self._pool.max_sessions} sessions of {self._allocation.capacity} subscriptions are full"
        message = f"{full} ({self._limit_words})" if self._limit_words else full
        _log.warning("%d topics are left out: %s", len(of_wires), message)
        for topic in of_wires:
            self._tell(self._voice.unavailable(str(topic), message))

    def _time_of(self, at: float) -> datetime:
        """Wall time of a moment of the feed's clock."""
        return datetime.fromtimestamp(self._options.wall() - (self._options.clock() - at), UTC)

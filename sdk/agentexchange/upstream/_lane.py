"""One lane of a pool: a session kept up, which takes its turn at the gate and reports to its pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from ._feed import UpstreamFeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

    from agentexchange_schemas import FeedStatus, FrameError, Topic

    from ._gate import StaggerGate
    from ._session import Session
    from ._subscriptions import Answer
    from ._verdict import Verdict

__all__ = ["Lane", "LaneOwner", "LaneSink", "Take"]

_MAX_ROUTES: Final = 8192

Take: TypeAlias = "Callable[[str, dict[str, Any]], None]"


class LaneOwner(Protocol):
    """Who hears what becomes of a lane. Every method is synchronous."""

    def began(self, lane: Lane) -> None:
        """It has a new session, which is about to ask for its topics."""

    def answered(self, lane: Lane, answer: Answer) -> None:
        """A topic was accepted, refused or left."""

    def lost(self, lane: Lane) -> None:
        """Its session has ended, and has delivered all that it will."""

    def unreached(self, lane: Lane, message: str) -> None:
        """An attempt to open a session failed."""

    def was_ever_open(self) -> bool:
        """Whether any lane has had a session."""


class Lane(UpstreamFeed):
    """Arguments beyond those of `UpstreamFeed`: its ``number``, its ``owner``, and the ``gate`` of all lanes.

    Its ``sink`` keeps the routes of its events.

    Attributes:
        is_up: whether it has a session.
        is_unreached: whether the last attempt to open one failed.
    """

    def __init__(
        self, *args: Any, sink: LaneSink, number: int, owner: LaneOwner, gate: StaggerGate, **kwargs: Any
    ) -> None:
        super().__init__(*args, sink=sink, **kwargs)
        self._routes = sink
        self.number = number
        self.is_up = self.is_unreached = False
        self._owner = owner
        self._gate = gate

    def concerns(self, topic: Topic) -> bool:
        """Whether the session holds ``topic``, or an answer about it is under way."""
        return self.is_up and self._subscriptions.concerns(topic)

    @property
    def held(self) -> int:
        """How many topics upstream has acknowledged on the present session."""
        return self._subscriptions.held

    @property
    def last_heard_at(self) -> float:
        """When the present session was last heard, or now (seconds of the feed's clock)."""
        return self._options.clock() if self._session is None else self._session.last_heard_at

    def forget_routes(self) -> None:
        """Who takes its events has changed."""
        self._routes.clear()

    def answered(self, answer: Answer) -> None:
        """A topic was accepted, refused or left."""
        if not answer.subscribed:
            super().answered(answer)
        elif answer.refusal is not None:
            answer = answer._replace(refusal=self._masked(answer.refusal))
        self._owner.answered(self, answer)
        self._on_answer()

    async def _one_session(self) -> Exception:
        await self._gate.passed()
        try:
            return await super()._one_session()
        finally:
            if self.is_up:
                self.is_up = False
                self._owner.lost(self)

    def _new_session(self, connection: ClientConnection) -> Session:
        self.is_up, self.is_unreached = True, False
        self._owner.began(self)
        return super()._new_session(connection)

    def _tell_loss(self, fault: Exception, found: Verdict, message: str) -> None:
        super()._tell_loss(fault, found, message)
        if self._session is None:
            self.is_unreached = True
            self._owner.unreached(self, message)

    def _was_ever_open(self) -> bool:
        return self._owner.was_ever_open()


class LaneSink(dict[str, Take]):
    """A lane's `FeedSink`: knows for each topic who takes its events. The hot path: a look-up and a call.

    Args:
        find: who takes a topic's events from this lane; asked once, until `clear`.
        on_status: takes the lane's statuses.
        on_junk: takes its junk.
    """

    def __init__(
        self,
        find: Callable[[str], Take],
        *,
        on_status: Callable[[FeedStatus], None],
        on_junk: Callable[[FrameError], None],
    ) -> None:
        super().__init__()
        self._find = find
        self.on_status = on_status
        self.on_junk = on_junk

    def __missing__(self, topic: str) -> Take:
        if len(self) >= _MAX_ROUTES:
            self.clear()
        self[topic] = take = self._find(topic)
        return take

    def on_event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event."""
        self[topic](topic, fields)

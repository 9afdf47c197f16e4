"""Which topics are wanted, asked for, held and refused on one session: state only, no I/O.

Errors name no channel, so they are matched to requests by order; acks go by the name they carry. A symbol is not
subscribed both ways: while ``ticker:all`` is wanted, single tickers ride on it. When that changes on a live session,
the new way is subscribed first and the old one left once the new is acknowledged, so that nothing is missed; between
the two acks each tick comes twice (`doubled`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange_schemas import ALL, Kind, Topic, TopicError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas.upstream import Ack, Refusal

__all__ = ["Answer", "Request", "Subscriptions"]

_WILDCARD: Final = Topic.ticker(ALL)
_LIMIT_CODE: Final = "SUBSCRIPTION_LIMIT"


class Request(NamedTuple):
    """Something to send: subscribe or unsubscribe a topic."""

    subscribe: bool
    topic: Topic


class Answer(NamedTuple):
    """What an answer of upstream says about a topic that was asked for, or, not ``subscribed``, that was left."""

    topic: Topic
    refusal: Refusal | None
    subscribed: bool = True


class Subscriptions:
    """The wanted topics outlive sessions; what is asked, held and refused belongs to one session."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self._wanted = dict.fromkeys(topics)
        self.doubled: frozenset[str] = frozenset()
        """Topics, as text, whose ticks come twice at this point of the stream."""
        self.begin()

    def begin(self) -> None:
        """Start a new session: nothing is asked for yet."""
        self._pending: deque[Request] = deque()
        self._held: dict[Topic, None] = {}
        self._refused: dict[Topic, Refusal] = {}
        self._kept: set[Topic] = set()
        self._changed()

    def want(self, topic: Topic) -> None:
        """Want ``topic``; one that was refused on this session is asked for again."""
        self._wanted[topic] = None
        self._refused.pop(topic, None)

    def unwant(self, topic: Topic) -> None:
        """Want ``topic`` no more."""
        self._wanted.pop(topic, None)

    @property
    def is_answered(self) -> bool:
        """Whether upstream has answered every request."""
        return not self._pending

    @property
    def holds_wildcard(self) -> bool:
        """Whether ``ticker:all`` is acknowledged: then silence is a fault."""
        return _WILDCARD in self._held

    @property
    def held(self) -> int:
        """How many topics upstream has acknowledged."""
        return len(self._held)

    def holds(self, topic: Topic) -> bool:
        """Whether ``topic`` itself is acknowledged."""
        return topic in self._held

    def concerns(self, topic: Topic) -> bool:
        """Whether ``topic`` is held, or an answer about it is under way."""
        return topic in self._held or any(request.topic == topic for request in self._pending)

    def is_settled(self, topic: Topic) -> bool:
        """Whether upstream has served or refused ``topic`` (or what it rides on), and nothing about it is under way."""
        rides = topic.kind is Kind.TICKER and topic not in self._target()
        asked = _WILDCARD if rides else topic
        is_answered = asked in self._held or asked in self._refused
        return is_answered and all(request.topic != asked for request in self._pending)

    def requests(self) -> list[Request]:
        """What is to be sent now; it counts as sent."""
        target, coming = self._target(), self._coming()
        new = [Request(subscribe=True, topic=topic) for topic in target if topic not in coming | self._refused.keys()]
        self._pending.extend(new)
        switching = any(request.subscribe and request.topic.kind is Kind.TICKER for request in self._pending)
        for topic in coming:
            surplus = topic not in target and topic not in self._kept
            if surplus and not (switching and topic.kind is Kind.TICKER):
                new.append(Request(subscribe=False, topic=topic))
                self._pending.append(new[-1])
        return new

    def acknowledged(self, ack: Ack) -> Answer | None:
        """Take an ack; None where nothing like it was asked.

        An ack of a topic that counts as refused shows that the error before it was about something else.
        """
        request = self._take(ack) or self._wrongly_refused(ack)
        if request is None:
            return None
        if request.subscribe:
            self._held[request.topic] = None
        else:
            self._held.pop(request.topic, None)
            self._retry_what_the_limit_refused()
        self._changed()
        return Answer(request.topic, None, request.subscribe)

    def refused(self, refusal: Refusal) -> Answer | None:
        """Take an error; None where it answers no subscription."""
        if not self._pending:
            return None
        request = self._pending.popleft()
        if not request.subscribe:
            self._kept.add(request.topic)
            return Answer(request.topic, refusal, subscribed=False)
        self._refused[request.topic] = refusal
        return Answer(request.topic, refusal)

    def _target(self) -> list[Topic]:
        """The wanted topics as they are to be subscribed."""
        rides = _WILDCARD in self._wanted and _WILDCARD not in self._refused
        return [topic for topic in self._wanted if not (rides and topic.kind is Kind.TICKER and not topic.is_wildcard)]

    def _coming(self) -> dict[Topic, None]:
        """What will be held once everything pending is acknowledged."""
        coming = dict(self._held)
        for request in self._pending:
            if request.subscribe:
                coming[request.topic] = None
            else:
                coming.pop(request.topic, None)
        return coming

    def _take(self, ack: Ack) -> Request | None:
        alike = [request for request in self._pending if request.subscribe == ack.subscribed]
        named = [request for request in alike if str(request.topic) == ack.channel]
        if not named and _names_a_topic(ack.channel):
            return None
        request = next(iter(named or alike), None)
        if request is not None:
            self._pending.remove(request)
        return request

    def _wrongly_refused(self, ack: Ack) -> Request | None:
        topic = next((topic for topic in self._refused if str(topic) == ack.channel), None)
        if topic is None or not ack.subscribed:
            return None
        del self._refused[topic]
        return Request(subscribe=True, topic=topic)

    def _retry_what_the_limit_refused(self) -> None:
        for topic in [topic for topic, refusal in self._refused.items() if refusal.code == _LIMIT_CODE]:
            del self._refused[topic]

    def _changed(self) -> None:
        tickers = [topic for topic in self._held if topic.kind is Kind.TICKER and topic != _WILDCARD]
        self.doubled = frozenset(map(str, tickers)) if _WILDCARD in self._held else frozenset()


def _names_a_topic(channel: str) -> bool:
    """Whether the answer says what it is about; the documented dialect may call a channel by another name."""
    try:
        return str(Topic.parse(channel)) == channel
    except TopicError:
        return False

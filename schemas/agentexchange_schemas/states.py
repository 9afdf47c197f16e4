"""How a scope, its kinds of events and its topics are: from the statuses that are told, or from the status hash.

A topic's state is its own exception, if it has one, else its kind's, else the scope's. While the feed itself is away,
that explains every topic, and the scope's state is everybody's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._text import iso_utc, to_datetime
from .errors import TopicError
from .status import FeedState, FeedStatus
from .topics import Kind, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

__all__ = ["KINDS_FIELD", "MAX_TOPIC_STATES", "TOPIC_STATES_FIELD", "ScopeStates", "TopicState"]

KINDS_FIELD: Final = "kinds"
TOPIC_STATES_FIELD: Final = "topic_states"

MAX_TOPIC_STATES: Final = 200
"""Exceptions that a status hash names; the oldest, where there are more."""

MAX_STATES_CHARACTERS: Final = 256 * 1024
_MAX_MESSAGE: Final = 160  # characters of an exception's message
_CONNECTED: Final = (FeedState.LIVE, FeedState.STALE)
_INHERITED: Final = (FeedState.STALE, FeedState.BLIND)  # by candles from their ticks
_PARTS: Final = 4  # of an exception in the hash


class TopicState(NamedTuple):
    """How a topic, a kind or a scope is.

    Attributes:
        state: the state.
        since: since when; None where that is not known.
        cause: why, one of `Cause` or a later word.
        message: one sentence for people.
    """

    state: FeedState
    since: datetime | None = None
    cause: str | None = None
    message: str | None = None

    @classmethod
    def of(cls, status: FeedStatus) -> TopicState:
        """What a status says; one that ends a span is true since the span's end."""
        began = status.since if status.until is None else status.until
        return cls(status.state, began, status.cause, status.message)


@dataclass(slots=True)
class ScopeStates:
    """One scope, or a feed that has none.

    Attributes:
        own: the scope's own state; None before it is known.
        kinds: of its kinds, where they are told apart.
        topics: exceptions, by topic.
    """

    own: TopicState | None = None
    kinds: dict[Kind, TopicState] = field(default_factory=dict)
    topics: dict[str, TopicState] = field(default_factory=dict)
    _connected: datetime | None = None

    def of(self, topic: Topic) -> TopicState:
        """How ``topic`` is."""
        own = self.own or TopicState(FeedState.CONNECTING)
        if own.state not in _CONNECTED:
            return own
        return self._exception(topic) or self.kinds.get(topic.kind) or self._of_kind(topic, own)

    def take(self, status: FeedStatus) -> None:
        """Follow a status; one that tells what was lost changes nothing."""
        if not status.tells_state:
            return
        if status.topic is not None:
            self._take_topic(status.topic, TopicState.of(status))
        else:
            self._take_own(TopicState.of(status))

    def _take_own(self, state: TopicState) -> None:
        was = self.own
        if was is None or was.state is not state.state:
            self.own = state
            self.kinds.clear()
        if was is None or was.state not in _CONNECTED:
            self._connected = state.since

    def _take_topic(self, topic: str, state: TopicState) -> None:
        if state.state is FeedState.LIVE:
            self.topics.pop(topic, None)
        else:
            self.topics[topic] = state

    def _exception(self, topic: Topic) -> TopicState | None:
        own = self.topics.get(str(topic))
        if own is not None or topic.kind is not Kind.CANDLES:
            return own
        ticks = self.topics.get(f"{Kind.TICKER}:{topic.symbol}")
        return ticks if ticks is not None and ticks.state in _INHERITED else None

    def _of_kind(self, topic: Topic, own: TopicState) -> TopicState:
        """Orders and portfolio have no ticks to miss: they are as live as the connection."""
        if topic.is_private and own.state is FeedState.STALE:
            return TopicState(FeedState.LIVE, self._connected)
        return own

    # As fields of the status hash

    def to_fields(self, kinds: Iterable[Kind]) -> dict[str, str]:
        """``kinds`` and ``topic_states`` as JSON; what is no exception is left out of the latter."""
        known = {kind: self.kinds.get(kind) or self.own for kind in kinds}
        named = list(self.topics.items())[:MAX_TOPIC_STATES]
        return {
            KINDS_FIELD: _json({kind: [state.state, _iso(state.since)] for kind, state in known.items() if state}),
            TOPIC_STATES_FIELD: _json({topic: _parts(state) for topic, state in named}),
        }

    @classmethod
    def from_fields(cls, own: TopicState | None, fields: Mapping[str, str]) -> ScopeStates:
        """Read what `to_fields` wrote. What is malformed, and what a later version adds, is left out."""
        kinds = {Kind(name): state for name, state in _read(fields.get(KINDS_FIELD)) if name in tuple(Kind)}
        topics = {name: state for name, state in _read(fields.get(TOPIC_STATES_FIELD)) if _is_topic(name)}
        return cls(own, kinds, topics)


def _parts(state: TopicState) -> list[str | None]:
    message = None if state.message is None else state.message[:_MAX_MESSAGE]
    return [state.state, _iso(state.since), state.cause, message]


def _iso(time: datetime | None) -> str | None:
    return None if time is None else iso_utc(time)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _read(text: str | None) -> Iterator[tuple[str, TopicState]]:
    if not text or len(text) > MAX_STATES_CHARACTERS:
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for name, parts in value.items() if isinstance(value, dict) else ():
        state = _state(parts)
        if state is not None:
            yield name, state


def _state(parts: Any) -> TopicState | None:
    if not isinstance(parts, list) or not parts or any(part is not None and type(part) is not str for part in parts):
        return None
    state, since, cause, message = (*parts, None, None, None)[:_PARTS]
    if state not in tuple(FeedState):
        return None
    return TopicState(FeedState(state), to_datetime(since), cause, message)


def _is_topic(text: str) -> bool:
    try:
        return str(Topic.parse(text)) == text
    except TopicError:
        return False

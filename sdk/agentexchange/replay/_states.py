"""How the scopes were at a moment: by the last notices before it, and where there is none by their events. Pure.

A replay tells what was known then; the inspector, which shows the past, also counts what was found out later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import utc_of
from agentexchange.recording import received_of, topic_of
from agentexchange_schemas import EnvelopeError, FeedState, FeedStatus, Kind, ScopeStates
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import Envelope, TopicState

__all__ = ["in_force", "inferred_live", "notices_before", "shows_live", "tells_scope"]

_CANDLES: Final = f"{Kind.CANDLES}:"
_INFERRED: Final = "no notice tells how the feed was: it is taken as live from its first event on"


def notices_before(scope: str, raws: Iterable[bytes], before_us: int) -> list[FeedStatus]:
    """The notices among envelopes, in their order, up to that moment; what is no envelope is left out."""
    found = []
    for raw in raws:
        try:
            if topic_of(raw) == STATUS_TOPIC and received_of(raw) < before_us:
                found.append(FeedStatus.from_fields(decode(raw).data | {"scope": scope}))
        except EnvelopeError:
            continue
    return found


def tells_scope(status: FeedStatus) -> bool:
    """Whether a notice says how its scope is."""
    return status.topic is None and status.tells_state


def in_force(scope: str, notices: Iterable[FeedStatus]) -> list[FeedStatus]:
    """What holds behind ``notices``: the scope's state, if one told it, and the topics with a state of their own."""
    states = ScopeStates()
    for status in notices:
        states.take(status)
    own = [] if states.own is None else [_status(scope, None, states.own)]
    return own + [_status(scope, topic, state) for topic, state in states.topics.items()]


def shows_live(event: Envelope) -> bool:
    """Whether an event proves that its scope is live: candles are closed on the clock, in blind spans as well."""
    return not (event.topic.startswith(_CANDLES) and event.data.get("complete") is False)


def inferred_live(scope: str, received_us: int) -> FeedStatus:
    """The state of a scope of which only events are known, the first of them received then."""
    return FeedStatus(scope=scope, state=FeedState.LIVE, since=utc_of(received_us), message=_INFERRED)


def _status(scope: str, topic: str | None, known: TopicState) -> FeedStatus:
    """As a client is told it that connects then: what ended with a live state is over."""
    is_live = known.state is FeedState.LIVE
    return FeedStatus(
        scope=scope,
        topic=topic,
        state=known.state,
        since=known.since or utc_of(0),
        cause=None if is_live else known.cause,
        message=None if is_live else known.message,
    )

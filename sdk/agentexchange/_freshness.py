"""Puts the answer of `AgentExchangeWS.freshness` together. Called on any thread; changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange_schemas import FeedState, TopicState
from agentexchange_schemas.events import event_time_ms

from ._clock import Clock
from .freshness import Freshness

if TYPE_CHECKING:
    from agentexchange_schemas import Topic

    from ._dispatch import Arrival, Dispatcher
    from ._transport import Outlook

__all__ = ["freshness_of"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_CONNECTED: Final = TopicState(FeedState.CONNECTING, message="the client is not connected")
_WORST_FIRST: Final = (
    FeedState.NO_BRIDGE,
    FeedState.AUTH_FAILED,
    FeedState.BLIND,
    FeedState.CONNECTING,
    FeedState.UNAVAILABLE,
    FeedState.STALE,
    FeedState.LIVE,
)


class _Times(NamedTuple):
    """Of the last event; None where they are not known."""

    upstream: datetime | None
    received: datetime | None
    written: datetime | None


def freshness_of(
    topic: Topic, dispatcher: Dispatcher, outlook: Outlook | None, clock: Clock | None = None
) -> Freshness:
    """How fresh ``topic`` is; ``outlook`` is the transport's, None while there is none."""
    steady, now = (clock or Clock()).reading()
    state = _NOT_CONNECTED if outlook is None else _worst(topic, dispatcher, outlook)
    arrival, called_at = dispatcher.last_arrival(topic), dispatcher.called_at(topic)
    times = _Times(None, None, None) if arrival is None else _times(arrival, now, steady)
    return Freshness(
        topic=str(topic),
        state=state.state,
        since=state.since,
        message=state.message,
        age_s=None if arrival is None else max(0.0, steady - arrival.at),
        upstream_time=times.upstream,
        received_time=times.received,
        written_time=times.written,
        delivered_time=None if called_at is None else _wall(called_at, now, steady),
        clock_difference_s=None if outlook is None else outlook.clock_difference_s,
        upstream_delay_s=None if outlook is None else outlook.upstream_delay_s,
    )


def _worst(topic: Topic, dispatcher: Dispatcher, outlook: Outlook) -> TopicState:
    """Of several scopes, which only the wildcard has."""
    states = [dispatcher.state_of(topic, scope) for scope in outlook.scopes]
    return min(states, key=lambda state: _WORST_FIRST.index(state.state))


def _times(arrival: Arrival, now: datetime, steady: float) -> _Times:
    envelope = arrival.envelope
    if envelope is None:
        return _Times(_upstream_time(arrival.fields), _wall(arrival.at, now, steady), None)
    upstream_ms = envelope.upstream_ms
    return _Times(
        None if upstream_ms is None else _utc(upstream_ms * 1000),
        _utc(envelope.received_us),
        None if envelope.written_us is None else _utc(envelope.written_us),
    )


def _upstream_time(fields: dict[str, Any]) -> datetime | None:
    """The fields are the handler's, too: what it has made of them is taken as it is."""
    upstream_ms = event_time_ms(fields)
    return None if upstream_ms is None else _utc(upstream_ms * 1000)


def _utc(microseconds: int) -> datetime:
    return _EPOCH + timedelta(0, 0, microseconds)


def _wall(at: float, now: datetime, steady: float) -> datetime:
    return now - timedelta(seconds=steady - at)

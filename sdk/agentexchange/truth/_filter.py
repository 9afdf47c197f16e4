"""The truth in a feed: between whoever delivers events and statuses and whoever takes them. Synchronous."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentexchange_schemas import FeedState

from ._account import AccountTruth

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange_schemas import FeedStatus

__all__ = ["TruthFilter"]

_Take: TypeAlias = "Callable[[str, dict[str, Any]], None]"

_ORDERS: Final = "orders"
_PORTFOLIO: Final = "portfolio"
_PRIVATE: Final = frozenset((_ORDERS, _PORTFOLIO))
_ABOUT: Final = frozenset((None, *_PRIVATE))
_AWAY: Final = frozenset((FeedState.BLIND, FeedState.AUTH_FAILED))
_THERE: Final = frozenset((FeedState.LIVE, FeedState.STALE))  # an account has no ticks to miss


def _now() -> datetime:
    return datetime.now(UTC)


class TruthFilter:
    """Takes what a feed delivers and hands it on, private events and blind spans by way of an `AccountTruth`.

    Nobody is asked: after each span a status says what may be missing.

    Args:
        on_event: takes the events.
        on_status: takes the statuses.
        now: the time (UTC).

    Attributes:
        on_event: takes one event.
    """

    def __init__(
        self,
        on_event: _Take,
        on_status: Callable[[FeedStatus], None],
        *,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.on_event = _branch(on_event, self._on_private)
        self._hand_on = on_event
        self._tell = on_status
        self._now = now
        self._truth = AccountTruth()
        self._away: set[str | None] = set()

    def on_status(self, status: FeedStatus) -> None:
        """The feed's state changed, or one topic's."""
        self._tell(status)
        if status.topic not in _ABOUT:
            return
        if status.state in _AWAY:
            self._away.add(status.topic)
            self._truth.blind(status.since)
        elif status.state in _THERE and self._away:
            self._away.discard(status.topic)
            if not self._away:
                self._sees_again(status.until or self._now())

    def _on_private(self, topic: str, fields: dict[str, Any]) -> None:
        told, status = (self._truth.order(fields), None) if topic == _ORDERS else self._truth.portfolio(fields)
        if told is not None:
            self._hand_on(topic, told)
        if status is not None:
            self._tell(status)

    def _sees_again(self, until: datetime) -> None:
        span = self._truth.seeing(until)
        if span is not None:
            self._tell(self._truth.unanswered(span))


def _branch(market: _Take, private: _Take) -> _Take:
    """The hot path: what market data pays is one look at the topic."""

    def on_event(topic: str, fields: dict[str, Any]) -> None:
        (private if topic in _PRIVATE else market)(topic, fields)

    return on_event

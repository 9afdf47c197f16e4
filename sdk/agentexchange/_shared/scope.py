"""The state of one scope as a shared client knows it: pure, the clock passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange_schemas import ALL, Cause, FeedState, FeedStatus, Kind, Topic, TopicError, TopicState

from .read import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from .commands import ScopeLook

__all__ = ["ScopeWatch", "concerns"]


def concerns(topic: str, wanted: Iterable[Topic]) -> bool:
    """Whether what is told of ``topic`` concerns who wants these: it, all tickers, or candles that its ticks make."""
    try:
        about = Topic.parse(topic)
    except TopicError:
        return False
    is_ticker = about.kind is Kind.TICKER
    made_from_it = {about.symbol, ALL} if is_ticker else set()
    return any(other == about or (is_ticker and other.symbol in made_from_it) for other in wanted)


class ScopeWatch:
    """Turns reports, heartbeats and silences into the changes that `on_status` handlers are told.

    Methods return what is to be told, or None where nothing changed.

    Attributes:
        scope: its name.
        state: as last known; None before anything is.
        is_leased: whether a bridge was last seen to hold the scope.
        ends: last entry ids of the log and of the candle log, as the last heartbeat named them.
        clock_offset_us: how far Redis's clock is ahead of the bridge's, as the bridge says; None: not known.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.state: FeedState | None = None
        self.is_leased = False
        self.ends: tuple[Any, Any] = (None, None)
        self.clock_offset_us: int | None = None
        self._topics: dict[str, TopicState] = {}
        self._told: dict[str, TopicState] = {}
        self._lost_since: datetime | None = None
        self._last_sign = float("-inf")

    @property
    def is_live(self) -> bool:
        """Whether a latest value may be handed out."""
        return self.is_leased and self.state is FeedState.LIVE

    def looked_at(self, report: FeedStatus | None, *, now: datetime, clock: float) -> FeedStatus | None:
        """The lease was looked at: ``report`` is the status of a held one, None where nobody holds it."""
        if report is None:
            self.is_leased = False
            return self._take(self._no_bridge(now), now)
        if not self.is_leased:
            self.is_leased, self._last_sign = True, clock
        return self._take(report, now)

    def heartbeat(self, data: Mapping[str, Any], *, now: datetime, clock: float) -> FeedStatus | None:
        """A heartbeat came.

        Raises:
            EnvelopeError: it is malformed.
        """
        self.is_leased, self._last_sign = True, clock
        self.ends = data.get("log_id"), data.get("candle_log_id")
        offset = data.get("clock_offset_us")
        self.clock_offset_us = offset if type(offset) is int else None
        if self.state is not None and data.get("state") == self.state:  # the ordinary beat: no model is built for it
            return None
        return self._take(status_of(self.scope, data), now)

    def notice(self, status: FeedStatus, is_concerned: Callable[[str], bool]) -> bool:
        """A notice came: take its state, unless it speaks of a loss or a past span. Whether it is to be told, as it is.

        How one topic is, is told where the client is concerned.
        """
        if status.topic is not None and status.tells_state:
            self._topic(status.topic, TopicState.of(status))
            is_told = is_concerned(status.topic)
            if is_told:
                self._take_told(status.topic)
            return is_told
        if status.topic is None and status.count is None and (status.until is None or status.state is FeedState.LIVE):
            self.state = status.state
        return True

    def took(self, look: ScopeLook) -> None:
        """What a look found beside the scope's own state: topics that have another, and the bridge's clock."""
        if look.report is not None:
            self._topics = dict(look.topics)
            self.clock_offset_us = look.clock_offset_us

    def untold(self, is_concerned: Callable[[str], bool], *, now: datetime) -> list[FeedStatus]:
        """What is to be told of topics that concern the client: how they are, and that it is over.

        One that concerns it no more is told anew when it does again.
        """
        self._told = {topic: state for topic, state in self._told.items() if is_concerned(topic)}
        new = [topic for topic, state in self._topics.items() if not _is_alike(self._told.get(topic), state)]
        over = [topic for topic in self._told if topic not in self._topics]
        found = [self._of_topic(topic, now) for topic in new if is_concerned(topic)]
        found += [self._over(topic, now) for topic in over]
        for topic in [status.topic for status in found if status.topic is not None] + over:
            self._take_told(topic)
        return found

    def lost(self, reason: str, *, now: datetime) -> FeedStatus | None:
        """Redis is away."""
        self.is_leased = False
        if self._lost_since is not None:
            return None
        self._lost_since, self.state = now, FeedState.BLIND
        return self._status(FeedState.BLIND, now, cause=Cause.REDIS_LOST, message=f"Redis is away: {reason}")

    def silence(self, clock: float) -> float:
        """Seconds since the last sign of life: a heartbeat, or the moment the lease was found held."""
        return clock - self._last_sign

    def _take(self, report: FeedStatus, now: datetime) -> FeedStatus | None:
        lost_since, self._lost_since = self._lost_since, None
        if self.state is report.state and lost_since is None:
            return None
        self.state = report.state
        if lost_since is None or report.state is not FeedState.LIVE:
            return report
        away = (now - lost_since).total_seconds()
        message = f"Redis was away for {away:.1f} s"
        return self._status(FeedState.LIVE, lost_since, until=now, cause=Cause.REDIS_LOST, message=message)

    def _topic(self, topic: str, state: TopicState) -> None:
        if state.state is FeedState.LIVE:
            self._topics.pop(topic, None)
        else:
            self._topics[topic] = state

    def _take_told(self, topic: str) -> None:
        if topic in self._topics:
            self._told[topic] = self._topics[topic]
        else:
            self._told.pop(topic, None)

    def _of_topic(self, topic: str, now: datetime) -> FeedStatus:
        state, since, cause, message = self._topics[topic]
        return FeedStatus(scope=self.scope, topic=topic, state=state, since=since or now, cause=cause, message=message)

    def _over(self, topic: str, now: datetime) -> FeedStatus:
        was = self._told[topic]
        return FeedStatus(
            scope=self.scope, topic=topic, state=FeedState.LIVE, since=was.since or now, until=now, cause=was.cause
        )

    def _no_bridge(self, now: datetime) -> FeedStatus:
        return self._status(FeedState.NO_BRIDGE, now, message=f"no live bridge serves {self.scope}")

    def _status(self, state: FeedState, since: datetime, **more: Any) -> FeedStatus:
        return FeedStatus(scope=self.scope, state=state, since=since, **more)


def _is_alike(told: TopicState | None, known: TopicState) -> bool:
    return told is not None and told.state is known.state

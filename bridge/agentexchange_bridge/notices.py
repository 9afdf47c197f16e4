"""What a scope says about itself: the feed's states, blind spans and losses as notices. Pure, no I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Cause, FeedState, FeedStatus, Kind, ScopeStates, TopicState

from .buffer import Loss

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .lease import Grant

__all__ = ["Narrator", "blind_since_us", "from_us", "kinds_of", "loss_notices", "to_us"]

MAX_LOSS_NOTICES: Final = 32
"""Losses of more topics at once are told as one sum per cause."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """The time of an ``r``."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_us(time: datetime) -> int:
    """The microseconds since the Unix epoch of a time."""
    return (time - _EPOCH) // _MICROSECOND


def kinds_of(scope: str) -> tuple[Kind, ...]:
    """The kinds of events that a scope carries."""
    return (Kind.ORDERS, Kind.PORTFOLIO) if scope.startswith("a-") else (Kind.TICKER, Kind.CANDLES)


def blind_since_us(grant: Grant) -> int | None:
    """Up to when the last owner is known to have written all that upstream sent; None where there was no owner."""
    if not grant.received_us and not grant.status:
        return None
    since = grant.status.get("since", "")
    if grant.status.get("state", FeedState.LIVE) != FeedState.LIVE and since:
        return to_us(datetime.fromisoformat(since))
    return max(grant.received_us, int(grant.status.get("settled") or 0))


class Narrator:
    """The state of one scope. Each method changes it and returns the notices that tell it.

    Attributes:
        state: of the scope.
        states: the same, with what is known of its topics.
    """

    def __init__(self, scope: str, now_us: int) -> None:
        self.scope = scope
        self.state = FeedState.CONNECTING
        self._since = from_us(now_us)
        self._cause: str | None = None
        self._message: str | None = None
        self._blind: tuple[datetime, Cause] | None = None
        self.states = ScopeStates(TopicState(self.state, self._since))

    @property
    def blind_since(self) -> datetime | None:
        """When the blind span that lasts began; None while there is none."""
        return None if self._blind is None else self._blind[0]

    def fields(self) -> dict[str, str]:
        """The state, and those of kinds and topics, as fields of the status hash."""
        return self.own() | self.states.to_fields(kinds_of(self.scope))

    def own(self) -> dict[str, str]:
        """The scope's own state alone."""
        told = self._told(since=self._since).to_fields()
        return {name: told[name] or "" for name in ("state", "since", "cause", "message")}

    def feed(self, status: FeedStatus) -> list[FeedStatus]:
        """The upstream feed's state changed, or one topic's."""
        if status.topic is not None:
            self.states.take(status)
            return [status.model_copy(update={"scope": self.scope})]
        if status.state is FeedState.LIVE:
            return self._live(status)
        if status.state is FeedState.CONNECTING:
            return []  # nothing was live before, or a blind span is told of already
        if (status.state, status.cause) == (self.state, self._cause):
            return []
        self._blind = self._missed(status)
        # one span, one beginning: a later owner starts from what the status says
        self._become(status.state, self._blind[0], status.cause, status.message)
        return [self._told(since=self._since)]

    def took_over(self, since_us: int, now_us: int, *, is_wiped: bool = False) -> list[FeedStatus]:
        """This worker became the owner; the last one's word, or what is known of it, reaches to ``since_us``."""
        since = from_us(min(since_us, now_us))
        self._blind = (since, Cause.TAKEOVER)
        message = "another worker takes over" + (" of a server that has lost the log" if is_wiped else "")
        self._become(FeedState.BLIND, since, Cause.TAKEOVER, message)
        return [self._told(since=since)]

    def shut_down(self, since_us: int) -> list[FeedStatus]:
        """Upstream was let go at ``since_us``, on purpose."""
        was_live = self.state is FeedState.LIVE
        since = max(from_us(since_us), self._since) if was_live else self._since
        state = FeedState.BLIND if was_live else self.state
        self._become(state, since, Cause.SHUTDOWN, "the bridge worker shuts down")
        return [self._told(since=since)]

    def span(self, cause: Cause, first_us: int, last_us: int, *, message: str, count: int | None = None) -> FeedStatus:
        """A span that is over, told after the fact; the state stays."""
        return FeedStatus(
            scope=self.scope,
            state=self.state,
            since=from_us(first_us),
            until=from_us(last_us),
            cause=cause,
            count=count,
            message=message,
        )

    def _live(self, status: FeedStatus) -> list[FeedStatus]:
        """A live state that ends a span of the session's own names its end in ``until``."""
        blind, was = self._blind, self.state
        began = status.until or status.since
        if blind is None and was is FeedState.LIVE:
            return []
        self._blind = None
        self._become(FeedState.LIVE, began, None, None)
        if blind is None:
            return [self._told(since=began)]
        since, cause = blind
        until = max(began, since)
        return [self._told(since=since, until=until, cause=cause, message=_MISSING[cause is Cause.UPSTREAM_SILENT])]

    def _missed(self, status: FeedStatus) -> tuple[datetime, Cause]:
        """The span in which events may be missing: where it began, and with what it will end."""
        is_mute = status.state is FeedState.STALE
        if self._blind is None:
            return status.since, Cause.UPSTREAM_SILENT if is_mute else Cause.RECONNECTED
        since, ends_with = self._blind
        return since, Cause.RECONNECTED if ends_with is Cause.UPSTREAM_SILENT and not is_mute else ends_with

    def _become(self, state: FeedState, since: datetime, cause: str | None, message: str | None) -> None:
        self.state, self._since, self._cause, self._message = state, since, cause, message
        self.states.own = TopicState(state, since, cause, message)

    def _told(
        self,
        *,
        since: datetime,
        until: datetime | None = None,
        cause: str | None = None,
        message: str | None = None,
    ) -> FeedStatus:
        return FeedStatus(
            scope=self.scope,
            state=self.state,
            since=since,
            until=until,
            cause=cause or self._cause,
            message=message or self._message,
        )


_MISSING: Final = {
    False: "events of this span are missing",
    True: "no ticks came in this span; some may be missing",
}
_LOSS_WORDS: Final = {
    Cause.CONFLATED: "replaced by newer ones of their topic while the buffer was full",
    Cause.DROPPED: "dropped because the buffer was full or they are too large",
}


def loss_notices(losses: Iterable[Loss], narrator: Narrator) -> list[FeedStatus]:
    """One notice per topic and cause; one per cause where there would be too many."""
    by_cause: dict[Cause, list[Loss]] = {}
    for loss in losses:
        by_cause.setdefault(loss.cause, []).append(loss)
    return [
        narrator.span(
            loss.cause,
            loss.first_us,
            loss.last_us,
            count=loss.count,
            message=f"{loss.count} events {_LOSS_WORDS.get(loss.cause, 'lost')}",
        ).model_copy(update={"topic": loss.topic})
        for cause, group in by_cause.items()
        for loss in (group if len(group) <= MAX_LOSS_NOTICES else [_sum(cause, group)])
    ]


def _sum(cause: Cause, losses: list[Loss]) -> Loss:
    return Loss(
        topic=None,
        cause=cause,
        count=sum(loss.count for loss in losses),
        first_us=min(loss.first_us for loss in losses),
        last_us=max(loss.last_us for loss in losses),
    )

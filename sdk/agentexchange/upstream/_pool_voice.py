"""What a pool says of itself, made out of what its lanes say: decisions only, no I/O.

While there is one lane, its words are the feed's. With more, a lane's trouble is told topic by topic, and the feed's
state changes only where all lanes are affected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Cause, FeedState, FeedStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

__all__ = ["PoolVoice"]

_RANKS: Final = (FeedState.LIVE, FeedState.STALE, FeedState.AUTH_FAILED, FeedState.BLIND, FeedState.CONNECTING)
"""The feed's state is the first of these that a lane is in."""

_TROUBLE: Final = (FeedState.STALE, FeedState.AUTH_FAILED, FeedState.BLIND)
_TICKER: Final = "ticker:"


class PoolVoice:
    """Each method returns the statuses that are to be told, in order.

    Args:
        topics_of: the wanted topics that a lane delivers, as text.
        now: wall time.
    """

    def __init__(self, topics_of: Callable[[int], Iterable[str]], now: Callable[[], datetime]) -> None:
        self._topics_of = topics_of
        self._now = now
        self._lanes: dict[int, FeedStatus | None] = {}
        self._unreached: dict[int, FeedStatus] = {}
        self._told: FeedStatus | None = None
        self._exceptions: dict[str, FeedStatus] = {}

    @property
    def state(self) -> FeedState:
        """The feed's."""
        return FeedState.CONNECTING if self._told is None else self._told.state

    # Lanes

    def opened(self, lane: int) -> list[FeedStatus]:
        """A lane more: what was told of the only one before holds for its topics alone from now on."""
        others = list(self._lanes)
        self._lanes[lane] = None
        return self._trouble(others[0], self._status_of(others[0])) if len(others) == 1 else []

    def closed(self, lane: int) -> list[FeedStatus]:
        """A lane less; its topics are elsewhere by now."""
        del self._lanes[lane]
        self._unreached.pop(lane, None)
        return self._of_feed() if self._lanes else []

    def said(self, lane: int, status: FeedStatus) -> list[FeedStatus]:
        """A lane's state changed."""
        self._lanes[lane] = status
        self._unreached.pop(lane, None)
        if status.state is FeedState.LIVE:
            return [*self._of_feed(status), *self._over(lane)]
        return [*(self._trouble(lane, status) if len(self._lanes) > 1 else ()), *self._of_feed(status)]

    def unreached(self, lane: int, message: str) -> list[FeedStatus]:
        """A lane that was never live could not be connected."""
        last = self._lanes[lane]
        if last is not None and last.state is not FeedState.CONNECTING:
            return []
        found = FeedStatus(state=FeedState.BLIND, since=self._now(), cause=Cause.UPSTREAM_LOST, message=message)
        self._unreached.setdefault(lane, found)
        return self._trouble(lane, found) if len(self._lanes) > 1 else []

    def key_refused(self) -> list[FeedStatus]:
        """The key is refused for good, whatever the other lanes are in."""
        refused = [one for one in self._lanes.values() if one is not None and one.state is FeedState.AUTH_FAILED]
        return [] if self.state is FeedState.AUTH_FAILED else self._say(refused[:1])

    # Topics

    def moved(self, topic: str, lane: int) -> list[FeedStatus]:
        """``topic`` is delivered by ``lane`` from now on: its trouble is the topic's."""
        return self._except(topic, self._status_of(lane)) if len(self._lanes) > 1 else []

    def blind(self, topic: str, since: datetime) -> list[FeedStatus]:
        """The session of ``topic`` was lost while it moved to one that does not serve it yet."""
        message = "its session was lost while it moved to another"
        return self._except(
            topic, FeedStatus(state=FeedState.BLIND, since=since, cause=Cause.UPSTREAM_LOST, message=message)
        )

    def served(self, topic: str) -> list[FeedStatus]:
        """Upstream serves ``topic``; told only where it did not."""
        before = self._exceptions.pop(topic, None)
        if before is None:
            return []
        until = self._now()
        if before.state is FeedState.UNAVAILABLE:
            return [FeedStatus(topic=topic, state=FeedState.LIVE, since=before.since, until=until)]
        return [_again(before.since, until, topic)]

    def unavailable(self, topic: str, message: str) -> list[FeedStatus]:
        """There is no way to have ``topic``."""
        before = self._exceptions.get(topic)
        since = before.since if before is not None and before.state is FeedState.UNAVAILABLE else self._now()
        status = FeedStatus(
            topic=topic, state=FeedState.UNAVAILABLE, since=since, cause=Cause.UPSTREAM_REFUSED, message=message
        )
        self._exceptions[topic] = status
        return [status]

    def forget(self, topic: str) -> None:
        """Nobody wants ``topic`` any more."""
        self._exceptions.pop(topic, None)

    # Within

    def _status_of(self, lane: int) -> FeedStatus | None:
        """What holds for the topics of a lane."""
        return self._unreached.get(lane) or self._lanes.get(lane)

    def _trouble(self, lane: int, status: FeedStatus | None) -> list[FeedStatus]:
        return [told for topic in self._topics_of(lane) for told in self._except(topic, status)]

    def _except(self, topic: str, status: FeedStatus | None) -> list[FeedStatus]:
        """``topic`` shares the trouble of ``status``, if it is any."""
        before = self._exceptions.get(topic)
        if status is None:
            return []
        is_its = status.state in _TROUBLE and (status.state is not FeedState.STALE or topic.startswith(_TICKER))
        if not is_its or (before is not None and before.state in (FeedState.UNAVAILABLE, status.state)):
            return []
        since = status.since if before is None else before.since
        told = status.model_copy(update={"topic": topic, "since": since})
        self._exceptions[topic] = told
        return [told]

    def _over(self, lane: int) -> list[FeedStatus]:
        """The trouble of a lane's topics is over."""
        troubled = [
            topic
            for topic in (self._topics_of(lane) if self._exceptions else ())
            if topic in self._exceptions and self._exceptions[topic].state is not FeedState.UNAVAILABLE
        ]
        return [told for topic in troubled for told in self.served(topic)]

    def _of_feed(self, status: FeedStatus | None = None) -> list[FeedStatus]:
        """What ``status``, the newest word of a lane, or a lane's end means for the feed."""
        if len(self._lanes) == 1 and status is not None:
            return self._say([status])
        said = [one for one in self._lanes.values() if one is not None]
        state = min((one.state for one in said), key=_RANKS.index, default=FeedState.CONNECTING)
        if self._told is not None and state is self._told.state:
            return []
        newest = max((one for one in said if one.state is state), key=lambda one: one.since, default=None)
        if state is FeedState.LIVE and self._told is not None and self._told.state in _TROUBLE:
            newest = _again(self._told.since, self._now())
        return self._say([] if newest is None else [newest])

    def _say(self, statuses: list[FeedStatus]) -> list[FeedStatus]:
        self._told = statuses[-1] if statuses else self._told
        return statuses


def _again(since: datetime, until: datetime, topic: str | None = None) -> FeedStatus:
    """A trouble is over."""
    seconds = max(0.0, (until - since).total_seconds())
    message = f"reconnected; what happened in {seconds:.1f} s before may be missing"
    return FeedStatus(
        topic=topic, state=FeedState.LIVE, since=since, until=until, cause=Cause.RECONNECTED, message=message
    )

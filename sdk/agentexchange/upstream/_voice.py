"""The feed's state: one writer, which tells and logs each change."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Cause, FeedState, FeedStatus, Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange_schemas.upstream import Refusal

    from ._options import FeedOptions
    from ._stats import FeedStats

__all__ = ["Voice"]

_log: Final = logging.getLogger("agentexchange.upstream")


class Voice:
    """Says what the feed's state is; repeats nothing. Times it takes are seconds of the feed's clock.

    A live state that ends a blind span names the span: ``since``, ``until`` and the cause ``reconnected``.
    """

    def __init__(self, tell: Callable[[FeedStatus], None], stats: FeedStats, options: FeedOptions) -> None:
        self._tell = tell
        self._stats = stats
        self._options = options
        self._lost_at: float | None = None
        self._unavailable: dict[Topic, datetime] = {}

    def connecting(self) -> None:
        """No session yet."""
        self._say(FeedState.CONNECTING, self._options.clock())

    def live(self) -> None:
        """What should flow does; no-op while it is so already."""
        if self._stats.state is FeedState.LIVE:
            return
        now = self._options.clock()
        if self._lost_at is None:
            self._say(FeedState.LIVE, now)
            return
        message = f"reconnected; what happened in {now - self._lost_at:.1f} s before may be missing"
        lost_at, self._lost_at = self._lost_at, None
        self._say(FeedState.LIVE, lost_at, until=now, cause=Cause.RECONNECTED, message=message)

    def stale(self, since: float) -> None:
        """Connected, but ticks stopped at ``since``; no-op while it is so already."""
        if self._stats.state is FeedState.STALE:
            return
        self._lost_at = since if self._lost_at is None else self._lost_at
        self._say(FeedState.STALE, self._lost_at, cause=Cause.UPSTREAM_SILENT, message="the platform sends no ticks")

    def still_stale(self) -> None:
        """Connected again, and ticks are still to come."""
        self.stale(self._options.clock())

    def blind(self, since: float, *, cause: Cause, message: str) -> None:
        """The session that was live is gone; the last that was heard of it was at ``since``."""
        if self._stats.state in (FeedState.LIVE, FeedState.STALE):
            self._lost_at = since if self._lost_at is None else self._lost_at
            self._say(FeedState.BLIND, self._lost_at, cause=cause, message=message)

    def auth_failed(self, message: str) -> None:
        """The key is refused; no-op while it is so already."""
        if self._stats.state is not FeedState.AUTH_FAILED:
            since = self._options.clock() if self._lost_at is None else self._lost_at
            self._say(FeedState.AUTH_FAILED, since, cause=Cause.UPSTREAM_REFUSED, message=message)

    def refused(self, topic: Topic, refusal: Refusal) -> None:
        """Upstream refuses ``topic``."""
        since = self._unavailable.setdefault(topic, self._time(self._options.clock()))
        message = f"{refusal.code}: {refusal.message}"
        _log.warning("upstream refuses %s: %s", topic, message)
        self._tell(
            FeedStatus(
                topic=str(topic),
                state=FeedState.UNAVAILABLE,
                since=since,
                cause=Cause.UPSTREAM_REFUSED,
                message=message,
            )
        )

    def accepted(self, topic: Topic) -> None:
        """Upstream serves ``topic``; said only where it was refused before."""
        since = self._unavailable.pop(topic, None)
        if since is not None:
            until = self._time(self._options.clock())
            self._tell(FeedStatus(topic=str(topic), state=FeedState.LIVE, since=since, until=until))

    def _say(
        self,
        state: FeedState,
        since: float,
        *,
        until: float | None = None,
        cause: Cause | None = None,
        message: str | None = None,
    ) -> None:
        _log.info("feed: %s%s", state, f" ({message})" if message else "")
        self._stats.state = state
        self._tell(
            FeedStatus(
                state=state,
                since=self._time(since),
                until=None if until is None else self._time(until),
                cause=cause,
                message=message,
            )
        )

    def _time(self, at: float) -> datetime:
        """Wall time of a moment of the feed's clock."""
        return datetime.fromtimestamp(self._options.wall() - (self._options.clock() - at), UTC)

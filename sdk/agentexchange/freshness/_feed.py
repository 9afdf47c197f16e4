"""What a feed says of itself and what its ticks show, put together: pure, the clock passed in."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Cause, FeedState, FeedStatus

from ._ticks import TickWatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._ticks import Change

__all__ = ["FeedWatch"]

_WORTH_TELLING_S: Final = 0.1


class FeedWatch:
    """Follows one feed, or what comes of it for one scope, and tells silences while it is live.

    Args:
        scope: of the statuses it makes.

    Attributes:
        ticks: what is known of the ticks.
    """

    def __init__(self, scope: str | None = None) -> None:
        self.ticks = TickWatch()
        self._scope = scope
        self._is_live = False
        self._excused: set[str] = set()

    def said(self, status: FeedStatus, clock: float) -> bool:
        """The feed said ``status``: whether that is to be told, rather than being known already."""
        if not status.tells_state:
            return True
        if status.topic is not None:
            (self._excused.discard if status.state is FeedState.LIVE else self._excused.add)(status.topic)
            return True
        was_live, self._is_live = self._is_live, status.state is FeedState.LIVE
        if self._is_live and not was_live:
            self.ticks.restart(clock)
        # that it is live while its ticks show that it is not, or that it is what they have shown
        return not (was_live and self.ticks.is_stale and status.state in (FeedState.LIVE, FeedState.STALE))

    def look(self, arrivals: Mapping[str, object], *, clock: float, now: datetime) -> list[FeedStatus]:
        """Look at the newest arrivals, see `TickWatch.look`: the statuses to be told.

        Args:
            arrivals: by topic.
            clock: seconds, monotonic.
            now: the same moment by the wall clock.
        """
        if not self._is_live:
            return []
        changes = self.ticks.look(clock, arrivals, self._excused)
        return [self._status(change, now, clock) for change in changes]

    def forget(self, topic: str) -> None:
        """What the feed said of ``topic`` no longer counts."""
        self._excused.discard(topic)

    def paused(self) -> None:
        """Until the feed says (again) that it is live nothing is judged."""
        self._is_live = False

    def ended(self) -> None:
        """The feed is gone, and what was told of its topics is nobody's word any more; another one may follow."""
        self.paused()
        self._excused.clear()
        self.ticks.retract()

    def _status(self, change: Change, now: datetime, clock: float) -> FeedStatus:
        silent_s = clock - change.since
        return FeedStatus(
            scope=self._scope,
            topic=change.topic,
            state=FeedState.STALE if change.is_stale else FeedState.LIVE,
            since=now - timedelta(seconds=silent_s),
            until=None if change.is_stale else now,
            cause=Cause.UPSTREAM_SILENT,
            message=_words(change, silent_s),
        )


def _words(change: Change, silent_s: float) -> str:
    whose = "" if change.topic is None else f" of {change.topic.partition(':')[2]}"
    if not change.is_stale:
        return f"ticks{whose} come again after {silent_s:.1f} s; some may be missing"
    usual = f": about one in {change.usual_s:.2g} s is usual" if change.usual_s >= _WORTH_TELLING_S else ""
    return f"no tick{whose or ' of any pair'} for {silent_s:.1f} s, though the platform is connected{usual}"

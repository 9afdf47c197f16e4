"""The state of one scope as a shared client knows it: pure, the clock passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange_schemas import Cause, FeedState, FeedStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["ScopeWatch", "status_of"]

_TOLD = ("state", "since", "cause", "message")


def status_of(scope: str, fields: Mapping[str, Any]) -> FeedStatus:
    """What a scope's status hash (values as text) or a heartbeat's data says.

    Raises:
        EnvelopeError: the state or its time is missing, or no such thing.
    """
    return FeedStatus.from_fields({"scope": scope} | {name: fields.get(name) or None for name in _TOLD})


class ScopeWatch:
    """Turns reports, heartbeats and silences into the changes that `on_status` handlers are told.

    Methods return what is to be told, or None where nothing changed.

    Attributes:
        scope: its name.
        state: as last known; None before anything is.
        is_leased: whether a bridge was last seen to hold the scope.
        ends: last entry ids of the log and of the candle log, as the last heartbeat named them.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.state: FeedState | None = None
        self.is_leased = False
        self.ends: tuple[Any, Any] = (None, None)
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
        if self.state is not None and data.get("state") == self.state:  # the ordinary beat: no model is built for it
            return None
        return self._take(status_of(self.scope, data), now)

    def notice(self, status: FeedStatus) -> None:
        """A notice came, and is told as it is: take its state, unless it speaks of one topic, a loss or a past span."""
        if status.topic is None and status.count is None and (status.until is None or status.state is FeedState.LIVE):
            self.state = status.state

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

    def _no_bridge(self, now: datetime) -> FeedStatus:
        return self._status(FeedState.NO_BRIDGE, now, message=f"no live bridge serves {self.scope}")

    def _status(self, state: FeedState, since: datetime, **more: Any) -> FeedStatus:
        return FeedStatus(scope=self.scope, state=state, since=since, **more)

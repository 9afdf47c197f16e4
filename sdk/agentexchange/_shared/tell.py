"""What a shared client counts and tells: gaps, replaced logs, junk, and each scope's state."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from agentexchange_schemas import Cause, EnvelopeError, FeedState, FeedStatus

from .read import utc_of
from .scope import ScopeWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from agentexchange_schemas import Envelope

    from .flow import Flow

__all__ = ["Teller"]

_log = logging.getLogger("agentexchange.shared")


class Teller:
    """The way to the status handlers.

    Attributes:
        counts: see `SharedTransport.stats`.
        on_change: called after something was told.
    """

    def __init__(self, tell: Callable[[FeedStatus], None], now: Callable[[], datetime]) -> None:
        self._tell = tell
        self._now = now
        self._watches: dict[str, ScopeWatch] = {}
        self._junk_logged: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.on_change: Callable[[], None] = _ignore

    def watch(self, scope: str) -> ScopeWatch:
        """The scope's watch, made at first use."""
        if scope not in self._watches:
            self._watches[scope] = ScopeWatch(scope)
        return self._watches[scope]

    def clock_offset_us(self, scopes: Iterable[str | None]) -> int | None:
        """How far Redis's clock is ahead of that of the first bridge of these scopes that says so. On any thread."""
        watches = (self._watches.get(scope) for scope in scopes if scope is not None)
        known = (watch.clock_offset_us for watch in watches if watch is not None)
        return next((offset for offset in known if offset is not None), None)

    def forget(self, scope: str) -> None:
        """Nobody wants anything of the scope."""
        self._watches.pop(scope, None)

    def lost(self, reason: str) -> None:
        """Redis is away: so is every scope."""
        for watch in self._watches.values():
            self.tell(watch.lost(reason, now=self._now()))

    def tell(self, status: FeedStatus | None) -> None:
        """Tell the status handlers, if there is anything to tell."""
        if status is not None:
            self._tell(status)
            self.on_change()

    def hole(self, flow: Flow, last: int, cause: Cause, envelope: Envelope | None = None) -> None:
        """The events from the flow's next one to ``last`` are lost to this client; ``envelope`` comes behind them."""
        count = last - flow.seq
        self.counts["missing"] += count
        self._gap(
            flow,
            envelope,
            cause=cause,
            first_missing=flow.seq + 1,
            last_missing=last,
            count=count,
            message=f"{flow.topic}: {count} events are missing{_WHY.get(cause, '')}",
        )

    def replaced(self, flow: Flow, envelope: Envelope) -> None:
        """How many are missing cannot be known: the new log counts anew."""
        message = f"{flow.topic}: the log was replaced by another"
        self._gap(flow, envelope, cause=Cause.LOG_REPLACED, message=message)

    def junk(self, exc: EnvelopeError, where: str) -> None:
        """Count it, and log the first of a kind."""
        self.counts["junk"] += 1
        if exc.field not in self._junk_logged:
            self._junk_logged.add(exc.field)
            _log.warning("unreadable envelope in %s (further ones of the kind are only counted): %s", where, exc)

    def forged(self, flow: Flow) -> None:
        """An envelope claims an epoch, a number or a time that the server does not know of."""
        self.junk(EnvelopeError(f"envelope: no bridge can have written it into {flow.scope}", field="e"), flow.topic)

    def _gap(self, flow: Flow, envelope: Envelope | None, **what: Any) -> None:
        self.counts["gaps"] += 1
        until = self._now() if envelope is None else utc_of(envelope.received_us)
        self.tell(
            FeedStatus(
                scope=flow.scope,
                topic=flow.topic,
                state=self.watch(flow.scope).state or FeedState.CONNECTING,
                since=utc_of(flow.received_us),
                until=until,
                **what,
            )
        )


_WHY = {
    Cause.TRIMMED: ": the log no longer holds them",
    Cause.BEYOND_LIMIT: ": too many log entries to read them again (recover_limit)",
}


def _ignore() -> None:
    pass

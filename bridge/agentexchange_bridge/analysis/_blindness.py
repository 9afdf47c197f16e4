"""Spans in which the feed was blind, stale or refused, out of the notices that tell of them."""

from __future__ import annotations

from typing import Final, NamedTuple

from agentexchange._shared.read import us_of
from agentexchange_schemas import Cause, FeedState, FeedStatus

__all__ = ["BlindSpan", "Blindness"]

_ENDING: Final = frozenset({Cause.RECONNECTED, Cause.TAKEOVER, Cause.UPSTREAM_SILENT})
"""Causes of a live state that names the span it ends."""


class BlindSpan(NamedTuple):
    """One span.

    Attributes:
        scope: whose.
        topic: which topic's; None for all of the scope.
        state: the state that began it; ``blind`` where only its end was read.
        cause: why.
        since_us: its beginning.
        until_us: its end; None where it was still going on at the last event.
    """

    scope: str
    topic: str | None
    state: str
    cause: str | None
    since_us: int
    until_us: int | None


class Blindness:
    """Takes notices in order; one scope's or many.

    Attributes:
        spans: those that have ended, oldest end first.
    """

    def __init__(self) -> None:
        self.spans: list[BlindSpan] = []
        self._open: dict[tuple[str, str | None], BlindSpan] = {}

    def take(self, scope: str, notice: FeedStatus, received_us: int) -> None:
        """The next notice."""
        if not notice.tells_state:
            return
        subject = (scope, notice.topic)
        known = self._open.pop(subject, None)
        since_us = us_of(notice.since)
        if notice.state is not FeedState.LIVE:
            began = BlindSpan(scope, notice.topic, notice.state.value, notice.cause, since_us, None)
            self._open[subject] = began if known is None else known._replace(since_us=min(known.since_us, since_us))
            return
        until_us = received_us if notice.until is None else us_of(notice.until)
        if known is not None:
            self.spans.append(known._replace(until_us=max(until_us, known.since_us)))
        elif notice.until is not None and notice.cause in _ENDING:
            self.spans.append(
                BlindSpan(scope, notice.topic, FeedState.BLIND.value, notice.cause, since_us, max(until_us, since_us))
            )

    @property
    def lasting(self) -> list[BlindSpan]:
        """Those that have not ended."""
        return list(self._open.values())

    def total_us(self, scope: str, first_us: int, last_us: int) -> int:
        """How long between two moments the whole of ``scope`` was not live; what overlaps counts once."""
        spans = sorted(
            (span.since_us, last_us if span.until_us is None else min(span.until_us, last_us))
            for span in (*self.spans, *self.lasting)
            if span.scope == scope and span.topic is None
        )
        total, end_us = 0, first_us
        for since_us, until_us in spans:
            total += max(0, until_us - max(since_us, end_us))
            end_us = max(end_us, until_us)
        return total

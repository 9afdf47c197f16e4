"""What the comparison takes in and gives out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from agentexchange_schemas import FeedStatus

__all__ = ["Findings", "Snapshot", "Span"]


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which nothing was seen of an account."""

    since: datetime
    until: datetime

    def joined(self, other: Span | None) -> Span:
        """The span from the earlier beginning to the later end."""
        if other is None:
            return self
        return Span(min(self.since, other.since), max(self.until, other.until))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the platform says an account is, after a span; events' fields throughout.

    Attributes:
        open_orders: every open order.
        orders: further orders that were looked at, whatever their state.
        portfolio: None where it could not be had.
        gone: ids of orders that the platform knows no more.
        gaps: what could not be looked at, in words.
    """

    open_orders: tuple[dict[str, Any], ...] = ()
    orders: tuple[dict[str, Any], ...] = ()
    portfolio: dict[str, Any] | None = None
    gone: frozenset[str] = frozenset()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What came of a comparison: events to hand out (topic, fields; flagged already), then statuses to tell."""

    events: list[tuple[str, dict[str, Any]]]
    statuses: list[FeedStatus]

"""What is told about a blind span of an account, as statuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import Cause, FeedState, FeedStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ._snapshot import Span

__all__ = ["executed_unseen", "fetched", "incomplete", "unknown"]

MAX_IDS: Final = 20
"""Order ids that one message names, the last changed; of more it says how many."""

_MAX_ID: Final = 64
_MAX_AMOUNT: Final = 40


def unknown(span: Span, open_ids: Collection[str], *, why: str | None) -> FeedStatus:
    """Nobody could be asked what happened in ``span``."""
    changed = f"{_orders(len(open_ids))} may have changed{_named(open_ids)}" if open_ids else "no open order is known"
    reason = f"the platform could not be asked ({why}): " if why else ""
    message = f"{reason}{changed}; orders placed and finished while nothing was seen cannot be known"
    return _status(span, Cause.ORDERS_UNKNOWN, message, count=len(open_ids))


def incomplete(span: Span, ids: Collection[str], gaps: Sequence[str]) -> FeedStatus:
    """The platform was asked, and did not say everything."""
    parts = [f"what became of {_orders(len(ids))} cannot be known{_named(ids)}"] if ids else []
    return _status(span, Cause.ORDERS_UNKNOWN, "; ".join([*parts, *gaps]), count=len(ids))


def fetched(span: Span, count: int) -> FeedStatus:
    """The platform was asked, and so many changes were handed out."""
    changes = "1 change" if count == 1 else f"{count} changes"
    message = f"the platform was asked: {changes} of this span handed out late, with reconciled=True"
    return _status(span, Cause.RECONCILED, message, count=count)


def executed_unseen(span: Span, before: dict[str, Any], after: dict[str, Any], names: Iterable[str]) -> FeedStatus:
    """The first portfolio after ``span`` shows that something happened in it."""
    moves = ", ".join(f"{name} from {_short(before[name])} to {_short(after[name])}" for name in names)
    message = f"executions or balance changes happened while nothing was seen: {moves}"
    return _status(span, Cause.ORDERS_UNKNOWN, message, topic="portfolio")


def _status(span: Span, cause: Cause, message: str, *, topic: str = "orders", count: int | None = None) -> FeedStatus:
    return FeedStatus(
        topic=topic,
        state=FeedState.LIVE,
        since=span.since,
        until=span.until,
        cause=cause,
        count=count,
        message=message,
    )


def _orders(count: int) -> str:
    return "1 open order" if count == 1 else f"{count} open orders"


def _named(ids: Collection[str]) -> str:
    named = [order_id[:_MAX_ID] for order_id in list(ids)[-MAX_IDS:]]
    more = f" and {len(ids) - MAX_IDS} more" if len(ids) > MAX_IDS else ""
    return f" ({', '.join(named)}{more})"


def _short(value: Any) -> str:
    return str(value)[:_MAX_AMOUNT]

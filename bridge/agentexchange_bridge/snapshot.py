"""One look at an account through the platform's REST: what to ask, in which order, and how much of it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from agentexchange.truth import CLOCK_SLACK, Snapshot

from .rest import OrderPage, RestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange.truth import AccountTruth, Span

    from .last_known import LastKnown
    from .rest import RestClient

__all__ = ["MAX_SINGLE_ORDERS", "take_snapshot"]

MAX_SINGLE_ORDERS: Final = 50
"""Orders asked for one by one in one look; the platform takes some hundred requests a minute."""

_NO_SUCH_LIST: Final = frozenset({400, 404, 405, 410, 422, 501})


async def take_snapshot(rest: RestClient, truth: AccountTruth, span: Span, last_known: LastKnown) -> Snapshot:
    """Open orders first, then those placed lately, then what both leave out, then the portfolio that belongs to them.

    Orders that the truth has never heard of are looked up among what was handed out before, so that nothing of it
    comes twice.

    Raises:
        RestError: the platform does not say enough to compare anything.
        RedisLinkError: what was handed out before cannot be read.
    """
    opened, newest = await rest.open_orders(), await _newest(rest, span)
    seen = {fields["order_id"] for fields in (*opened.orders, *newest.orders)}
    singles, gone = await _singles(rest, truth.missing(seen))
    portfolio, gap = await _portfolio(rest)
    truth.restore(await last_known.orders(truth.strangers(seen)))
    return Snapshot(
        open_orders=opened.orders,
        orders=(*newest.orders, *singles),
        portfolio=portfolio,
        gone=frozenset(gone),
        gaps=(*opened.gaps, *newest.gaps, *gap),
    )


async def _newest(rest: RestClient, span: Span) -> OrderPage:
    try:
        return await rest.newest_orders(span.since - CLOCK_SLACK)
    except RestError as exc:
        if exc.status not in _NO_SUCH_LIST:
            raise
        words = f"orders placed and finished while nothing was seen cannot be known (the list of orders: {exc})"
        return OrderPage((), (words,))


async def _singles(rest: RestClient, order_ids: Iterable[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The orders, and the ids of those that the platform does not know."""
    found: list[dict[str, Any]] = []
    gone: list[str] = []
    for order_id in islice(order_ids, MAX_SINGLE_ORDERS):
        fields = await rest.order(order_id)
        if fields is None:
            gone.append(order_id)
        else:
            found.append(fields)
    return found, gone


async def _portfolio(rest: RestClient) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    try:
        return await rest.portfolio(), ()
    except RestError as exc:
        return None, (f"the portfolio could not be had ({exc})",)

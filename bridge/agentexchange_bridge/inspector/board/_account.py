"""Orders and portfolio of one account."""

from __future__ import annotations

from heapq import nlargest
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from agentexchange_bridge.inspector.views import AccountView, OrderRow
from agentexchange_schemas.events import FINAL_STATUSES

from ._rows import text_of

if TYPE_CHECKING:
    from agentexchange_schemas import Envelope

__all__ = ["AccountBook"]

_SHOWN: Final = 500
_KEPT: Final = 2_000
_received = attrgetter("received_us")


class AccountBook:
    """The newest state of each order, and the newest portfolio; what is older than known is let go.

    Of more than 2,000 orders the half that changed last is kept, and of the others those that are open.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope
        self._orders: dict[str, OrderRow] = {}
        self._portfolio: Envelope | None = None

    def take(self, envelope: Envelope) -> None:
        """An order or a portfolio came."""
        if envelope.topic == "orders":
            self._take_order(envelope)
        elif self._portfolio is None or envelope.received_us > self._portfolio.received_us:
            self._portfolio = envelope

    def view(self) -> AccountView:
        """What is shown of it."""
        orders = tuple(nlargest(_SHOWN, self._orders.values(), key=_received))
        if self._portfolio is None:
            return AccountView(self._scope, orders, None, None)
        return AccountView(self._scope, orders, self._portfolio.data, self._portfolio.received_us)

    def _take_order(self, envelope: Envelope) -> None:
        order_id = str(envelope.data.get("order_id"))
        known = self._orders.get(order_id)
        if known is not None and known.received_us >= envelope.received_us:
            return
        self._orders[order_id] = _row(order_id, envelope.data, envelope.received_us)
        if len(self._orders) > _KEPT:
            self._forget()

    def _forget(self) -> None:
        newest = nlargest(_KEPT // 2, self._orders.values(), key=_received)
        open_ones = [row for row in self._orders.values() if row.is_open]
        kept = newest + nlargest(_KEPT // 4, open_ones, key=_received)
        self._orders = {row.order_id: row for row in kept}


def _row(order_id: str, data: dict[str, Any], received_us: int) -> OrderRow:
    status = text_of(data.get("status"))
    return OrderRow(
        order_id=order_id,
        symbol=text_of(data.get("symbol")),
        side=text_of(data.get("side")),
        status=status,
        received_us=received_us,
        is_open=status.lower() not in FINAL_STATUSES,
        fields=data,
    )

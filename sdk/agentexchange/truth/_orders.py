"""The last known state of each order, and how two states of one order compare. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange_schemas._text import to_datetime, to_decimal
from agentexchange_schemas.events import FINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

__all__ = ["HAPPENED_FIELDS", "KnownOrders", "OrderState", "amount", "latest_time", "state_of"]

HAPPENED_FIELDS: Final = ("filled_at", "cancelled_at", "canceled_at", "rejected_at", "expired_at", "updated_at")
"""When the change that an order update tells happened."""

_NOTHING: Final = Decimal(0)


class OrderState(NamedTuple):
    """As far as an order has come. ``executed`` only grows, and a final state stays."""

    is_final: bool
    executed: Decimal
    status: str
    quantity: Decimal | None
    price: Decimal | None

    @property
    def progress(self) -> tuple[bool, Decimal]:
        """What two states of one order are ordered by."""
        return self.is_final, self.executed

    def is_news_after(self, known: OrderState) -> bool:
        """Whether this tells anything that ``known`` does not: more progress, or else another status or terms."""
        if self.progress != known.progress:
            return self.progress > known.progress
        return self.status != known.status or _differ(self.quantity, known.quantity) or _differ(self.price, known.price)

    def skipped_a_step(self, known: OrderState) -> bool:
        """Whether something was executed in between: an order that ends unfilled executes nothing by ending."""
        return self.is_final and self.status != "filled" and self.executed > known.executed


class KnownOrders:
    """The last state of each order, open ones with their fields.

    Bounded: final ones go first, and those first whose last change is longest ago.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, tuple[OrderState, dict[str, Any]]] = {}
        self._final: dict[str, OrderState] = {}

    @property
    def open_ids(self) -> Collection[str]:
        """The orders that are open as far as is known, the last changed last."""
        return self._open.keys()

    def get(self, order_id: str) -> OrderState | None:
        """The order's last state; None where it is not known."""
        known = self._open.get(order_id)
        return self._final.get(order_id) if known is None else known[0]

    def put(self, order_id: str, state: OrderState, fields: dict[str, Any]) -> None:
        """From now on the order is known to be so."""
        self.forget(order_id)
        if state.is_final:
            self._final[order_id] = state
        else:
            self._open[order_id] = (state, dict(fields))
        if len(self._open) + len(self._final) > self._limit:
            oldest = self._final or self._open
            del oldest[next(iter(oldest))]

    def filled_in(self, order_id: str, fields: dict[str, Any]) -> dict[str, Any]:
        """``fields``, with what they leave out of an open order as it was last known."""
        known = self._open.get(order_id)
        if known is None:
            return fields
        return known[1] | {name: value for name, value in fields.items() if value is not None}

    def forget(self, order_id: str) -> None:
        """The order is known no more."""
        self._open.pop(order_id, None)
        self._final.pop(order_id, None)

    def clear(self) -> None:
        """Know nothing."""
        self._open.clear()
        self._final.clear()


def state_of(fields: dict[str, Any]) -> OrderState:
    """The state that an order update tells."""
    status = str(fields["status"]).lower()
    return OrderState(
        status in FINAL_STATUSES,
        amount(fields.get("executed_quantity")) or _NOTHING,
        "cancelled" if status == "canceled" else status,
        amount(fields.get("quantity")),
        amount(fields.get("price")),
    )


def amount(text: Any) -> Decimal | None:
    """The exact number, or None where there is none."""
    if text is None:
        return None
    try:
        return to_decimal(str(text), field="amount")
    except ValueError:
        return None


def latest_time(fields: dict[str, Any], names: Collection[str]) -> datetime | None:
    """The latest of the times that ``fields`` hold under ``names``; None where they hold none."""
    times = [to_datetime(text) for name in names if isinstance(text := fields.get(name), str)]
    return max((time for time in times if time is not None), default=None)


def _differ(one: Decimal | None, other: Decimal | None) -> bool:
    return one is not None and other is not None and one != other

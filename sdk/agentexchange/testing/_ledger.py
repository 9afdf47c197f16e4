"""What one key's account has come to, as it was pushed: every order's last state, and the portfolio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange_schemas.events import FINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_ORDERS", "Ledger"]

MAX_ORDERS = 10_000


class Ledger:
    """Orders by id in the order in which they were placed; the oldest are forgotten."""

    def __init__(self) -> None:
        self._orders: dict[str, dict[str, Any]] = {}
        self._portfolio: dict[str, Any] | None = None

    def record(self, fields: Mapping[str, Any], stamp: str) -> None:
        """An order update was sent at ``stamp``, or would have been, had anyone been there."""
        order_id = fields.get("order_id")
        if not isinstance(order_id, str):
            return
        before = self._orders.get(order_id, {"created_at": stamp})
        self._orders[order_id] = {**before, **fields}
        if len(self._orders) > MAX_ORDERS:
            del self._orders[next(iter(self._orders))]

    def record_portfolio(self, fields: Mapping[str, Any] | None) -> None:
        """The portfolio is what the caller of the sandbox says; None: the account's own again."""
        self._portfolio = None if fields is None else dict(fields)

    @property
    def portfolio(self) -> dict[str, Any] | None:
        """The portfolio that the caller of the sandbox has sent last, if that is the last one."""
        return self._portfolio

    def newest(self, *, is_open: bool = False) -> list[dict[str, Any]]:
        """The orders, those placed last first; only the open ones, if asked."""
        orders = list(reversed(self._orders.values()))
        return [fields for fields in orders if fields.get("status") not in FINAL_STATUSES] if is_open else orders

    def order(self, order_id: str) -> dict[str, Any] | None:
        """One order, None where there is none of that id."""
        return self._orders.get(order_id)

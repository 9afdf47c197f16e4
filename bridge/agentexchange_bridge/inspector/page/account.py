"""Orders and portfolio of an account whose key the operator holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nicegui import ui

from .dialog import SideDialog
from .format import NONE, clock, day_clock, short_scope
from .grid import Grid, column
from .parts import block, facts, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agentexchange_bridge.inspector.views import AccountView, OrderRow

    from .grid import Row
    from .viewer import Viewer

__all__ = ["AccountPanel", "flat", "order_row"]

_MAX_FLAT = 200


class AccountPanel:
    """One account at a time."""

    PERIOD_S: ClassVar[float] = 1.0

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._view: AccountView | None = None
        with ui.element("div").classes("ax-tools"):
            self._choice = ui.select({}, on_change=self._choose)
            self._choice.props('dense outlined options-dense prefix="Account" aria-label="Account"').classes(
                "ax-account"
            )
            self._none = ui.label("").classes("ax-soft")
        with ui.element("div").classes("ax-pair ax-pair-orders"):
            with block("Orders", classes="ax-tall"):
                self._orders = _orders(self._open)
            with block("Portfolio", classes="ax-tall"):
                self._portfolio_time = ui.label("").classes("ax-soft ax-figures")
                self._portfolio = _portfolio()

    async def refresh(self, *, anew: bool) -> None:  # noqa: ARG002 - the rows are compared anyway
        """Show the chosen account."""
        feed = self._viewer.feed
        if feed is None:
            return
        self._offer(list(feed.accounts()))
        if not self._viewer.account:
            return
        self._view = view = feed.account(self._viewer.account)
        self._orders.show(order_row(order) for order in view.orders)
        rows = flat(view.portfolio or {})
        self._portfolio.show({"id": name, "name": name, "value": value} for name, value in rows)
        self._portfolio_time.text = f"as of {day_clock(view.portfolio_us)} UTC" if view.portfolio_us else ""

    def _offer(self, scopes: list[str]) -> None:
        if self._viewer.account not in scopes:
            self._viewer.account = scopes[0] if scopes else ""
        if list(self._choice.options) != scopes:
            self._choice.set_options(
                {scope: short_scope(scope) for scope in scopes}, value=self._viewer.account or None
            )
        self._choice.set_visibility(bool(scopes))
        self._none.text = (
            ""
            if scopes
            else "No account is shown: start the inspector with its API key (AGENTEXCHANGE_API_KEY or --api-key-file)."
        )

    async def _choose(self, event: Any) -> None:
        self._viewer.account = str(event.value or "")
        await self.refresh(anew=True)

    def _open(self, order_id: str) -> None:
        order = next((order for order in self._view.orders if order.order_id == order_id), None) if self._view else None
        if order is not None:
            with SideDialog(f"Order {order.order_id}"):
                facts([("Received", f"{day_clock(order.received_us)} UTC")])
                fields_of(order.fields)


def order_row(order: OrderRow) -> Row:
    """One line of the orders."""
    return {
        "id": order.order_id,
        "time": clock(order.received_us),
        "symbol": order.symbol,
        "side": order.side,
        "status": order.status,
        "tone": "good" if order.is_open else "idle",
        "quantity": str(order.fields.get("quantity", "")),
        "price": str(order.fields.get("executed_price") or order.fields.get("price") or ""),
    }


def flat(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested fields as lines, ``positions.0.symbol``; at most 200."""
    return [pair for pair, _ in zip(_lines("", fields), range(_MAX_FLAT), strict=False)]


def _lines(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _lines(f"{name}.{index}", inner)
    else:
        yield name, NONE if value is None else str(value)


def _orders(on_open: Callable[[str], None]) -> Grid:
    return Grid(
        [
            column("time", "Received", width=106, kind="number", wide_only=True),
            column("id", "Order", kind="code", wide_only=True),
            column("symbol", "Symbol", kind="code"),
            column("side", "Side", width=60),
            column("status", "Status", width=138, kind="state"),
            column("quantity", "Quantity", width=132, kind="price", wide_only=True),
            column("price", "Price", width=104, kind="price", wide_only=True),
        ],
        label="Orders, newest first",
        empty="No orders of this account are held at this moment.",
        on_open=on_open,
        fills=True,
    )


def _portfolio() -> Grid:
    return Grid(
        [column("name", "Field", flex=2, kind="code"), column("value", "Value", flex=2, kind="number")],
        label="Portfolio",
        empty="No portfolio of this account is held at this moment.",
        fills=True,
    )

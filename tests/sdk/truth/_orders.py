"""What the truth's tests say things with: times, order updates and portfolios."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from agentexchange_schemas._text import iso_utc

START = datetime(2026, 2, 23, 15, 30, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds into the story."""
    return START + timedelta(seconds=seconds)


def iso(seconds: float) -> str:
    """The same as text."""
    return iso_utc(at(seconds))


def order(order_id: str, status: str = "pending", executed: str | None = None, **more: Any) -> dict[str, Any]:
    """An order update's fields."""
    fields = {"order_id": order_id, "symbol": "BTCUSDT", "side": "buy", "status": status}
    return {**fields, "executed_price": None, "executed_quantity": executed, "quantity": "10.00000000", **more}


def portfolio(cash: str | None, realized: str | None, equity: str = "100") -> dict[str, Any]:
    """A portfolio's fields."""
    return {"total_equity": equity, "available_cash": cash, "unrealized_pnl": "0", "realized_pnl": realized}

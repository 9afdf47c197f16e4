"""How two portfolios compare. Pure."""

from __future__ import annotations

from typing import Any, Final

from ._orders import amount

__all__ = ["CASH", "REALIZED", "is_same", "moved"]

CASH: Final = "available_cash"
REALIZED: Final = "realized_pnl"

_MOVED_BY_TRADES: Final = (CASH, REALIZED)  # equity, unrealized profit and return also move with the prices
_AMOUNTS: Final = ("total_equity", "available_cash", "unrealized_pnl", "realized_pnl", "roi_pct")


def moved(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Which of the fields that only trades and balance changes move are different; absent ones tell nothing."""
    return [name for name in _MOVED_BY_TRADES if _differs(before, after, name)]


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether no amount that both name is different."""
    return not any(_differs(one, other, name) for name in _AMOUNTS)


def _differs(one: dict[str, Any], other: dict[str, Any], name: str) -> bool:
    first, second = amount(one.get(name)), amount(other.get(name))
    return first is not None and second is not None and first != second

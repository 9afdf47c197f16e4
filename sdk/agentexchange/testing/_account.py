"""One key's account: orders that move through their states, and a portfolio that agrees with every fill.

Amounts are exact decimals. A price has so many places and a quantity so few that their product has eight
at most, and fees are rounded to eight, so that nothing is ever lost in a string:
``total_equity = starting cash + realized_pnl + unrealized_pnl`` to the last digit.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange.testing._market import Pair

__all__ = ["OPEN_STATUSES", "START_CASH", "Account", "Order"]

START_CASH = Decimal(100_000)
_FEE = Decimal("0.001")
_PLACES = Decimal("0.00000001")
_PERCENT_PLACES = Decimal("0.0001")
_MAX_OPEN = 20
_REJECTED, _CANCELLED, _PARTIAL, _NEW = 0.08, 0.15, 0.4, 0.4
OPEN_STATUSES = ("pending", "partially_filled")


@dataclass
class Order:
    """One order; ``executed`` is what of ``quantity`` is filled so far, ``fee`` what it has cost so far."""

    order_id: str
    pair: Pair
    side: Literal["buy", "sell"]
    kind: Literal["limit", "market"]
    quantity: Decimal
    price: Decimal
    status: str = "pending"
    executed: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)

    def fields(self, stamp: str) -> dict[str, Any]:
        """The order in the platform's names and strings; fields without a value are left out."""
        fields = {
            "order_id": self.order_id,
            "status": self.status,
            "symbol": self.pair.symbol,
            "side": self.side,
            "type": self.kind,
            "quantity": _text(self.quantity),
        }
        if self.kind == "limit":
            fields["price"] = _text(self.price)
        if self.executed:
            fields |= {
                "executed_price": _text(self.price),
                "executed_quantity": _text(self.executed),
                "fee": _text(self.fee),
            }
        moment = {"filled": "filled_at", "cancelled": "cancelled_at"}.get(self.status)
        if moment is not None:
            fields[moment] = stamp
        if self.status == "rejected":
            fields["rejected_reason"] = "Insufficient balance"
        return fields


@dataclass
class _Position:
    quantity: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)


class Account:
    """Cash, positions and orders of one key.

    Args:
        pairs: what it trades; all quoted in the same asset.
        seed: the n-th update of a seed is the same as long as the prices are.
    """

    def __init__(self, pairs: Sequence[Pair], seed: str) -> None:
        self.cash = START_CASH
        self.realized = Decimal(0)
        self.positions: dict[Pair, _Position] = {}
        self._pairs = pairs
        self._rng = Random(seed)  # noqa: S311  # a market to test with, not a secret
        self._orders: list[Order] = []

    def step(self) -> tuple[Order, bool]:
        """Make a new order or move an open one on.

        Returns:
            The order, and whether this step filled something of it.
        """
        if not self._orders or (len(self._orders) < _MAX_OPEN and self._rng.random() < _NEW):
            order = self._new_order()
            self._orders.append(order)
            return order, False
        order = self._rng.choice(self._orders)
        filled = self._advance(order)
        if order.status not in OPEN_STATUSES:
            self._orders.remove(order)
        return order, filled

    def _new_order(self) -> Order:
        rng = self._rng
        owned = [pair for pair, position in self.positions.items() if position.quantity]
        pair = rng.choice(owned if owned and rng.random() < 0.5 else self._pairs)  # noqa: PLR2004  # even odds
        side: Literal["buy", "sell"] = "sell" if pair in owned and rng.random() < 0.6 else "buy"  # noqa: PLR2004  # positions must shrink too
        lots = pair.spec.lot * rng.randint(2, 60)
        return Order(
            order_id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            pair=pair,
            side=side,
            kind=rng.choice(("limit", "market")),
            quantity=_decimal(lots, pair.spec.lot_decimals),
            price=_last(pair),
        )

    def _advance(self, order: Order) -> bool:
        draw = self._rng.random()
        if order.status == "pending" and draw < _REJECTED:
            order.status = "rejected"
            return False
        if draw < _CANCELLED:
            order.status = "cancelled"
            return False
        quantity = self._fill_size(order, whole=draw > _PARTIAL)
        if not self._covered(order, quantity):
            order.status = "cancelled" if order.executed else "rejected"
            return False
        self._fill(order, quantity)
        return True

    def _fill_size(self, order: Order, *, whole: bool) -> Decimal:
        left = order.quantity - order.executed
        lots = int(left.scaleb(order.pair.spec.lot_decimals))
        if whole or lots <= 1:
            return left
        return _decimal(self._rng.randint(1, lots - 1), order.pair.spec.lot_decimals)

    def _covered(self, order: Order, quantity: Decimal) -> bool:
        if order.side == "sell":
            return self.positions.get(order.pair, _Position()).quantity >= quantity
        return self.cash >= quantity * order.price * (1 + _FEE) + _PLACES

    def _fill(self, order: Order, quantity: Decimal) -> None:
        notional = quantity * order.price
        order.executed += quantity
        order.status = "filled" if order.executed == order.quantity else "partially_filled"
        fee = (order.executed * order.price * _FEE).quantize(_PLACES) - order.fee
        order.fee += fee
        position = self.positions.setdefault(order.pair, _Position())
        if order.side == "buy":
            self.cash -= notional + fee
            self.realized -= fee
            position.cost += notional
            position.quantity += quantity
            return
        share = (position.cost * quantity / position.quantity).quantize(_PLACES)
        self.cash += notional - fee
        self.realized += notional - share - fee
        position.cost -= share
        position.quantity -= quantity

    def portfolio(self, stamp: str) -> dict[str, str]:
        """The portfolio at the last prices, in the platform's names and strings."""
        value = sum((p.quantity * _last(pair) for pair, p in self.positions.items()), Decimal(0))
        cost = sum((p.cost for p in self.positions.values()), Decimal(0))
        equity = self.cash + value
        return {
            "total_equity": _text(equity),
            "available_cash": _text(self.cash),
            "unrealized_pnl": _text(value - cost),
            "realized_pnl": _text(self.realized),
            "roi_pct": f"{((equity / START_CASH - 1) * 100).quantize(_PERCENT_PLACES):f}",
            "timestamp": stamp,
        }


def _decimal(units: int, places: int) -> Decimal:
    return Decimal(units).scaleb(-places)


def _last(pair: Pair) -> Decimal:
    return _decimal(pair.price, pair.spec.price_decimals)


def _text(value: Decimal) -> str:
    return f"{value.quantize(_PLACES):f}"

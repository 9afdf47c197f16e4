"""Accounts: order states, and portfolios that agree with the fills to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentexchange.testing._account import START_CASH, Account
from agentexchange.testing._market import Market
from agentexchange.testing._pairs import make_pairs

STAMP = "2026-02-23T15:30:45.123Z"
NEXT = {
    None: {"pending"},
    "pending": {"partially_filled", "filled", "cancelled", "rejected"},
    "partially_filled": {"partially_filled", "filled", "cancelled"},
}


class Run:
    """An account that trades while its market moves; every frame is kept."""

    def __init__(self, steps: int, seed: str = "1") -> None:
        self.market = Market(make_pairs(20, 1), 1)
        pairs = list(self.market.pairs.values())
        self.account = Account(pairs, seed)
        self.orders: list[dict[str, Any]] = []
        self.portfolios: list[dict[str, str]] = []
        for _ in range(steps):
            self.market.ticks(50, STAMP, encode=lambda *_: b"", wanted=())
            order, filled = self.account.step()
            self.orders.append(order.fields(STAMP))
            if filled:
                self.portfolios.append(self.account.portfolio(STAMP))


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(4000)


def test_a_seed_gives_the_same_orders(run: Run) -> None:
    assert Run(200).orders == run.orders[:200]
    assert Run(200, seed="2").orders != run.orders[:200]


def test_orders_move_through_their_states_and_no_further(run: Run) -> None:
    states: dict[str, str | None] = {}
    for order in run.orders:
        before = states.get(order["order_id"])
        assert order["status"] in NEXT[before]
        states[order["order_id"]] = order["status"]
    assert set(states.values()) >= {"filled", "cancelled", "rejected"}


def test_fields_are_there_when_they_apply(run: Run) -> None:
    for order in run.orders:
        assert {"order_id", "status", "symbol", "side", "type", "quantity"} <= order.keys()
        assert ("filled_at" in order) == (order["status"] == "filled")
        assert ("cancelled_at" in order) == (order["status"] == "cancelled")
        assert ("rejected_reason" in order) == (order["status"] == "rejected")
        assert ("price" in order) == (order["type"] == "limit")
        executed = {"executed_price", "executed_quantity", "fee"}
        assert executed <= order.keys() or executed.isdisjoint(order)
        if order["status"] in ("filled", "partially_filled"):
            assert executed <= order.keys()
        if order["status"] == "filled":
            assert order["executed_quantity"] == order["quantity"]
        assert all(isinstance(value, str) for value in order.values())


def test_executed_quantity_only_grows(run: Run) -> None:
    executed: dict[str, Decimal] = {}
    for order in run.orders:
        now = Decimal(order.get("executed_quantity", "0"))
        before = executed.get(order["order_id"], Decimal(0))
        assert now > before if order["status"] in ("filled", "partially_filled") else now == before
        assert now <= Decimal(order["quantity"])
        executed[order["order_id"]] = now


def test_cash_and_positions_follow_from_the_order_frames_alone(run: Run) -> None:
    cash, positions = START_CASH, dict[str, Decimal]()
    seen: dict[str, tuple[Decimal, Decimal]] = {}
    portfolios = iter(run.portfolios)
    for order in run.orders:
        quantity, fee = Decimal(order.get("executed_quantity", "0")), Decimal(order.get("fee", "0"))
        before_quantity, before_fee = seen.get(order["order_id"], (Decimal(0), Decimal(0)))
        seen[order["order_id"]] = quantity, fee
        if quantity == before_quantity:
            continue
        sign = 1 if order["side"] == "buy" else -1
        bought = sign * (quantity - before_quantity)
        positions[order["symbol"]] = positions.get(order["symbol"], Decimal(0)) + bought
        cash -= bought * Decimal(order["executed_price"]) + fee - before_fee
        assert positions[order["symbol"]] >= 0
        assert Decimal(next(portfolios)["available_cash"]) == cash >= 0
    held = {pair.symbol: position.quantity for pair, position in run.account.positions.items()}
    assert held == positions
    assert next(portfolios, None) is None


def test_the_portfolio_adds_up_exactly(run: Run) -> None:
    assert run.portfolios
    for portfolio in run.portfolios:
        equity, cash = Decimal(portfolio["total_equity"]), Decimal(portfolio["available_cash"])
        gain = Decimal(portfolio["realized_pnl"]) + Decimal(portfolio["unrealized_pnl"])
        assert equity == START_CASH + gain
        assert cash <= equity
        roi = (equity / START_CASH - 1) * 100
        assert abs(Decimal(portfolio["roi_pct"]) - roi) <= Decimal("0.00005")


def test_equity_is_cash_and_positions_at_the_last_price(run: Run) -> None:
    worth = sum(
        position.quantity * Decimal(pair.price).scaleb(-pair.spec.price_decimals)
        for pair, position in run.account.positions.items()
    )
    portfolio = run.account.portfolio(STAMP)
    assert Decimal(portfolio["total_equity"]) == Decimal(portfolio["available_cash"]) + worth
    assert any(position.quantity for position in run.account.positions.values())

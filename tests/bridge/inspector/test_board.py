"""The board: the newest of everything, whatever comes in which order."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from agentexchange_bridge.inspector.board import Board
from agentexchange_schemas import FeedState, ScopeStates, TopicState
from agentexchange_schemas.envelope import encode
from tests.bridge.inspector._samples import (
    OTHER,
    OWN,
    SECOND,
    START_US,
    notice,
    order,
    portfolio,
    read,
    tick,
)

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.views import PriceRow


def board(*raws: bytes, scope: str = "m0") -> Board:
    made = Board(["m0", OWN])
    for raw in raws:
        made.take(scope, read(raw))
    return made


def only_row(made: Board, at_us: int = 0) -> PriceRow:
    (row,) = made.prices(0, START_US + at_us)[1]
    return row


def test_the_newest_tick_of_a_symbol_is_shown() -> None:
    row = only_row(board(tick(0, "1.50"), tick(2 * SECOND, "3.00", seq=2)), at_us=5 * SECOND)
    assert (row.symbol, row.price, row.seq, row.age_s) == ("BTCUSDT", "3.00", 2, 3.0)
    assert row.received_us == START_US + 2 * SECOND


def test_what_comes_late_or_twice_changes_nothing() -> None:
    made = board(tick(SECOND, "2"))
    version = made.version
    for raw in (tick(SECOND, "9"), tick(0, "1")):
        made.take("m0", read(raw))
    assert only_row(made).price == "2"
    assert made.version == version


def test_only_what_changed_since_a_version_is_given() -> None:
    made = board(tick(0, symbol="A1"), tick(1, symbol="B2"))
    version, rows = made.prices(0, START_US)
    assert [row.symbol for row in rows] == ["A1", "B2"]
    assert made.prices(version, START_US) == (version, [])
    made.take("m0", read(tick(2, symbol="B2")))
    later, rows = made.prices(version, START_US)
    assert [row.symbol for row in rows] == ["B2"]
    assert later > version


def test_versions_go_on_where_another_board_took_over() -> None:
    version = board(tick(0)).version
    successor = Board(["m0"], version=version)
    successor.take("m0", read(tick(0)))
    assert len(successor.prices(version, START_US)[1]) == 1


def test_samples_are_spaced_in_time_and_bounded() -> None:
    made = Board(["m0"])
    for number in range(20_000):  # 50 a second, for 400 s
        made.take("m0", read(tick(number * 20_000, f"{number}.0")))
    spark = only_row(made, at_us=400 * SECOND).spark
    assert 50 <= len(spark) <= 60
    assert spark[-1] == 19_999.0
    assert all(240 <= after - before <= 260 for before, after in pairwise(spark[:-1]))
    assert spark[0] >= 5_000 - 260  # of the last 300 s


def test_old_samples_are_no_spark() -> None:
    made = board(tick(0, "1"), tick(400 * SECOND, "2"))
    assert only_row(made, at_us=401 * SECOND).spark == (2.0,)
    assert only_row(made, at_us=401 * SECOND).change_pct is None


def test_the_change_is_against_the_oldest_sample() -> None:
    made = board(tick(0, "200"), tick(10 * SECOND, "190"), tick(10 * SECOND + 1, "210"))
    assert only_row(made).change_pct == pytest.approx(5.0)


@pytest.mark.parametrize("price", [None, "abc", "nan", "inf", {"a": 1}, [1], "9" * 5000])
def test_a_price_that_is_no_number_is_shown_and_not_drawn(price: object) -> None:
    raw = encode("ticker:BTCUSDT", 7, 1, None, START_US, {"price": price})
    row = only_row(board(raw))
    assert row.spark == ()
    assert len(row.price) <= 64


def test_private_events_of_accounts_without_a_key_go_nowhere() -> None:
    made = Board(["m0", OWN])
    made.take(OTHER, read(order(0)))
    made.take(OTHER, read(portfolio(0)))
    assert made.account(OTHER).orders == ()
    assert made.account(OTHER).portfolio is None
    assert OTHER not in made.meters


def test_orders_and_portfolio_of_an_account() -> None:
    made = board(
        *(order(1, "o-1"), order(2, "o-2"), order(3, "o-1", "Filled"), order(0, "o-1")), portfolio(4, "5"), scope=OWN
    )
    view = made.account(OWN)
    assert [(row.order_id, row.status, row.is_open) for row in view.orders] == [
        ("o-1", "Filled", False),
        ("o-2", "pending", True),
    ]
    assert (view.portfolio, view.portfolio_us) == ({"total_equity": "5"}, START_US + 4)


def test_of_very_many_orders_the_newest_and_the_open_ones_are_kept() -> None:
    made = Board([OWN])
    for number in range(10_000):
        made.take(OWN, read(order(number, f"o-{number}", "filled" if number else "pending")))
    orders = made._accounts[OWN]._orders
    assert len(orders) <= 2_000
    assert "o-0" in orders
    assert len(made.account(OWN).orders) == 500
    assert made.account(OWN).orders[0].order_id == "o-9999"


def test_a_notice_changes_the_states_it_tells_of() -> None:
    made = board(tick(0, symbol="A1"), tick(0, symbol="B2"))
    made.take_states("m0", ScopeStates(TopicState(FeedState.LIVE)))
    version = made.version
    made.take("m0", read(notice(SECOND, FeedState.STALE, 0, topic="ticker:A1")))
    changed = made.prices(version, START_US)[1]
    assert [(row.symbol, row.state) for row in changed] == [("A1", FeedState.STALE)]
    made.take("m0", read(notice(2 * SECOND, FeedState.BLIND, 0)))
    assert {row.state for row in made.prices(0, START_US)[1]} == {FeedState.BLIND}


def test_a_notice_that_is_none_is_let_go() -> None:
    made = board(encode("status", 7, 1, None, START_US, {"state": "no such"}))
    assert made.notices.gaps() == []


def test_a_new_symbol_takes_the_state_that_its_scope_has() -> None:
    made = Board(["m0"])
    made.take_states("m0", ScopeStates(TopicState(FeedState.NO_BRIDGE)))
    made.take("m0", read(tick(0)))
    assert only_row(made).state is FeedState.NO_BRIDGE


def test_symbols_are_sorted_and_counted_by_scope() -> None:
    made = board(tick(0, symbol="ZZ"), tick(0, symbol="AA"))
    assert list(made.symbols()) == ["AA", "ZZ"]
    assert (made.topics("m0"), made.topics(OWN)) == (2, 0)

from __future__ import annotations

from typing import Any

import pytest

from agentexchange.truth import AccountTruth, Snapshot, Span
from agentexchange.truth._orders import KnownOrders, state_of
from agentexchange.truth._words import MAX_IDS
from agentexchange_schemas import Cause, FeedState
from agentexchange_schemas.frames import FramedFields, frame_in

from ._orders import at, iso, order, portfolio

SPAN = Span(at(100), at(110))


def after_a_span(*orders: dict[str, Any], known: dict[str, Any] | None = None) -> AccountTruth:
    """Knows these, and has just come out of `SPAN`."""
    truth = AccountTruth()
    for fields in orders:
        truth.order(fields)
    if known is not None:
        truth.portfolio(known)
    truth.blind(SPAN.since)
    assert truth.seeing(SPAN.until) == SPAN
    return truth


def flagged(fields: dict[str, Any] | None) -> bool:
    assert fields is not None
    assert fields.get("reconciled", True) is True
    return "reconciled" in fields


# Events


def test_without_a_span_everything_is_handed_on_as_it_came() -> None:
    truth = AccountTruth()
    first, again = order("1"), order("1")
    assert truth.order(first) is first
    assert truth.order(again) is again, "upstream said it twice: so do we"
    worth = portfolio("1", "2")
    assert truth.portfolio(worth) == (worth, None)
    assert truth.seeing(at(1)) is None


def test_an_order_that_was_executed_before_it_was_cancelled_shows_that_something_was_missed() -> None:
    truth = after_a_span(order("1"), order("2"), order("3", "partially_filled", "4"))
    assert flagged(truth.order(order("1", "cancelled", "3")))
    assert not flagged(truth.order(order("2", "cancelled")))
    assert not flagged(truth.order(order("3", "filled", "10"))), "one fill more is the ordinary step"


def test_only_the_first_update_after_a_span_is_looked_at() -> None:
    truth = after_a_span(order("1"))
    assert not flagged(truth.order(order("1", "partially_filled", "1")))
    assert not flagged(truth.order(order("1", "cancelled", "3")))


@pytest.mark.parametrize(("name", "seconds"), [("filled_at", 105), ("cancelled_at", 109.9), ("updated_at", 100)])
def test_an_update_whose_own_time_lies_in_the_span_is_of_it(name: str, seconds: float) -> None:
    truth = after_a_span(order("1"))
    assert flagged(truth.order(order("1", "filled", "10", **{name: iso(seconds)})))
    assert not flagged(truth.order(order("1", "filled", "10", **{name: iso(seconds)}))), "each change once"


@pytest.mark.parametrize("seconds", [99.9, 110.0, 111.0])
def test_an_update_from_before_or_after_the_span_is_not(seconds: float) -> None:
    truth = after_a_span(order("1"))
    assert not flagged(truth.order(order("1", "filled", "10", filled_at=iso(seconds))))
    assert not flagged(truth.order(order("2", "filled", "10", filled_at="soon")))


def test_a_flagged_event_keeps_the_frame_that_it_came_in() -> None:
    truth = after_a_span(order("1"), known=portfolio("10", "0"))
    told = truth.order(FramedFields(order("1", "cancelled", "3"), "of the order"))
    assert flagged(told)
    worth, _ = truth.portfolio(FramedFields(portfolio("9", "1"), "of the portfolio"))
    assert told is not None
    assert worth is not None
    assert (frame_in(told), frame_in(worth)) == ("of the order", "of the portfolio")


def test_the_dict_that_came_is_not_changed() -> None:
    truth = after_a_span(order("1"))
    fields = order("1", "cancelled", "3")
    assert flagged(truth.order(fields))
    assert "reconciled" not in fields


# Portfolios


def test_the_first_portfolio_that_moved_without_an_order_tells_of_the_span() -> None:
    truth = after_a_span(known=portfolio("100", "0"))
    told, status = truth.portfolio(portfolio("90", "-1"))
    assert flagged(told)
    assert status is not None
    assert (status.state, status.cause, status.topic) == (FeedState.LIVE, Cause.ORDERS_UNKNOWN, "portfolio")
    assert (status.since, status.until) == (SPAN.since, SPAN.until)
    assert "available_cash from 100 to 90, realized_pnl from 0 to -1" in (status.message or "")
    assert truth.portfolio(portfolio("80", "-2")) == (portfolio("80", "-2"), None), "only the first is looked at"


@pytest.mark.parametrize(
    "after",
    [
        portfolio("100.00000000", "0.0", equity="123"),
        portfolio(None, "0"),
        portfolio("100", None),
        portfolio("junk", "0"),
    ],
)
def test_a_portfolio_that_only_the_prices_moved_tells_nothing(after: dict[str, Any]) -> None:
    truth = after_a_span(known=portfolio("100", "0"))
    assert truth.portfolio(after) == (after, None)


def test_an_order_since_explains_what_it_can_move() -> None:
    truth = after_a_span(order("1"), known=portfolio("100", "0"))
    truth.order(order("1", "filled", "10"))
    assert truth.portfolio(portfolio("90", "-1"))[1] is None


def test_an_order_that_executes_nothing_explains_the_cash_but_no_profit() -> None:
    truth = after_a_span(order("1"), order("2"), known=portfolio("100", "0"))
    truth.order(order("1", "cancelled"))
    told, status = truth.portfolio(portfolio("90", "-1"))
    assert flagged(told)
    assert "available_cash" not in str(status)
    truth = after_a_span(order("1"), known=portfolio("100", "0"))
    truth.order(order("1", "cancelled"))
    assert truth.portfolio(portfolio("110", "0"))[1] is None


def test_an_order_of_the_span_itself_explains_nothing() -> None:
    truth = after_a_span(order("1"), known=portfolio("100", "0"))
    truth.order(order("1", "cancelled", "3"))
    assert truth.portfolio(portfolio("90", "-1"))[1] is not None


def test_a_first_portfolio_ever_has_nothing_to_differ_from() -> None:
    truth = after_a_span()
    assert truth.portfolio(portfolio("1", "1"))[1] is None
    assert truth.portfolio(portfolio("2", "2"))[1] is None


# Nobody can be asked


def test_what_may_be_missing_is_told_with_the_orders_that_were_open() -> None:
    truth = after_a_span(order("1"), order("2", "partially_filled", "1"), order("3", "filled", "10"))
    status = truth.unanswered(SPAN)
    assert (status.topic, status.state, status.cause) == ("orders", FeedState.LIVE, Cause.ORDERS_UNKNOWN)
    assert (status.since, status.until, status.count) == (SPAN.since, SPAN.until, 2)
    assert status.message == (
        "2 open orders may have changed (1, 2); orders placed and finished while nothing was seen cannot be known"
    )
    truth.order(order("1", "filled", "10"))
    assert "1 open order may have changed (2)" in str(truth.unanswered(SPAN, "HTTP 503").message)
    assert "HTTP 503" in str(truth.unanswered(SPAN, "HTTP 503").message)
    truth.order(order("2", "filled", "10"))
    assert "no open order is known" in str(truth.unanswered(SPAN).message)


def test_a_message_names_a_bounded_number_of_bounded_ids() -> None:
    truth = after_a_span(*(order(f"{number:0>300}") for number in range(5000)))
    status = truth.unanswered(SPAN)
    assert status.count == 5000
    assert f"and {5000 - MAX_IDS} more" in str(status.message)
    assert len(str(status.message)) < 2000


def test_a_span_that_begins_twice_is_one() -> None:
    truth = after_a_span()
    truth.blind(at(120))
    truth.blind(at(130))
    assert truth.seeing(at(140)) == Span(at(120), at(140))
    truth.blind(at(150))
    assert truth.seeing(at(149)) == Span(at(150), at(150)), "clocks may disagree"


def test_what_is_remembered_is_bounded_and_final_orders_go_first() -> None:
    known = KnownOrders(3)
    for fields in (order("open"), order("old", "filled"), order("new", "filled"), order("late")):
        known.put(fields["order_id"], state_of(fields), fields)
    assert known.get("old") is None
    assert known.get("new") is not None
    for number in range(5):
        known.put(f"n{number}", state_of(order("x")), order("x"))
    assert list(known.open_ids) == ["n2", "n3", "n4"]


# The platform was asked


def asked(truth: AccountTruth, *, meanwhile: list[dict[str, Any]] | None = None, **snapshot: Any) -> Any:
    truth.asking()
    for fields in meanwhile or []:
        truth.order(fields)
    return truth.answered(SPAN, Snapshot(**snapshot))


def test_orders_that_changed_are_handed_out_once_and_others_are_not() -> None:
    truth = after_a_span(order("1"), order("2"), order("3", "partially_filled", "1.0"), order("4"))
    findings = asked(
        truth,
        open_orders=(order("2"), order("3", "partially_filled", "2", filled_at=iso(104))),
        orders=(order("1", "filled", "10", filled_at=iso(102)), order("4", "Canceled", created_at=iso(1))),
    )
    assert [(fields["order_id"], fields["status"]) for _, fields in findings.events] == [
        ("4", "Canceled"),
        ("1", "filled"),
        ("3", "partially_filled"),
    ]
    assert all(topic == "orders" and flagged(fields) for topic, fields in findings.events)
    (status,) = findings.statuses
    assert (status.cause, status.count, status.topic, status.state) == (Cause.RECONCILED, 3, "orders", FeedState.LIVE)
    again = asked(truth, open_orders=(order("2"),), orders=(order("1", "filled", "10"), order("4", "cancelled")))
    assert (again.events, again.statuses) == ([], [])


def test_what_came_by_asking_does_not_come_again_by_the_feed() -> None:
    truth = after_a_span(order("1"))
    asked(truth, open_orders=(order("1", "partially_filled", "5"),))
    assert truth.order(order("1", "partially_filled", "3")) is None
    assert truth.order(order("1", "partially_filled", "5.00000000")) is None
    more = order("1", "partially_filled", "7")
    assert truth.order(more) is more
    assert truth.order(dict(more)) == more, "from here on the feed is taken at its word"


def test_what_the_feed_brought_meanwhile_is_newer_than_the_answer() -> None:
    truth = after_a_span(order("1"), order("2"))
    meanwhile = [order("1", "filled", "10"), order("2", "triggered"), order("3", "partially_filled", "1")]
    findings = asked(truth, meanwhile=meanwhile, open_orders=(order("1"), order("2"), order("3")))
    assert findings.events == []


def test_an_answer_that_leaves_something_out_says_nothing_of_it() -> None:
    truth = after_a_span(order("1", "partially_filled", "4", fee="0.1"))
    findings = asked(truth, orders=(order("1", "cancelled", None, fee=None, slippage_pct="0.1"),))
    ((_, fields),) = findings.events
    assert (fields["executed_quantity"], fields["fee"], fields["slippage_pct"]) == ("4", "0.1", "0.1")
    assert truth.order(order("1", "cancelled", "4")) is None


def test_an_order_that_was_never_heard_of_is_handed_out_where_it_is_of_the_span() -> None:
    truth = after_a_span()
    findings = asked(
        truth,
        open_orders=(order("open", created_at=iso(-9000)),),
        orders=(
            order("in", "filled", "10", filled_at=iso(105)),
            order("clocks", "filled", "10", filled_at=iso(95)),
            order("before", "filled", "10", filled_at=iso(60)),
            order("placed", "cancelled", created_at=iso(101)),
            order("timeless", "rejected"),
        ),
    )
    assert [fields["order_id"] for _, fields in findings.events] == ["open", "clocks", "placed", "in"]


def test_an_order_that_others_handed_out_is_not_new() -> None:
    truth = after_a_span()
    in_span = order("in", "filled", "10", filled_at=iso(105))
    assert truth.strangers(["in"]) == ["in"]
    truth.restore([in_span | {"reconciled": True}])
    assert truth.strangers(["in"]) == []
    assert asked(truth, orders=(in_span,)).events == []


def test_orders_of_which_no_answer_tells_are_named() -> None:
    truth = after_a_span(order("1"), order("2"), order("3"))
    assert truth.missing(["3"]) == ["1", "2"]
    findings = asked(truth, open_orders=(order("3"),), gone=frozenset({"1"}), gaps=("HTTP 404 for the list",))
    (status,) = findings.statuses
    assert (status.cause, status.count) == (Cause.ORDERS_UNKNOWN, 2)
    assert status.message == "what became of 2 open orders cannot be known (1, 2); HTTP 404 for the list"
    assert truth.missing([]) == ["2"], "the platform knows the other no more: it is not asked for again"


def test_a_portfolio_that_trades_have_moved_is_handed_out_once() -> None:
    truth = after_a_span(known=portfolio("100", "0"))
    findings = asked(truth, portfolio=portfolio("90", "-1", equity="99"))
    assert [(topic, flagged(fields)) for topic, fields in findings.events] == [("portfolio", True)]
    assert truth.portfolio(portfolio("90.0", "-1.0", equity="99.00")) == (None, None)
    later = portfolio("90", "-1", equity="98")
    assert truth.portfolio(later) == (later, None)


def test_a_portfolio_that_only_the_prices_moved_is_not_handed_out() -> None:
    truth = after_a_span(known=portfolio("100", "0"))
    assert asked(truth, portfolio=portfolio("100", "0", equity="7")).events == []


def test_a_portfolio_that_came_by_the_feed_first_stands() -> None:
    truth = after_a_span(known=portfolio("100", "0"))
    truth.asking()
    told, status = truth.portfolio(portfolio("90", "-1"))
    assert (flagged(told), status) == (True, None), "the answer will tell"
    assert truth.answered(SPAN, Snapshot(portfolio=portfolio("80", "-2"))).events == []


def test_a_portfolio_is_new_where_none_was_known() -> None:
    assert len(asked(after_a_span(), portfolio=portfolio("1", "1")).events) == 1


def test_an_answer_that_comes_in_the_next_span_leaves_that_span_open() -> None:
    truth = after_a_span(order("1"), order("2"), known=portfolio("100", "0"))
    truth.asking()
    truth.blind(at(120))
    assert truth.answered(SPAN, Snapshot(open_orders=(order("1"), order("2")))).events == []
    span = truth.seeing(at(130))
    assert span is not None
    assert truth.unanswered(span).count == 2
    assert flagged(truth.portfolio(portfolio("90", "-1"))[0])


def test_who_hands_out_no_more_forgets_everything() -> None:
    truth = after_a_span(order("1"), known=portfolio("100", "0"))
    truth.clear()
    assert truth.missing([]) == []
    assert truth.portfolio(portfolio("1", "1"))[1] is None
    truth.restore([order("1", "filled"), order("2")], portfolio("5", "5"))
    assert truth.missing([]) == ["2"]

"""Event models: strings as sent, exact views beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from agentexchange_schemas import EVENT_MODELS, Candle, Kind, OrderUpdate, Portfolio, Ticker
from agentexchange_schemas.events import event_time_ms


def test_a_ticker_keeps_strings_and_offers_exact_views() -> None:
    tick = Ticker(symbol="A", price="0.10", quantity="3", timestamp="2026-02-23T15:30:45.123Z")
    assert tick.price == "0.10"
    assert (tick.price_decimal, tick.quantity_decimal) == (Decimal("0.10"), Decimal(3))
    assert tick.time == datetime(2026, 2, 23, 15, 30, 45, 123_000, UTC)


def test_unknown_fields_are_kept_and_models_are_frozen() -> None:
    tick = Ticker.model_validate({"symbol": "A", "price": "1", "spread": "0.5"})
    assert tick.model_extra == {"spread": "0.5"}
    assert tick.decimal("spread") == Decimal("0.5")
    assert tick.decimal("absent") is None
    with pytest.raises(ValidationError):
        tick.price = "2"


@pytest.mark.parametrize("fields", [{"order_id": "1", "status": "filled"}, {"total_equity": "1"}])
def test_what_comes_late_says_so_and_everything_else_need_not(fields: dict[str, str]) -> None:
    model = OrderUpdate if "order_id" in fields else Portfolio
    assert model.model_validate(fields).reconciled is False
    assert model.model_validate(fields | {"reconciled": True}).reconciled is True


def test_a_view_of_a_text_that_is_no_number_names_the_field() -> None:
    with pytest.raises(ValueError, match="fee 'free'"):
        OrderUpdate(order_id="1", status="filled", fee="free").decimal("fee")


def test_what_upstream_left_out_is_none() -> None:
    assert Portfolio().roi_pct_decimal is None
    assert Ticker(symbol="A", price="1").time is None
    assert OrderUpdate(order_id="1", status="pending").executed_price_decimal is None


@pytest.mark.parametrize(("status", "final"), [("filled", True), ("CANCELLED", True), ("partially_filled", False)])
def test_final_statuses(status: str, *, final: bool) -> None:
    assert OrderUpdate(order_id="1", status=status).is_final is final


def test_a_candle_knows_when_it_opened() -> None:
    candle = Candle(symbol="A", interval="1m", open="1", high="2", low="1", close="2", open_time="1771860645")
    assert candle.opened_at == datetime(2026, 2, 23, 15, 30, 45, tzinfo=UTC)
    assert candle.high_decimal == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-23T15:30:45.123Z", 1771860645123),
        ("2026-02-23T16:30:45.123+01:00", 1771860645123),
        ("2026-02-23T15:30:45.123", 1771860645123),
        ("1771860645123", 1771860645123),
        ("1771860645", 1771860645000),
        ("yesterday", None),
        ("1969-12-31T23:59:59Z", None),
        ("9" * 40, None),
        ("", None),
    ],
)
def test_upstream_time_in_milliseconds(text: str, expected: int | None) -> None:
    assert event_time_ms({"timestamp": text}) == expected


def test_upstream_time_is_none_where_upstream_names_none() -> None:
    assert event_time_ms({"timestamp": None, "price": "1"}) is None


def test_every_kind_has_a_model() -> None:
    assert set(EVENT_MODELS) == set(Kind)

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.frames import differences, why_none
from agentexchange_schemas.upstream import EventFrame, parse

LIVE = {"channel": "ticker", "symbol": "BTCUSDT", "data": {"price": "64521.3", "quantity": "1", "timestamp": "t"}}
FLAT = {"type": "ticker", "symbol": "btcusdt", "price": 64521.30, "timestamp": "t"}


def told(frame: dict[str, Any], **changes: Any) -> list[str]:
    """Of what the bridge makes of a frame, changed."""
    text = json.dumps(frame)
    event = parse(text.encode())
    assert isinstance(event, EventFrame)
    return differences(text, event.fields | changes)


def test_of_the_live_dialect_only_the_outside_is_left_out() -> None:
    assert told(LIVE) == ["left out: channel"]


def test_a_number_is_the_same_as_its_text_and_a_symbol_in_small_letters_is_not() -> None:
    assert told(FLAT) == ["left out: type", "changed: symbol, from btcusdt to BTCUSDT"]


def test_what_was_added_and_what_was_changed_is_named() -> None:
    order = {"channel": "orders", "data": {"order_id": "1", "status": "new", "fills": [{"price": "1"}]}}
    assert told(order, reconciled=True, fills=[]) == [
        "added: reconciled",
        "not sent: symbol, side, executed_price, executed_quantity",
        "left out: channel",
        'changed: fills, from [{"price": "1"}] to []',
    ]


@given(st.dictionaries(st.text(), st.text() | st.booleans() | st.none(), max_size=5))
def test_the_same_fields_differ_in_nothing(fields: dict[str, Any]) -> None:
    assert differences(json.dumps({"data": fields}), fields) == []


def test_what_is_said_is_text_whatever_the_frame_escapes() -> None:
    assert differences(r'{"\ud800": 1, "price": "\udfff"}', {"price": "1"}) == [
        r"left out: \ud800",
        r"changed: price, from \udfff to 1",
    ]


@pytest.mark.parametrize("frame", ["", "[]", "5", "{", "[" * 100_000])
def test_a_frame_that_says_nothing_is_no_error(frame: str) -> None:
    assert differences(frame, {"price": "1"}) == ["the frame is no JSON object"]


@pytest.mark.parametrize(
    ("topic", "fields", "words"),
    [
        ("status", {}, "from the bridge"),
        ("candles:A:1m", {"source": "built"}, "none: built from ticks"),
        ("candles:A:1m", {"source": "upstream"}, "not kept: run the bridge with --keep-frames"),
        ("orders", {"reconciled": True}, "read by REST after a blind span, or not kept"),
        ("orders", {}, "not kept: run the bridge with --keep-frames"),
        ("ticker:A", {"source": "built"}, "not kept: run the bridge with --keep-frames"),
    ],
)
def test_why_there_is_none(topic: str, fields: dict[str, Any], words: str) -> None:
    assert words in why_none(topic, fields)

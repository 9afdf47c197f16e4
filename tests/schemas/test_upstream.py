"""The platform's frames in both dialects, their mixtures, and junk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_schemas import FrameError, Topic
from agentexchange_schemas.envelope import decode, encode
from agentexchange_schemas.upstream import (
    MAX_FRAME_BYTES,
    PONG,
    Ack,
    EventFrame,
    Ping,
    Refusal,
    parse,
    subscribe_request,
    unsubscribe_request,
)

from .test_topics import symbols

TICK = {
    "price": "64521.30000000",
    "quantity": "0.012",
    "timestamp": "2026-02-23T15:30:45.123Z",
    "is_buyer_maker": False,
}
CANDLE = {"open": "1", "high": "4", "low": "0.5", "close": "2", "volume": "10", "is_closed": True}
ORDER = {"order_id": "o-1", "status": "filled", "symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "1"}


def frame(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def event(**fields: Any) -> EventFrame:
    message = parse(frame(**fields))
    assert isinstance(message, EventFrame)
    return message


@pytest.mark.parametrize(
    "raw",
    [
        frame(channel="ticker", symbol="BTCUSDT", data=TICK),
        frame(channel="ticker_all", symbol="BTCUSDT", data=TICK),
        frame(channel="ticker", data=TICK | {"symbol": "BTCUSDT"}),
        frame(channel="ticker", symbol=" btcusdt ", data=TICK),
        frame(channel="ticker:BTCUSDT", data=TICK),
        frame(channel="ticker:BTCUSDT", **TICK),
        frame(channel="ticker:all", symbol="BTCUSDT", data=TICK),
        frame(type="ticker", symbol="BTCUSDT", **TICK),
        frame(type="ticker", channel="ticker", symbol="BTCUSDT", **TICK),
    ],
)
def test_a_ticker_in_every_dialect_gives_the_same_event(raw: bytes) -> None:
    message = parse(raw)
    assert message == EventFrame("ticker:BTCUSDT", {"symbol": "BTCUSDT"} | TICK)
    assert list(message.fields)[:3] == ["symbol", "price", "timestamp"]


@pytest.mark.parametrize(
    "raw",
    [
        frame(channel="candles", symbol="BTCUSDT", interval="1m", data=CANDLE | {"time": "T"}),
        frame(channel="candles:BTCUSDT:1m", data=CANDLE | {"time": "T"}),
        frame(type="candle", symbol="BTCUSDT", interval="1m", time="T", **CANDLE),
    ],
)
def test_a_candle_in_every_dialect(raw: bytes) -> None:
    expected = {"symbol": "BTCUSDT", "interval": "1m", "open_time": "T", "time": "T"} | CANDLE
    assert parse(raw) == EventFrame("candles:BTCUSDT:1m", expected)


def test_a_candle_may_name_its_open_time_itself() -> None:
    assert event(type="candle", symbol="A", interval="4h", open_time="T", **CANDLE).fields["open_time"] == "T"


def test_an_order_keeps_its_own_type_and_gets_the_documented_fields() -> None:
    fields = event(channel="orders", data=ORDER).fields
    assert fields == ORDER | {"executed_price": None, "executed_quantity": None}
    assert event(channel="orders", **ORDER).fields == fields
    flat = event(**(ORDER | {"type": "order_update"})).fields
    assert "type" not in flat
    assert flat["order_id"] == "o-1"


def test_a_portfolio_gets_the_documented_fields() -> None:
    fields = event(channel="portfolio", data={"total_equity": "5", "note": "new"}).fields
    assert fields == {
        "total_equity": "5",
        "available_cash": None,
        "unrealized_pnl": None,
        "roi_pct": None,
        "note": "new",
    }


def test_numbers_become_the_very_text_that_upstream_sent() -> None:
    raw = (
        b'{"channel":"ticker","symbol":"A","data":{"price":0.10000000000000000555,"quantity":7,"is_buyer_maker":true}}'
    )
    fields = parse(raw).fields  # type: ignore[union-attr]
    assert (fields["price"], fields["quantity"]) == ("0.10000000000000000555", "7")


def test_an_added_field_is_kept_and_can_always_be_carried() -> None:
    fields = event(channel="ticker", symbol="A", data={"price": "1", "big": 2**70, "deep": {"x": [1, None]}}).fields
    assert fields["big"] == str(2**70)
    assert fields["deep"] == {"x": [1, None]}
    assert decode(encode("ticker:A", 1, 1, None, 1, fields)).data == fields


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b'{"channel":"ticker"', "not_json"),
        (b'{"channel":"portfolio","data":{"x":NaN}}', "not_json"),
        (b'{"channel":"portfolio","data":{"x":"\\ud800"}}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[1]", "not_object"),
        (b"7", "not_object"),
        (b"null", "not_object"),
        (b"{}", "unknown_type"),
        (b'{"type":"welcome"}', "unknown_type"),
        (b'{"type":["ticker"]}', "unknown_type"),
        (b'{"channel":5}', "unknown_channel"),
        (b'{"channel":"trades:A","data":{}}', "unknown_channel"),
        (b'{"channel":"ticker","symbol":"A","data":[]}', "bad_data"),
        (b'{"channel":"ticker","symbol":"A","data":{}}', "bad_ticker_price"),
        (b'{"channel":"ticker","symbol":"A","data":{"price":null}}', "bad_ticker_price"),
        (b'{"channel":"ticker","symbol":"A","data":{"price":""}}', "bad_ticker_price"),
        (b'{"channel":"ticker","symbol":"A","data":{"price":true}}', "bad_ticker_price"),
        (b'{"channel":"ticker","symbol":"A","data":{"price":"nan"}}', "bad_ticker_price"),
        (b'{"channel":"ticker","data":{"price":"1"}}', "bad_symbol"),
        (b'{"channel":"ticker","symbol":"{a}","data":{"price":"1"}}', "bad_symbol"),
        (b'{"channel":"ticker","symbol":"ALL","data":{"price":"1"}}', "bad_symbol"),
        (b'{"channel":"candles","symbol":"all","interval":"1m","data":{"open":"1","high":"1","low":"1","close":"1"}}',
         "bad_symbol"),
        (b'{"channel":"ticker","symbol":["A"],"data":{"price":"1"}}', "bad_symbol"),
        (b'{"channel":"candles","symbol":"A","interval":"2m","data":{"open":"1","high":"1","low":"1","close":"1"}}',
         "bad_interval"),
        (b'{"channel":"candles","symbol":"A","interval":["1m"],"data":{"open":"1","high":"1","low":"1","close":"1"}}',
         "bad_interval"),
        (b'{"channel":"orders","data":{"status":"filled"}}', "bad_order_order_id"),
        (b'{"type":"subscribed"}', "bad_answer"),
        (b'{"type":"error","code":5}', "bad_answer"),
        (b'{"channel":"portfolio","data":{"x":' + b"[" * 9 + b"]" * 9 + b"}}", "too_deep"),
        (b" " * (MAX_FRAME_BYTES + 1), "too_large"),
    ],
)  # fmt: skip
def test_junk_is_one_error_that_says_what(raw: bytes, kind: str) -> None:
    with pytest.raises(FrameError) as caught:
        parse(raw)
    assert caught.value.kind == kind
    assert caught.value.field
    assert raw.startswith(caught.value.sample)
    assert len(str(caught.value)) < 400


@given(st.binary(max_size=200))
def test_random_bytes_are_a_message_or_the_documented_error(raw: bytes) -> None:
    try:
        message = parse(raw)
    except FrameError as exc:
        assert exc.kind
    else:  # rare, and only a search that knows the protocol's own words gets here
        assert isinstance(message, EventFrame | Ack | Refusal | Ping)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
words = st.sampled_from(
    ["ticker", "ticker_all", "candles", "orders", "portfolio", "order", "candle", "ticker:A", "error"]
)
hostile_frames = st.fixed_dictionaries(
    {},
    optional={
        "channel": words | json_values,
        "type": words | json_values,
        "symbol": symbols | json_values,
        "interval": st.just("1m") | json_values,
        "price": json_values,
        "data": st.fixed_dictionaries(
            {},
            optional={
                name: st.just("1") | json_values
                for name in (
                    "price",
                    "symbol",
                    "open",
                    "high",
                    "low",
                    "close",
                    "order_id",
                    "status",
                    "quantity",
                    "added",
                )
            },
        )
        | json_values,
    },
)


@given(hostile_frames)
def test_any_object_is_a_message_that_can_be_carried_or_one_error(body: dict[str, Any]) -> None:
    try:
        message = parse(json.dumps(body).encode())
    except FrameError as exc:
        assert exc.kind
        assert exc.field
    else:
        if isinstance(message, EventFrame):
            assert decode(encode(message.topic, 1, 1, None, 1, message.fields)).data == message.fields


def test_answers_and_heartbeat() -> None:
    assert parse(b'{"type":"ping"}') == Ping()
    assert parse(b'{"type":"subscribed","channel":"ticker:all"}') == Ack(True, "ticker:all")
    assert parse(b'{"type":"unsubscribed","channel":"orders"}') == Ack(False, "orders")
    assert parse(b'{"type":"error","code":"SUBSCRIPTION_LIMIT","message":"no"}') == Refusal("SUBSCRIPTION_LIMIT", "no")
    assert parse(b'{"type":"error","code":"X"}') == Refusal("X", "")


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("ticker:BTCUSDT", {"channel": "ticker", "symbol": "BTCUSDT"}),
        ("ticker:all", {"channel": "ticker_all"}),
        ("candles:BTCUSDT:1m", {"channel": "candles", "symbol": "BTCUSDT", "interval": "1m"}),
        ("orders", {"channel": "orders"}),
        ("portfolio", {"channel": "portfolio"}),
    ],
)
def test_requests_are_the_live_platforms(topic: str, body: dict[str, str]) -> None:
    assert json.loads(subscribe_request(Topic.parse(topic))) == {"action": "subscribe"} | body
    assert json.loads(unsubscribe_request(Topic.parse(topic))) == {"action": "unsubscribe"} | body


def test_the_pong_speaks_both_dialects() -> None:
    assert json.loads(PONG) == {"type": "pong", "action": "pong"}

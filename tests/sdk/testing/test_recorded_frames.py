"""Frames rebuilt from recorded fields: what a client decodes is what was recorded, field by field and in order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange.testing._dialect import LiveDialect, PageDialect
from agentexchange_schemas import INTERVALS
from agentexchange_schemas.upstream import EventFrame, parse

LIVE, PAGE = LiveDialect(), PageDialect()

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,8})?", fullmatch=True)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
symbols = st.sampled_from(["BTCUSDT", "1000-X.Y_Z", "A"])
flags = st.booleans()


def fields_of(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The known fields, each optional one sent, null or left out, in any order, and unknown ones beside them."""
    known = st.fixed_dictionaries(required, optional={name: st.none() | value for name, value in optional.items()})
    more = st.dictionaries(
        texts.filter(lambda name: name not in {"type", "channel", "data", "symbol", "interval", *required, *optional}),
        anything,
        max_size=3,
    )
    return st.tuples(known, more).flatmap(lambda pair: st.permutations(list({**pair[0], **pair[1]}.items())).map(dict))


ticks = fields_of({"price": numbers}, {"quantity": texts, "timestamp": texts, "is_buyer_maker": flags})
candles = fields_of(
    {"open": numbers, "high": numbers, "low": numbers, "close": numbers},
    {"volume": texts, "time": texts, "open_time": texts, "is_closed": flags},
)
orders = fields_of(
    {"order_id": names, "status": names},
    dict.fromkeys(
        (
            *("symbol", "side", "type", "quantity", "price", "executed_price", "executed_quantity", "fee"),
            *("filled_at", "cancelled_at", "rejected_reason"),
        ),
        texts,
    ),
)
portfolios = fields_of(
    {},
    dict.fromkeys(("total_equity", "available_cash", "unrealized_pnl", "realized_pnl", "roi_pct", "timestamp"), texts),
)
frames = st.one_of(
    st.builds(lambda symbol, data: {"channel": "ticker", "symbol": symbol, "data": data}, symbols, ticks),
    st.builds(
        lambda symbol, interval, data: {"channel": "candles", "symbol": symbol, "interval": interval, "data": data},
        symbols,
        st.sampled_from(INTERVALS),
        candles,
    ),
    st.builds(lambda data: {"channel": "orders", "data": data}, orders),
    st.builds(lambda data: {"channel": "portfolio", "data": data}, portfolios),
)


def read(payload: bytes) -> EventFrame:
    message = parse(payload)
    assert isinstance(message, EventFrame)
    return message


@given(frames)
def test_a_live_frame_decodes_to_exactly_the_recorded_fields(sent: dict[str, Any]) -> None:
    recorded = read(json.dumps(sent).encode())
    served = read(LIVE.recorded(recorded.topic, recorded.fields))
    assert served.topic == recorded.topic
    assert json.dumps(served.fields) == json.dumps(recorded.fields), "the same, and in the same order"


@given(frames)
def test_a_page_frame_decodes_to_the_documented_fields(sent: dict[str, Any]) -> None:
    recorded = read(json.dumps(sent).encode())
    served = read(PAGE.recorded(recorded.topic, recorded.fields))
    assert served.topic == recorded.topic
    assert served.fields == {name: recorded.fields[name] for name in served.fields}


@pytest.mark.parametrize(
    "payload",
    [
        (
            b'{"channel":"ticker","symbol":"BTCUSDT","data":{"price":"64521.30000000","quantity":"0.01200000",'
            b'"timestamp":"2026-02-23T15:30:45.123Z","is_buyer_maker":false}}'
        ),
        (
            b'{"channel":"candles","symbol":"BTCUSDT","interval":"1m","data":{"time":"2026-02-23T15:30:00.000Z",'
            b'"open":"1","high":"3","low":"1","close":"2","volume":"9.5","is_closed":true}}'
        ),
        (
            b'{"channel":"orders","data":{"order_id":"o-1","status":"pending","symbol":"BTCUSDT","side":"buy",'
            b'"type":"limit","quantity":"1.00000000","price":"64000.00000000"}}'
        ),
        (
            b'{"channel":"orders","data":{"order_id":"o-1","status":"filled","symbol":"BTCUSDT","side":"buy",'
            b'"type":"limit","quantity":"1.00000000","price":"64000.00000000","executed_price":"64000.00000000",'
            b'"executed_quantity":"1.00000000","fee":"64.00000000","filled_at":"2026-02-23T15:30:45.123Z"}}'
        ),
        (
            b'{"channel":"portfolio","data":{"total_equity":"100000.00","available_cash":"36000.00",'
            b'"unrealized_pnl":"0.00","realized_pnl":"-64.00","timestamp":"2026-02-23T15:30:45.123Z"}}'
        ),
    ],
    ids=["ticker", "candles", "order", "filled", "portfolio"],
)
def test_the_platform_s_own_frames_come_back_byte_for_byte(payload: bytes) -> None:
    recorded = read(payload)
    assert LIVE.recorded(recorded.topic, recorded.fields) == payload


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"ticker","symbol":"BTCUSDT","price":"64521.3","timestamp":"2026-02-23T15:30:45.123Z"}',
        (
            b'{"type":"candle","symbol":"BTCUSDT","interval":"4h","open":"1","high":"3","low":"1","close":"2",'
            b'"volume":"9.5","open_time":"2026-02-23T12:00:00.000Z"}'
        ),
        (
            b'{"type":"order_update","order_id":"o-1","symbol":"BTCUSDT","side":"buy","status":"filled",'
            b'"executed_price":"64000","executed_quantity":"1"}'
        ),
        b'{"type":"portfolio","total_equity":"1","available_cash":"2","unrealized_pnl":"3","roi_pct":"4"}',
    ],
    ids=["ticker", "candle", "order", "portfolio"],
)
def test_the_page_s_own_frames_come_back_byte_for_byte(payload: bytes) -> None:
    recorded = read(payload)
    assert PAGE.recorded(recorded.topic, recorded.fields) == payload

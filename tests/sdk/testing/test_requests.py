"""The decision about a client's message: pure, and safe against anything."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange.testing._dialect import LiveDialect, PageDialect
from agentexchange.testing._frames import json_bytes, payload_of, text_frame
from agentexchange.testing._requests import Verdict, judge

DIALECTS = [LiveDialect(), PageDialect()]
words = st.sampled_from(
    [
        "action",
        "channel",
        "symbol",
        "interval",
        "subscribe",
        "unsubscribe",
        "pong",
        "type",
        "ticker",
        "ticker_all",
        "candles",
        "orders",
        "portfolio",
        "1m",
        "4h",
        "BTCUSDT",
        "all",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=4), inner, max_size=5),
    max_leaves=12,
)


@given(message=values.map(json.dumps) | st.text() | st.binary(), dialect=st.sampled_from(DIALECTS))
def test_any_message_gets_one_verdict(message: str | bytes, dialect: LiveDialect) -> None:
    verdict = judge(message, dialect=dialect, held=set(), limit=10)
    assert isinstance(verdict, Verdict)
    outcomes = [verdict.reply is not None, verdict.pong, verdict.close]
    assert sum(outcomes) == 1
    if verdict.subscribe or verdict.unsubscribe:
        assert verdict.reply is not None
        assert verdict.reply["channel"] in (verdict.subscribe, verdict.unsubscribe)
    if verdict.reply is not None:
        assert json.loads(json_bytes(verdict.reply)) == verdict.reply


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_what_is_held_may_be_asked_for_again_at_the_limit(dialect: LiveDialect) -> None:
    message = '{"action":"subscribe","channel":"orders"}'
    assert judge(message, dialect=dialect, held={"orders"}, limit=1).subscribe == "orders"
    assert judge(message, dialect=dialect, held={"portfolio"}, limit=1).subscribe is None


@given(payload=st.binary(max_size=300) | st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 65535, b"x" * 65536]))
def test_a_frame_gives_its_payload_back(payload: bytes) -> None:
    assert payload_of(text_frame(payload)) == payload

"""Choosing entries by the bytes of their topic: pure, by property against decoding every one."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange._shared.flow import Flow
from agentexchange._shared.pick import key_of, pick
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import decode, encode

LONG = "ticker:" + "L" * 32
TOPICS = ["ticker:BTCUSDT", "ticker:BTCUSD", "ticker:" + "M" * 24, "ticker:" + "N" * 25, LONG, "orders", "status"]


def reordered(raw: bytes) -> bytes:
    """The same envelope, written by a program with another order of keys."""
    packed: bytes = msgpack.packb(dict(reversed(msgpack.unpackb(raw).items())))
    return packed


envelopes = st.builds(
    encode,
    st.sampled_from(TOPICS),
    st.integers(1, 5),
    st.integers(1, 2**40),
    st.none(),
    st.integers(0, 2**40),
    st.dictionaries(st.sampled_from(["t", "price", "ticker:BTCUSDT"]), st.text(max_size=40), max_size=3),
    st.none() | st.integers(0, 2**40),
    frame=st.none() | st.text(max_size=40),
)
raws = st.one_of(
    envelopes, envelopes.map(reordered), st.binary(max_size=30), envelopes.map(lambda raw: raw[:-1]), st.none()
)
entries = st.lists(raws.map(lambda raw: [b"1-1", [b"e", raw]]) | st.just([b"1-1", None]) | st.none(), max_size=20)


def topic_of(entry: Any) -> str | None:
    try:
        return decode(entry[1][1]).topic
    except (EnvelopeError, TypeError):
        return None


@given(entries, st.sets(st.sampled_from(TOPICS)))
def test_it_picks_what_decoding_would(page: list[Any], wanted: set[str]) -> None:
    flows = {key_of(topic): Flow("m0", topic) for topic in wanted}
    picked = [(index, flow.topic) for index, flow, raw in pick(page, flows) if topic_of([b"", [b"e", raw]])]
    assert picked == [(index, topic) for index, entry in enumerate(page) if (topic := topic_of(entry)) in wanted]


@pytest.mark.parametrize("frame", [None, "{}"])
@pytest.mark.parametrize("written_us", [2, None])
def test_an_entry_of_another_topic_is_passed_over_undecoded(written_us: int | None, frame: str | None) -> None:
    foreign = encode("ticker:ETHUSDT", 1, 1, None, 1, {"symbol": "ETHUSDT"}, written_us, frame=frame)
    flows = {key_of("ticker:BTCUSDT"): Flow("m0", "ticker:BTCUSDT")}
    assert pick([[b"1-1", [b"e", foreign[:30]]]], flows) == []

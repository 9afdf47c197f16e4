"""The inbox under arbitrary replies: counted, told once per kind, never raising."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from agentexchange._shared.inbox import Inbox
from agentexchange._shared.options import SharedOptions
from agentexchange.redis import ReplyError
from agentexchange_schemas.envelope import encode
from tests.sdk._recorder import Recorder

if TYPE_CHECKING:
    import pytest

CHANNELS = {"ax:{m0}:ticker:BTCUSDT": "ticker:BTCUSDT", "ax:{m0}:status": "status"}


def inbox() -> tuple[Inbox, Recorder]:
    got = Recorder()
    made = Inbox(got, SharedOptions())  # type: ignore[arg-type]
    for channel, topic in CHANNELS.items():
        made.open_channel(channel, made.flow("m0", topic))
    return made, got


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
envelopes = st.builds(
    encode,
    st.sampled_from(["ticker:BTCUSDT", "ticker:ETHUSDT", "status", "orders"]),
    st.integers(0, 3) | st.just(2**63),
    st.none() | st.integers(-2, 5) | st.just(2**64 - 1),
    st.none() | st.integers(0, 2**63),
    st.integers(-(2**63), 2**64 - 1),
    st.dictionaries(st.sampled_from(["state", "since", "kind", "count", "until", "topic"]), json, max_size=6),
)
payloads = st.binary(max_size=40) | envelopes
replies = st.one_of(
    st.tuples(st.just(b"message"), st.sampled_from([name.encode() for name in CHANNELS]), payloads).map(list),
    st.lists(st.binary(max_size=8), max_size=4),
    st.just([b"pong", b""]),
    st.just([b"subscribe", b"ax:{m0}:status", 1]),
    st.just(ReplyError("ERR x")),
    st.just([b"message", [], b""]),
    st.none() | st.integers(),
)


@given(st.lists(replies, max_size=20))
def test_any_reply_is_survived(batch: list[Any]) -> None:
    made, got = inbox()
    made.on_messages(batch)
    assert made.counts["events"] == len(got.events)


@given(st.lists(st.tuples(st.binary(max_size=8), st.lists(payloads, max_size=3)).map(list), max_size=20))
def test_any_log_entry_is_survived(entries: list[Any]) -> None:
    made, got = inbox()
    made.on_entries("m0", entries)
    assert made.counts["events"] == len(got.events)


def test_junk_is_counted_each_time_and_logged_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    made, _ = inbox()
    with caplog.at_level(logging.WARNING, "agentexchange.shared"):
        made.on_messages([[b"message", b"ax:{m0}:ticker:BTCUSDT", b"junk"]] * 1000)
        made.on_messages([[b"message", b"ax:{m0}:ticker:BTCUSDT", b"\x80"]] * 1000)
    assert made.counts["junk"] == 2000
    assert len([record for record in caplog.records if record.name == "agentexchange.shared"]) == 2


def test_events_that_are_held_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentexchange._shared.flow.MAX_HELD", 10)
    made, got = inbox()
    flow = made.flow("m0", "ticker:BTCUSDT")
    flow.hold()
    for seq in range(1, 31):
        raw = encode("ticker:BTCUSDT", 1, seq, None, seq, {})
        made.on_messages([[b"message", b"ax:{m0}:ticker:BTCUSDT", raw]])
    assert [event.seq for event in got.events] == list(range(1, 31))
    assert flow.held is None

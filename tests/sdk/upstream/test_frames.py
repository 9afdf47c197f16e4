"""Frames that are kept: verbatim, with the event they brought, and never with the API key in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from agentexchange.testing import DEMO_KEY, SandboxExchange
from agentexchange.upstream import FeedOptions
from agentexchange.upstream._frames import FrameKeeper
from agentexchange.upstream._overlap import Overlap
from agentexchange.upstream._twins import Twins
from agentexchange_schemas import FrameError
from agentexchange_schemas.frames import MAX_KEPT_FRAME_BYTES, FramedFields, frame_in
from agentexchange_schemas.upstream import Ack, EventFrame, Ping, parse
from tests.sdk.upstream._feeds import Sink, make_feed, make_pool, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = 'ak/live"42+é'
BTC = "ticker:BTCUSDT"


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(pairs=10, rate=0) as exchange:
        yield exchange


def order(note: Any = "", **more: Any) -> dict[str, Any]:
    return {"channel": "orders", "data": {"order_id": "1", "status": "new", "note": note} | more}


def frame_of(raw: bytes) -> str | None:
    """What is kept of a frame, whose event is what it would be anyway."""
    event = FrameKeeper(SecretStr(KEY)).parse(raw)
    assert isinstance(event, EventFrame)
    assert event == parse(raw)
    return frame_in(event.fields)


@given(st.text(), st.booleans(), st.sampled_from([None, 1, " \t"]))
def test_a_frame_is_kept_as_it_was_sent(note: str, ascii_only: bool, indent: Any) -> None:  # noqa: FBT001 - drawn
    raw = json.dumps(order(note), ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    try:
        parse(raw)
    except FrameError:
        return  # lone surrogates are no text
    assert frame_of(raw) == raw.decode()


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(KEY)[1:-1],
        json.dumps(KEY, ensure_ascii=False)[1:-1],
        "ak%2Flive%2242%2B%C3%A9",
        escaped(KEY),
        escaped(KEY).upper().replace("\\U", "\\u"),
        json.dumps(KEY)[1:-1].replace("/", "\\/"),
        "before " + escaped("ak%2Flive%2242%2B%C3%A9") + " after",
    ],
)
def test_a_frame_with_the_key_is_not_kept_however_it_is_written(written: str) -> None:
    text = json.dumps(order("@"))
    for place in ("@", "note"):
        assert frame_of(text.replace(place, written, 1).encode()) is None
    hidden = text.replace('"@"', f'"{written}", "note": "of the same name"')
    assert frame_of(hidden.encode()) is None


def test_a_part_of_the_key_is_none() -> None:
    raw = json.dumps(order(KEY[:-1])).encode()
    assert frame_of(raw) == raw.decode()


def test_a_large_frame_is_not_kept_its_event_is() -> None:
    rest = len(json.dumps(order()))
    full = json.dumps(order("x" * (MAX_KEPT_FRAME_BYTES - rest))).encode()
    assert frame_of(full) == full.decode()
    assert frame_of(full.replace(b"x", b"xx", 1)) is None


def test_what_is_no_event_is_read_as_ever() -> None:
    keeper = FrameKeeper(SecretStr(KEY))
    assert keeper.parse(b'{"type":"ping"}') == Ping()
    assert keeper.parse(b'{"type":"subscribed","channel":"orders"}') == Ack(subscribed=True, channel="orders")
    for junk in (b"\xff", b"[]", b'{"channel":"orders","data":{}}'):
        with pytest.raises(FrameError) as expected:
            parse(junk)
        with pytest.raises(FrameError) as found:
            keeper.parse(junk)
        assert (str(found.value), found.value.kind) == (str(expected.value), expected.value.kind)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kind", ["feed", "pool"])
async def test_sessions_keep_them_where_they_are_told_to(sandbox: SandboxExchange, kind: str, keep: bool) -> None:  # noqa: FBT001
    sink = Sink()
    topics = (BTC, "orders")
    pool = make_pool(sandbox.url, sink, *topics, options={"keep_frames": keep})
    async with running(pool if kind == "pool" else make_feed(sandbox.url, sink, *topics, keep_frames=keep)):
        await sandbox.control.wait_for_subscriptions(BTC)
        sandbox.control.push_tick("BTCUSDT", price="64000.10")
        sandbox.control.step_orders(1)
        await sink.until(lambda: {BTC, "orders"} <= sink.topics)
    for topic, fields in sink.events:
        frame = frame_in(fields)
        assert (frame is not None) is keep
        if frame is not None:
            assert parse(frame.encode()) == (topic, fields)


async def test_a_frame_with_the_key_reaches_nobody(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink, "orders", keep_frames=True)):
        await sandbox.control.wait_for_subscriptions("orders")
        for note in (DEMO_KEY, "harmless"):
            sandbox.control.push(json.dumps(order(note)))
        await sink.until(lambda: len(sink.ticks("orders")) >= 2)
    kept = [frame_in(fields) for _, fields in sink.events]
    assert [frame is not None for frame in kept] == [False, True]


def test_joining_and_folding_sessions_hand_on_the_event_with_its_own_frame() -> None:
    first, second = (FramedFields({"price": price}, f"frame {price}") for price in "ab")
    twins = Twins()
    assert not twins.is_second(BTC, first)
    assert twins.is_second(BTC, FramedFields(first, "another"))
    overlap = Overlap(10)
    overlap.old(first)
    overlap.leaving()
    for tick in (first, second):
        assert overlap.new(tick) == []
    assert [frame_in(tick) for tick in overlap.old_ended()] == ["frame b"]


def test_keeping_frames_is_off_unless_it_is_asked_for() -> None:
    assert not FeedOptions().keep_frames

"""The envelope: byte-stable, round trip, one error for everything else."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_schemas import Envelope, EnvelopeError
from agentexchange_schemas.envelope import (
    _MAX_HEADS,
    MAX_ENVELOPE_BYTES,
    MAX_NESTING,
    _decode_map,
    _heads,
    decode,
    encode,
    frame_of,
    log_id,
    received_us_of,
)

from .test_topics import topics

if TYPE_CHECKING:
    from collections.abc import Callable

int64 = st.integers(min_value=0, max_value=2**63 - 1)
values = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
envelopes = st.builds(
    Envelope,
    topic=topics.filter(lambda topic: not topic.is_wildcard).map(str) | st.just("status"),
    epoch=int64,
    seq=st.none() | int64,
    upstream_ms=st.none() | st.integers(0, 253_402_300_799_999),
    received_us=st.integers(0, 253_402_300_799_999_999),
    data=st.dictionaries(st.text(), values, max_size=6),
    written_us=st.none() | st.integers(0, 253_402_300_799_999_999),
)

GOOD: dict[str, Any] = {"v": 1, "t": "ticker:A", "e": 1, "n": 2, "u": None, "r": 3, "w": 4, "d": {"price": "1"}}


@given(envelopes)
def test_round_trip(envelope: Envelope) -> None:
    assert decode(encode(*envelope)) == envelope


@given(envelopes)
def test_the_same_event_gives_the_same_bytes(envelope: Envelope) -> None:
    assert encode(*envelope) == encode(*decode(encode(*envelope)))


def test_the_bytes_are_the_documented_map() -> None:
    raw = encode("ticker:A", 1, 2, None, 3, {"price": "1"}, 4)
    assert list(msgpack.unpackb(raw).items()) == list(GOOD.items())


def test_an_envelope_of_a_writer_that_knew_no_written_time_is_read_as_before() -> None:
    old = {name: value for name, value in GOOD.items() if name != "w"}
    assert decode(msgpack.packb(old)) == Envelope("ticker:A", 1, 2, None, 3, {"price": "1"}, written_us=None)
    assert encode("ticker:A", 1, 2, None, 3, {"price": "1"}) == msgpack.packb(old)


FRAME = '{"channel":"ticker","data":{"price":"1"}}'


def test_a_kept_frame_stands_before_the_fields() -> None:
    raw = encode("ticker:A", 1, 2, None, 3, {"price": "1"}, 4, frame=FRAME)
    keys = [*GOOD.items()]
    assert list(msgpack.unpackb(raw).items()) == [*keys[:-1], ("f", FRAME), keys[-1]]


@given(envelopes, st.none() | st.text())
def test_an_envelope_is_read_as_before_whatever_its_frame(envelope: Envelope, frame: str | None) -> None:
    raw = encode(*envelope, frame=frame)
    assert decode(raw) == envelope
    assert frame_of(raw) == frame


def test_a_frame_that_does_not_fit_is_left_out_and_the_event_is_not() -> None:
    event = ("ticker:A", 1, 2, None, 3, {"price": "1"}, 4)
    room = MAX_ENVELOPE_BYTES - len(encode(*event, frame="x" * 100_000)) + 100_000
    assert frame_of(encode(*event, frame="x" * room)) == "x" * room
    assert encode(*event, frame="x" * (room + 1)) == encode(*event)


@pytest.mark.parametrize(
    ("value", "frame"),
    [
        (GOOD, None),
        (GOOD | {"f": 5}, None),
        (GOOD | {"f": ["x"]}, None),
        (GOOD | {"d": {"f": "a field of that name"}}, None),
        (GOOD | {"f": "x", "d": {"f": "another"}}, "x"),
    ],
)
def test_a_frame_is_text_beside_the_fields(value: dict[str, Any], frame: str | None) -> None:
    assert frame_of(msgpack.packb(value)) == frame


@pytest.mark.parametrize("raw", [msgpack.packb(["f"]), msgpack.packb({"f": b"bytes"}), b"\x82\xa1f", b"\xff\xa1f"])
def test_what_is_no_map_has_no_frame_to_read(raw: bytes) -> None:
    with pytest.raises(EnvelopeError):
        frame_of(raw)


usual = st.builds(
    Envelope,
    topic=st.sampled_from(["ticker:A", "ticker:BTCUSDT", "candles:" + "B" * 18 + ":15m", "status"]),
    epoch=st.sampled_from([0xFFFF, 0x10000, 1_795_341_318, 0xFFFF_FFFF]),
    seq=st.integers(0, 300) | st.integers(65_500, 65_600) | st.just(0xFFFF_FFFF),
    upstream_ms=st.integers(2**40, 2**41),
    received_us=st.integers(2**50, 2**51),
    data=st.dictionaries(st.text(max_size=9), values, max_size=4),
    written_us=st.integers(2**50, 2**51),
)


def outcome(read: Callable[[bytes], Envelope], raw: bytes) -> object:
    try:
        return read(raw)
    except EnvelopeError as exc:
        return str(exc), exc.field


@given(usual)
def test_a_usual_envelope_is_read_again_as_the_first_time(envelope: Envelope) -> None:
    raw = encode(*envelope)
    assert decode(raw) == decode(raw) == envelope
    assert list(map(type, decode(raw))) == list(map(type, envelope))


@given(usual, st.data())
def test_what_looks_like_a_usual_envelope_is_read_as_the_map_that_it_is(
    envelope: Envelope, data: st.DataObject
) -> None:
    raw = encode(*envelope)
    assert decode(raw) == envelope  # its topic and epoch are known from here on
    at = data.draw(st.integers(0, len(raw) - 1))
    change = data.draw(st.binary(max_size=3))
    end = data.draw(st.sampled_from([len(raw), at, at + len(change)]))
    changed = raw[:at] + change + raw[end:] if end != len(raw) else raw[:at] + change + raw[at + len(change) :] + change
    assert outcome(decode, changed) == outcome(_decode_map, changed)


USUAL: dict[str, Any] = GOOD | {"e": 1_795_341_318, "n": 5000, "u": 2**41, "r": 2**51, "w": 2**51}


@pytest.mark.parametrize("key", USUAL)
@pytest.mark.parametrize("other", [*USUAL, "x"])
def test_a_usual_envelope_with_other_keys_is_read_as_the_map_that_it_is(key: str, other: str) -> None:
    decode(msgpack.packb(USUAL))
    keys = [other if name == key else name for name in USUAL]
    changed = b"\x88" + b"".join(
        msgpack.packb(name) + msgpack.packb(value) for name, value in zip(keys, USUAL.values(), strict=True)
    )
    assert outcome(decode, changed) == outcome(_decode_map, changed)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("u", value) for value in (None, -1, True, 5, 253_402_300_800_000, 2**64 - 1)),
        *((field, value) for field in "rw" for value in (None, -1, True, 5, 253_402_300_800_000_000, 2**64 - 1)),
        *(("n", value) for value in (None, -1, True, 0, 127, 128, 255, 256, 2**16, 2**32 - 1, 2**32)),
        *(("e", value) for value in (None, 1, 2**32 - 1, 2**32)),
        *(("t", value) for value in (None, "ticker:B", "ticker:all", "ticker:a", "candles:A:1m", "", "é")),
        *(("d", value) for value in (None, 1, [1], "x", {1: "x"}, {"x": b"1"}, {"x": msgpack.ExtType(5, b"x")})),
        ("d", {"x": "y" * 600, "deep": [[[[[[[[[[[]]]]]]]]]]]}),
        ("v", 2),
    ],
)
def test_a_usual_envelope_with_another_value_is_read_as_the_map_that_it_is(field: str, value: object) -> None:
    decode(msgpack.packb(USUAL))
    changed = msgpack.packb(USUAL | {field: value})
    assert outcome(decode, changed) == outcome(_decode_map, changed)
    assert outcome(decode, changed) == outcome(_decode_map, changed)  # now that it is known, if it can be


def test_topics_and_epochs_without_end_take_no_memory_without_end() -> None:
    for epoch in range(1_000_000, 1_000_000 + 2 * _MAX_HEADS):
        assert decode(encode("ticker:A", epoch, 1, None, 1, {})).epoch == epoch
    assert 0 < len(_heads) <= _MAX_HEADS


@given(st.binary())
def test_random_bytes_give_the_documented_error(raw: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode(raw)


@given(envelopes, st.data())
def test_cut_and_flipped_bytes_never_crash(envelope: Envelope, data: st.DataObject) -> None:
    raw = bytearray(encode(*envelope))
    position = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(EnvelopeError):
        decode(bytes(raw[:position]))
    raw[position] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(raw))
    except EnvelopeError as exc:
        assert exc.field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"v": 2}, "v"),
        ({"t": 5}, "t"),
        ({"t": "ticker:{x}"}, "t"),
        ({"t": "ticker:all"}, "t"),
        ({"e": "1"}, "e"),
        ({"e": True}, "e"),
        ({"n": 1.5}, "n"),
        ({"u": "x"}, "u"),
        ({"r": None}, "r"),
        ({"r": -1}, "r"),
        ({"r": 2**60}, "r"),
        ({"u": 2**50}, "u"),
        ({"w": "x"}, "w"),
        ({"w": -1}, "w"),
        ({"w": 2**60}, "w"),
        ({"d": []}, "d"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        decode(msgpack.packb(GOOD | change))
    assert caught.value.field == field


@pytest.mark.parametrize("key", [key for key in GOOD if key != "w"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(EnvelopeError, match="missing") as caught:
        decode(msgpack.packb({name: value for name, value in GOOD.items() if name != key}))
    assert caught.value.field == key


@pytest.mark.parametrize(
    "raw",
    [
        b"\x91" * 5000,  # nested beyond the unpacker's stack
        b"\xdf\xff\xff\xff\xff",  # a map that claims four billion entries
        b"\xdb\xff\xff\xff\xff",  # a string that claims four gigabytes
        msgpack.packb({1: 2}),
        msgpack.packb(GOOD) + b"\x00",
        b"x" * (MAX_ENVELOPE_BYTES + 1),
    ],
)
def test_hostile_bytes_are_refused_cheaply(raw: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode(raw)


def nested(depth: int, wrap: Any) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"k": value}, lambda value: ["a", {"k": value}]])
def test_nesting_is_bounded(wrap: Any) -> None:
    levels = MAX_NESTING if len(nested(1, wrap)) == 1 else MAX_NESTING // 2
    fields = {"price": "1", "added": nested(levels, wrap), "more": "x" * 512}
    assert decode(msgpack.packb(GOOD | {"d": fields})).data == fields
    for depth in (levels + 1, 500):
        with pytest.raises(EnvelopeError, match="nested deeper") as caught:
            decode(msgpack.packb(GOOD | {"d": {"added": nested(depth, wrap), "more": "x" * 512}}))
        assert caught.value.field == "d"


@given(st.integers(1, 2000), st.sampled_from([b"\x91", b"\x81\xa0"]))
def test_whatever_is_read_can_be_walked_through_and_printed(depth: int, opening: bytes) -> None:
    head = msgpack.packb(GOOD | {"d": 0})[:-1]
    try:
        read = decode(head + b"\x81\xa1x" + opening * depth + b"\xc0")
    except EnvelopeError:
        return
    assert json.loads(json.dumps(read.data)) == read.data


@pytest.mark.parametrize(
    "data",
    [{"price": b"1"}, {b"price": "1"}, {"price": msgpack.ExtType(5, b"x")}, {"price": msgpack.Timestamp(1)}, {1: "x"}],
)
def test_fields_are_text_and_never_bytes_or_extensions(data: Any) -> None:
    with pytest.raises(EnvelopeError):
        decode(msgpack.packb(GOOD | {"d": data}, strict_types=False))


@pytest.mark.parametrize("value", [2**64, object(), {1, 2}])
def test_what_msgpack_cannot_carry_is_one_error(value: object) -> None:
    with pytest.raises(EnvelopeError, match="ticker:A") as caught:
        encode("ticker:A", 1, 1, None, 1, {"x": value})
    assert caught.value.field == "d"


@pytest.mark.parametrize("value", [{"a": {"b": [1, object()]}}, {"a": "y" * MAX_ENVELOPE_BYTES}])
def test_what_was_refused_leaves_nothing_in_the_next_envelope(value: dict[str, Any]) -> None:
    before = encode("ticker:A", 1, 1, None, 1, {"x": "y"})
    with pytest.raises(EnvelopeError):
        encode("ticker:A", 1, 1, None, 1, value)
    assert encode("ticker:A", 1, 1, None, 1, {"x": "y"}) == before


def test_an_envelope_is_whole_though_other_threads_encode_meanwhile() -> None:
    class Slow(dict[str, Any]):
        """Packed entry by entry; another thread has its turn between two."""

        def items(self) -> Any:
            barrier.wait()
            return super().items()

    barrier = threading.Barrier(2, timeout=10)
    with ThreadPoolExecutor(2) as pool:
        raws = list(pool.map(lambda topic: encode(topic, 1, 1, None, 1, Slow(x=topic)), ["ticker:A", "ticker:B"]))
    assert [decode(raw).data for raw in raws] == [{"x": "ticker:A"}, {"x": "ticker:B"}]


def test_an_envelope_has_a_size_limit() -> None:
    with pytest.raises(EnvelopeError, match="bytes"):
        encode("ticker:A", 1, 1, None, 1, {"x": "y" * MAX_ENVELOPE_BYTES})


@given(int64)
def test_a_log_id_names_the_place_in_the_log(received_us: int) -> None:
    assert received_us_of(log_id(received_us)) == received_us


@given(int64, int64)
def test_log_ids_order_as_received_times_do(first: int, second: int) -> None:
    def key(us: int) -> tuple[int, ...]:
        return tuple(map(int, log_id(us).split("-")))

    assert (key(first) < key(second)) == (first < second)


@pytest.mark.parametrize("entry_id", ["", "1", "1-", "-1", "1-1000", "a-1", "1-1-1", "9" * 30 + "-1", "1-٣"])
def test_an_id_that_is_none_of_ours_is_refused(entry_id: str) -> None:
    with pytest.raises(EnvelopeError, match="log id"):
        received_us_of(entry_id)

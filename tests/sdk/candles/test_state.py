"""The state: small, versioned, and one error for everything else."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.candles import MAX_STATE_BYTES, CandleBuilder, CandleStateError

NOON_US = 1_767_268_800_000_000


def written() -> bytes:
    builder = CandleBuilder()
    for symbol in ("A", "B"):
        builder.want(symbol, "1m", NOON_US)
    builder.tick("A", "1.50", "2.000", None, NOON_US)
    builder.tick("A", "1.60", None, None, NOON_US + 61_000_000)
    builder.blind(NOON_US, NOON_US + 5)
    builder.blind(NOON_US + 9)
    return builder.state(NOON_US + 61_000_000)


def restored(raw: bytes) -> CandleBuilder:
    builder = CandleBuilder()
    builder.want("A", "1m", NOON_US + 62_000_000)
    builder.restore((), raw, NOON_US + 62_000_000)
    return builder


def test_round_trip() -> None:
    raw = written()
    assert len(raw) < 400
    first, second = restored(raw).close_due(NOON_US + 122_000_000)[-2:]
    assert (first.fields["close"], first.fields["volume"], first.fields["trades"]) == ("1.50", "2.000", 1)
    assert (second.fields["close"], second.fields["volume"], second.fields["trades"]) == ("1.60", None, 1)


@given(st.binary())
def test_random_bytes_give_the_documented_error(raw: bytes) -> None:
    with pytest.raises(CandleStateError):
        restored(raw)


@settings(deadline=None)
@given(st.data())
def test_cut_or_changed_bytes_give_the_documented_error_or_a_state(data: st.DataObject) -> None:
    raw = bytearray(written())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    for bad in (bytes(raw), bytes(raw[:place])):
        try:
            builder = restored(bad)
        except CandleStateError:
            continue
        builder.tick("A", "1", "1", None, NOON_US + 62_000_000)
        builder.close_due(NOON_US + 122_000_000)


def value(**changes: Any) -> bytes:
    raw: bytes = msgpack.packb(msgpack.unpackb(written()) | changes)
    return raw


BAR = [1_767_268_800_000, "1", "1", "1", "1", 1_767_268_800_000, 1_767_268_800_000, "1", 1, True]
BAD_BARS: list[list[Any]] = [
    BAR[:-1],
    [1_767_268_800_001, *BAR[1:]],
    [*BAR[:1], 1, *BAR[2:]],
    [*BAR[:1], "x", *BAR[2:]],
    [*BAR[:7], "NaN", *BAR[8:]],
    [*BAR[:7], "1e9999", *BAR[8:]],
    [*BAR[:7], "many", *BAR[8:]],
]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not a msgpack map"),
        (msgpack.packb([1]), "not a msgpack map"),
        (b"\x00" * (MAX_STATE_BYTES + 1), "more than"),
        (value(v=2), "version 2 is not 1"),
        (value(at="now"), "no integer"),
        (value(at=-1), "before 1970"),
        (value(unseen=[[[1, "2"]], None]), "no integer"),
        (value(unseen=[[[1, 2]] * 1000, None]), "1000 unseen spans"),
        (value(at=1, s={"A": [60_000, None, [], [[], None], {}]}), "closed before its end"),
        (value(s={"A": [1, None, [], [[], None], {}]}), "off its boundary"),
        (value(s={"A": [0, "x" * 1000, [], [[], None], {}]}), "too long"),
        (value(s={"A": [0, None, [BAR] * 5000, [[], None], {}]}), "5000 open minutes"),
        (value(s={"A": [0, None, [], [[], None], {"2m": 0}]}), "2m"),
        *((value(s={"A": [0, None, [bar], [[], None], {}]}), "candle state") for bar in BAD_BARS),
    ],
)
def test_bad_states_are_refused_and_change_nothing(raw: bytes, words: str) -> None:
    builder = CandleBuilder()
    builder.want("A", "1m", NOON_US)
    before = builder.state(NOON_US)
    with pytest.raises(CandleStateError, match=words):
        builder.restore((), raw, NOON_US)
    assert builder.state(NOON_US) == before

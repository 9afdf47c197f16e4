from __future__ import annotations

import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.errors import RecordingError
from agentexchange.recording import Lane, Recording, RecordingWriter, WriterOptions, place_of, received_of, topic_of
from agentexchange_schemas.envelope import decode, encode
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, read, tick, ticks, write

SYMBOLS = st.from_regex(r"[A-Z0-9][A-Z0-9._-]{0,31}", fullmatch=True).filter(lambda name: name != "ALL")
TOPICS = st.one_of(
    SYMBOLS.map(lambda name: f"ticker:{name}"),
    st.tuples(SYMBOLS, st.sampled_from(["1m", "1d"])).map(lambda pair: f"candles:{pair[0]}:{pair[1]}"),
    st.sampled_from(["orders", "portfolio", "status"]),
)
VALUES = st.one_of(st.none(), st.booleans(), st.text(max_size=40), st.integers(-(2**63), 2**64 - 1))
LANES = st.sampled_from([MARKET, CANDLES, ACCOUNT, Lane("m1", "recorder")])


@st.composite
def envelopes(draw: st.DrawFn, received_us: int) -> bytes:
    return encode(
        draw(TOPICS),
        draw(st.integers(0, 2**40)),
        draw(st.one_of(st.none(), st.integers(0, 2**40))),
        draw(st.one_of(st.none(), st.integers(0, 253_402_300_799_999))),
        received_us,
        draw(st.dictionaries(st.text(string.printable, max_size=10), VALUES, max_size=5)),
        draw(st.one_of(st.none(), st.integers(0, 253_402_300_799_999_999))),
        frame=draw(st.one_of(st.none(), st.text(max_size=20))),
    )


@st.composite
def contents(draw: st.DrawFn) -> list[tuple[Lane, list[bytes]]]:
    """Blocks of several lanes, each lane's ``r`` rising, the lanes' spans overlapping at will."""
    at = dict.fromkeys([MARKET, CANDLES, ACCOUNT, Lane("m1", "recorder")], draw(st.sampled_from([0, START_US])))
    content = []
    for _ in range(draw(st.integers(0, 6))):
        lane, raws = draw(LANES), []
        for step in draw(st.lists(st.integers(0, 1000), min_size=1, max_size=6)):
            at[lane] += step
            raws.append(draw(envelopes(at[lane])))
        content.append((lane, raws))
    return content


@st.composite
def plain_contents(draw: st.DrawFn) -> list[tuple[Lane, list[bytes]]]:
    """The same with plain ticks, for tests that draw what happens to the file."""
    parts = draw(st.lists(st.tuples(LANES, st.integers(1, 6)), max_size=6))
    ends: dict[Lane, int] = {}
    content = []
    for lane, count in parts:
        at = ends.get(lane, 0)
        ends[lane] = at + count
        content.append((lane, [tick(number, symbol=f"S{number % 3}") for number in range(at, at + count)]))
    return content


@settings(deadline=None)
@given(raw=st.integers(0, 2**50).flatmap(envelopes))
def test_what_is_peeked_is_what_is_decoded(raw: bytes) -> None:
    envelope = decode(raw)
    assert place_of(raw) == (envelope.topic, envelope.epoch, envelope.seq, envelope.received_us)
    assert (topic_of(raw), received_of(raw)) == (envelope.topic, envelope.received_us)


@pytest.mark.parametrize("written_us", [None, START_US])
@pytest.mark.parametrize("frame", [None, "{}"])
def test_to_peek_the_fields_are_not_read(written_us: int | None, frame: str | None) -> None:
    cut = encode("ticker:A", 7, 3, None, START_US, {"price": "1"}, written_us, frame=frame)[:-3]
    assert place_of(cut) == ("ticker:A", 7, 3, START_US)


@settings(max_examples=60, deadline=None)
@given(content=contents())
def test_what_is_written_is_read_byte_by_byte_in_the_order_of_r(content: list[tuple[Lane, list[bytes]]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "t.axlog", content)
        lanes = list(dict.fromkeys(lane for lane, _ in content))
        everything = [(lane, raw) for lane, raws in content for raw in raws]
        # Python's sort is stable: within a lane the written order stays
        wanted = [raw for lane, raw in sorted(everything, key=lambda e: (received_of(e[1]), lanes.index(e[0])))]
        assert read(path) == wanted
        with Recording(path) as recording:
            assert recording.count == len(wanted)
            assert [event.raw for event in recording.events()] == wanted
            assert set(recording.topics) == {topic_of(raw) for raw in wanted}
            assert (recording.cut, recording.is_closed) == (None, True)


@settings(max_examples=60, deadline=None)
@given(content=plain_contents(), share=st.floats(0, 1))
def test_a_file_cut_anywhere_opens_up_to_its_last_whole_block_and_says_what_is_missing(
    content: list[tuple[Lane, list[bytes]]], share: float
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "t.axlog", content)
        whole = path.read_bytes()
        with Recording(path) as recording:
            ends = [block.offset + block.size for block in recording._directory.blocks]
        header = ends and recording._directory.blocks[0].offset
        cut = round(len(whole) * share)
        path.write_bytes(whole[:cut])
        try:
            with Recording(path) as recording:
                kept = sum(end <= cut for end in ends)
                assert sorted(raw for _, raws in recording.runs() for raw in raws) == sorted(
                    raw for _, raws in content[:kept] for raw in raws
                )
                if kept < len(ends) and cut > max([header, *ends[:kept]]):
                    assert recording.cut is not None
                    assert recording.cut.offset + recording.cut.size == cut
        except RecordingError as exc:
            assert exc.field in ("header", "magic")
            assert not ends or cut < ends[0]


@settings(max_examples=150, deadline=None)
@given(content=plain_contents(), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_an_error_or_an_exact_beginning_never_a_wrong_event(
    content: list[tuple[Lane, list[bytes]]], place: float, bit: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "t.axlog", content)
        right = read(path)
        damaged = bytearray(path.read_bytes())
        damaged[int(len(damaged) * place)] ^= 1 << bit
        path.write_bytes(damaged)
        found: list[bytes] = []
        try:
            with Recording(path) as recording:
                for _, raws in recording.runs():
                    found += raws
                # nothing was raised: all is there (the flip hit the index's frame), or the end is told as missing
                assert recording.cut is not None or found == right
                right = [raw for raw in right if raw in found] if recording.cut else right
        except RecordingError as exc:
            assert exc.field
            assert str(path) in str(exc)
        assert found == right[: len(found)]


@settings(max_examples=100, deadline=None)
@given(junk=st.binary(max_size=200), keep=st.sampled_from([0, 8, 40, 200, 10_000]))
def test_random_bytes_are_a_clear_error_or_a_told_cut(junk: bytes, keep: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name) / "t.axlog", [(MARKET, ticks(3))])
        path.write_bytes(path.read_bytes()[:keep] + junk)
        try:
            with Recording(path) as recording:
                found = [raw for _, raws in recording.runs() for raw in raws]
                assert found in ([], ticks(3))
        except RecordingError as exc:
            assert exc.field


def test_a_foreign_file_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"REDIS0011\xfa\x09redis-ver")
    with pytest.raises(RecordingError, match=r"dump.rdb: this is no recording") as caught:
        Recording(tmp_path / "dump.rdb")
    assert caught.value.field == "magic"


def test_an_empty_file_is_named_as_no_recording(tmp_path: Path) -> None:
    (tmp_path / "empty.axlog").touch()
    with pytest.raises(RecordingError, match="no recording"):
        Recording(tmp_path / "empty.axlog")


def test_a_later_version_asks_for_an_update_whatever_follows_it(tmp_path: Path) -> None:
    path = tmp_path / "later.axlog"
    path.write_bytes(b"\x89AXLOG\r\n\x02\x00" + bytes(range(100)))
    with pytest.raises(RecordingError, match="format version 2, and this release reads 1: update agentexchange") as e:
        Recording(path)
    assert e.value.field == "version"


def test_a_damaged_block_ends_reading_behind_the_events_before_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10)), (MARKET, [tick(number) for number in range(10, 20)])])
    with Recording(path) as recording:
        second = recording._directory.blocks[1]
    damaged = bytearray(path.read_bytes())
    damaged[second.offset + second.size - 3] ^= 1
    path.write_bytes(damaged)
    found: list[bytes] = []
    with Recording(path) as recording, pytest.raises(RecordingError, match=r"the block is damaged") as caught:
        found.extend(event.raw for event in recording.events())
    assert found == ticks(10)
    assert (caught.value.offset, caught.value.field) == (second.offset, "block body")


def test_salvage_reads_what_comes_before_the_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10)), (CANDLES, ticks(5))], close=False)
    with Recording(path) as recording:
        second = recording._directory.blocks[1]
    damaged = bytearray(path.read_bytes())
    damaged[second.offset + 20] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(RecordingError, match="can be read with salvage"):
        Recording(path)
    with Recording(path, salvage=True) as recording:
        assert recording.count == 10
        assert recording.cut is not None
        assert (recording.cut.offset, recording.cut.size) == (second.offset, second.size)


def test_zeros_behind_the_last_block_are_a_cut_as_a_power_failure_leaves_it(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10))], close=False)
    path.write_bytes(path.read_bytes() + bytes(5000))
    with Recording(path) as recording:
        assert recording.cut is not None
        assert (recording.count, recording.cut.size) == (10, 5000)


def test_a_span_of_time_begins_with_its_start_and_ends_before_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, [tick(n) for n in range(a, a + 10)]) for a in range(0, 50, 10)])
    found = read(path, start_us=START_US + 13_000, end_us=START_US + 37_000)
    assert found == [tick(number) for number in range(13, 37)]
    assert read(path, start_us=START_US + 60_000) == []
    assert read(path, end_us=START_US) == []


def test_topics_and_scopes_are_chosen_and_notices_stay(tmp_path: Path) -> None:
    notice = encode("status", 1, 1, None, START_US + 5, {"state": "live"})
    order = encode("orders", 1, 1, None, START_US + 6, {"order_id": "1"})
    eth = tick(1, symbol="ETHUSDT")
    path = write(tmp_path / "t.axlog", [(MARKET, [tick(0), notice, eth]), (ACCOUNT, [order])])
    assert read(path, topics=["ticker:ETHUSDT"]) == [notice, eth]
    assert read(path, topics=["ticker:all"], notices=False) == [tick(0), eth]
    assert read(path, topics=["orders"]) == [notice, order]
    assert read(path, scopes=[ACCOUNT.scope]) == [order]
    assert read(path, topics=["candles:BTCUSDT:1m"], notices=False) == []


def test_a_block_larger_than_the_window_of_its_lane_is_split(tmp_path: Path) -> None:
    raws = [tick(number, pad="x" * 3000) for number in range(1000)]
    path = write(tmp_path / "t.axlog", [(MARKET, raws)])
    with Recording(path) as recording:
        assert len(recording._directory.blocks) == 2
    assert read(path) == raws


def test_a_recording_that_is_being_written_can_be_read(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "t.axlog", options=WriterOptions(fsync="never"))
    writer.add(MARKET, ticks(5))
    writer.flush()
    assert read(tmp_path / "t.axlog") == ticks(5)
    with Recording(tmp_path / "t.axlog") as recording:
        assert (recording.is_closed, recording.cut) == (False, None)
    writer.close()

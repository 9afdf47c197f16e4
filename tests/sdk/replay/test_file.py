from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agentexchange import RecordingError
from agentexchange.recording import Lane, received_of
from agentexchange.replay import EventName, FileSource
from agentexchange_schemas.envelope import encode
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, tick, ticks, write
from tests.sdk.replay._sources import EVERYTHING, raws_of

if TYPE_CHECKING:
    from pathlib import Path


def order(number: int, at_us: int) -> bytes:
    return encode("orders", 7, number, None, at_us, {"order_id": str(number), "status": "new"})


async def all_of(source: FileSource, got: list[bytes]) -> None:
    async for run in source.runs(topics=EVERYTHING):
        got += run.raws


async def test_it_gives_what_the_file_holds_in_its_order(tmp_path: Path) -> None:
    orders = [order(number, START_US + number * 2500) for number in range(1, 4)]
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10)), (ACCOUNT, orders)])
    async with FileSource(path) as source:
        raws = await raws_of(source)
        assert raws == sorted([*ticks(10), *orders], key=received_of)
        assert (source.first_us, source.last_us) == (START_US, START_US + 9000)
        assert source.scopes == (MARKET.scope, ACCOUNT.scope)
        assert set(source.topics) == {"ticker:BTCUSDT", "orders"}
        assert await source.places() == {("m0", "ticker:BTCUSDT"), (ACCOUNT.scope, "orders")}


async def test_a_choice_of_time_topics_and_scopes(tmp_path: Path) -> None:
    eth = [tick(number, symbol="ETHUSDT", received_us=START_US + number * 1000 + 1) for number in range(10)]
    path = write(
        tmp_path / "t.axlog", [(MARKET, sorted([*ticks(10), *eth], key=received_of)), (ACCOUNT, [order(1, START_US)])]
    )
    async with FileSource(path) as source:
        assert await raws_of(source, topics=["ticker:ETHUSDT"]) == eth
        assert await raws_of(source, START_US + 2000, START_US + 4000, topics=["ticker:BTCUSDT"]) == ticks(4)[2:]
        assert await raws_of(source, scopes=[ACCOUNT.scope]) == [order(1, START_US)]
        assert await raws_of(source, START_US + 10_000_000) == []


async def test_rotated_files_are_one_recording_whatever_their_order(tmp_path: Path) -> None:
    all_ticks = ticks(30)
    paths = [write(tmp_path / f"{n}.axlog", [(MARKET, all_ticks[n * 10 : n * 10 + 10])]) for n in range(3)]
    async with FileSource(paths[2], paths[0], paths[1]) as source:
        assert await raws_of(source) == all_ticks
        assert await source.locate(EventName("ticker:BTCUSDT", 25)) == START_US + 24_000


async def test_files_that_overlap_are_merged_by_time(tmp_path: Path) -> None:
    even = write(tmp_path / "a.axlog", [(MARKET, ticks(20)[::2])])
    odd = write(tmp_path / "b.axlog", [(Lane("m1", "log", "x"), ticks(20)[1::2])])
    async with FileSource(even, odd) as source:
        assert await raws_of(source) == ticks(20)


async def test_iterators_may_be_interleaved(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(100)[at : at + 10]) for at in range(0, 100, 10)])
    async with FileSource(path) as source:
        one, other = await asyncio.gather(raws_of(source), raws_of(source, START_US + 50_000))
        assert (one, other) == (ticks(100), ticks(100)[50:])


async def test_a_file_whose_writer_was_killed_is_read_up_to_its_last_block_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10)), (MARKET, ticks(20)[10:])], close=False)
    path.write_bytes(path.read_bytes()[:-5])
    told: list[str] = []
    async with FileSource(path, tell=told.append) as source:
        assert await raws_of(source) == ticks(10)
    assert len(told) == 1
    assert "bytes at its end are missing: the file ends within a block" in told[0]


@pytest.mark.parametrize("is_closed", [True, False])
async def test_damage_is_raised_behind_everything_that_is_good(tmp_path: Path, *, is_closed: bool) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(30)[at : at + 10]) for at in (0, 10, 20)], close=is_closed)
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"BLCK") + 40] ^= 1
    path.write_bytes(raw)
    got: list[bytes] = []
    async with FileSource(path) as source:
        with pytest.raises(RecordingError) as caught:
            await all_of(source, got)
    assert got == ticks(20)
    assert caught.value.path == str(path)


async def test_a_span_before_the_damage_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10)), (MARKET, ticks(20)[10:])], close=False)
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"BLCK") + 40] ^= 1
    path.write_bytes(raw)
    async with FileSource(path) as source:
        assert await raws_of(source, None, START_US + 5000) == ticks(5)


async def test_a_damaged_index_costs_no_event(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10))])
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"INDX") + 20] ^= 1
    path.write_bytes(raw)
    got: list[bytes] = []
    async with FileSource(path) as source:
        with pytest.raises(RecordingError):
            await all_of(source, got)
    assert got == ticks(10)


@pytest.mark.parametrize("content", [b"", b"no recording at all", b"\x89AXLOG\r\n\x09\x00\x00\x00\x00\x00abcd"])
async def test_a_foreign_file_and_one_of_a_later_version_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.axlog").write_bytes(content)
    with pytest.raises(RecordingError):
        await FileSource(tmp_path / "t.axlog").__aenter__()


async def test_a_missing_file_is_an_os_error_and_leaves_none_open(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(10))])
    with pytest.raises(FileNotFoundError):
        await FileSource(path, tmp_path / "none.axlog").__aenter__()


async def test_an_empty_recording(tmp_path: Path) -> None:
    async with FileSource(write(tmp_path / "t.axlog", [])) as source:
        assert (source.first_us, source.last_us, source.scopes) == (None, None, ())
        assert await raws_of(source) == []
        assert await source.locate(EventName("orders", 1)) is None


async def test_events_of_the_same_time_come_lane_by_lane(tmp_path: Path) -> None:
    candle = encode("candles:BTCUSDT:1m", 7, 1, None, START_US + 1000, {"symbol": "BTCUSDT"})
    same = [order(1, START_US + 1000), order(2, START_US + 1000)]
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(3)), (CANDLES, [candle]), (ACCOUNT, same)])
    async with FileSource(path) as source:
        assert await raws_of(source) == [*ticks(2), candle, *same, ticks(3)[2]]

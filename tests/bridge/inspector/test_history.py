"""One contract for all histories: lists (the tests' own), a recording, and the logs of a real server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import redis

from agentexchange import ConnectionError as PublicConnectionError
from agentexchange._urls import redis_url
from agentexchange.recording import (
    EventName,
    Lane,
    RecordingError,
    RecordingWriter,
    WriterOptions,
    received_of,
    topic_of,
)
from agentexchange_bridge.inspector._link import Link
from agentexchange_bridge.inspector.past import FileHistory, RedisHistory, Stretch
from agentexchange_schemas import Layout
from agentexchange_schemas.envelope import log_id
from tests.bridge.inspector._samples import (
    ACCOUNT,
    CANDLES,
    LOG,
    OTHER,
    OWN,
    SECOND,
    START_US,
    ListHistory,
    candle,
    order,
    portfolio,
    tick,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from agentexchange_bridge.inspector.past import History
    from tests._servers import RedisServer

TICKS = [tick(at * 1_000, symbol=("A1", "B2")[at % 2]) for at in range(100)]
CONTENT: Mapping[Lane, Sequence[bytes]] = {
    LOG: TICKS,
    CANDLES: [candle(5, 0), candle(7, 1)],
    ACCOUNT: [order(3), portfolio(9)],
    Lane(OTHER, "log"): [order(1, "of-another")],
}


def record(path: Path, content: Mapping[Lane, Sequence[bytes]], *, per_block: int = 7) -> Path:
    with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
        for lane, raws in content.items():
            for at in range(0, len(raws), per_block):
                writer.add(lane, raws[at : at + per_block])
                writer.flush()
    return path


def fill(url: str, content: Mapping[Lane, Sequence[bytes]]) -> None:
    layout = Layout()
    with redis.Redis.from_url(url) as client:
        client.hset(layout.meta, mapping={"version": 1, "partitions": 1})
        for lane, raws in content.items():
            for raw in raws:
                key = f"{layout.base(lane.scope)}{lane.log}"
                client.xadd(key, {"e": raw}, id=log_id(received_of(raw)))
                client.hset(layout.seq(lane.scope), topic_of(raw), 1)


@pytest.fixture(params=["lists", "a recording", "redis"])
async def history(
    request: pytest.FixtureRequest, tmp_path: Path, make_redis: Callable[[], RedisServer]
) -> AsyncIterator[History]:
    shown = {lane: raws for lane, raws in CONTENT.items() if lane.scope != OTHER}
    with contextlib.ExitStack() as stack:
        if request.param == "lists":
            yield ListHistory(shown)
        elif request.param == "a recording":
            made = FileHistory(record(tmp_path / "day.axlog", CONTENT), [OWN])
            stack.callback(made.close)
            yield made
        else:
            server = make_redis()
            fill(server.url, CONTENT)
            link = Link(redis_url(server.url), name="test")
            stack.callback(link.close)
            yield RedisHistory(link, Layout(), ["m0", OWN], wall=lambda: START_US + 3 * SECOND // 2)


async def test_only_what_may_be_shown_is_there(history: History) -> None:
    assert {(lane.scope, lane.log) for lane in history.lanes} == {("m0", "log"), ("m0", "log:candles"), (OWN, "log")}
    spans = {(span.lane.scope, span.lane.log): span for span in await history.spans()}
    assert [spans[at].entries for at in (("m0", "log"), ("m0", "log:candles"), (OWN, "log"))] == [100, 2, 2]
    assert spans["m0", "log"].first_us == START_US
    assert spans["m0", "log"].last_us == START_US + 99_000
    assert len({history.key(lane) for lane in history.lanes}) == 3
    assert history.end_us() in (START_US + 99_000, START_US + SECOND // 2)


def lane_of(history: History, lane: Lane) -> Lane:
    return next(one for one in history.lanes if one[:2] == lane[:2])


@pytest.mark.parametrize("count", [1, 6, 7, 8, 100, 1_000])
async def test_pages_back_and_forth_skip_and_double_nothing(history: History, count: int) -> None:
    lane = lane_of(history, LOG)
    for read, start_us, wanted in (
        (history.back, START_US + 99_000, TICKS[98::-1]),
        (history.back, START_US + 50_500, TICKS[50::-1]),
        (history.forth, START_US - 1, TICKS),
        (history.forth, START_US + 50_000, TICKS[51:]),
        (history.back, START_US, []),
        (history.forth, START_US + 99_000, []),
        (history.back, 0, []),
        (history.back, 10**30, TICKS[::-1]),
        (history.forth, 10**30, []),
    ):
        found: list[bytes] = []
        edge_us: int | None = start_us
        while edge_us is not None:
            page = await read(lane, edge_us, count)
            assert len(page.raws) <= count
            found += page.raws
            edge_us = page.edge_us
        assert found == wanted


async def test_pages_of_one_topic_hold_all_of_it(history: History) -> None:
    lane = lane_of(history, LOG)
    found: list[bytes] = []
    edge_us: int | None = START_US + SECOND
    while edge_us is not None:
        page = await history.back(lane, edge_us, 10, topic="ticker:B2")
        found += [raw for raw in page.raws if topic_of(raw) == "ticker:B2"]
        edge_us = page.edge_us
    assert found == TICKS[99::-2]


async def test_topics_by_scope(history: History) -> None:
    assert await history.topics("m0") == {"ticker:A1", "ticker:B2", "candles:BTCUSDT:1m"}
    assert await history.topics(OWN) == {"orders", "portfolio"}


async def test_rates(history: History) -> None:
    stretches = [Stretch(START_US + at * 7_000, START_US + (at + 1) * 7_000) for at in (0, 3, 40)]
    samples = await history.rates(lane_of(history, LOG), stretches)
    # of a recording, the millisecond between two blocks belongs to neither
    assert [sample.events_per_s for sample in samples] == pytest.approx([1_000, 1_000, 0])
    assert all(sample.is_exact for sample in samples)


# What is a history's own


async def test_a_recording_finds_topics_that_are_far_back_by_its_index(tmp_path: Path) -> None:
    rare = [tick(at, symbol=f"R{at}") for at in range(40)]
    history = FileHistory(record(tmp_path / "day.axlog", {LOG: [*rare, *(tick(100 + at) for at in range(700))]}), [])
    topics = [f"ticker:R{at}" for at in range(40)]
    assert sorted(await history.newest("m0", topics, START_US + SECOND)) == sorted(rare)
    assert await history.newest("m0", ["ticker:R0", "ticker:NEVER"], START_US + 3) == []
    assert await history.newest("m1", topics, START_US + SECOND) == []
    history.close()


async def test_a_damaged_recording_is_read_up_to_the_damage(tmp_path: Path) -> None:
    path = record(tmp_path / "day.axlog", {LOG: TICKS})
    raw = bytearray(path.read_bytes())
    whole = FileHistory(path, [])
    block = whole.recording.blocks_of(LOG)[5]
    whole.close()
    raw[block.offset + block.size - 2] ^= 0xFF
    path.write_bytes(raw)
    history = FileHistory(path, [])
    (lane,) = history.lanes
    assert (await history.forth(lane, START_US - 1, 35)).raws == TICKS[:35]
    with pytest.raises(PublicConnectionError, match=r"recording cannot be read.*day\.axlog"):
        await history.forth(lane, START_US - 1, 36)
    history.close()


async def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.axlog").write_bytes(b"something else, long enough to be looked at")
    with pytest.raises(RecordingError):
        FileHistory(tmp_path / "x.axlog", [])


async def test_blocks_are_kept_so_that_they_are_read_once(tmp_path: Path) -> None:
    history = FileHistory(record(tmp_path / "day.axlog", {LOG: TICKS}), [])
    (lane,) = history.lanes
    await history.back(lane, START_US + SECOND, 100)
    read: list[Any] = []
    history.recording.read = read.append  # type: ignore[method-assign,assignment]
    await history.back(lane, START_US + SECOND, 100)
    assert read == []
    history.close()


async def test_cut_blocks_of_a_large_recording_are_shared_evenly(tmp_path: Path) -> None:
    raws = [tick(at * 1_000) for at in range(1_000)]
    history = FileHistory(record(tmp_path / "day.axlog", {LOG: raws}, per_block=20), [])
    (lane,) = history.lanes
    whole, cut = Stretch(START_US, START_US + 19_001), Stretch(START_US + 10_000, START_US + 60_000)
    samples = await history.rates(lane, [whole, cut])
    assert [sample.is_exact for sample in samples] == [True, False]
    assert samples[0].events_per_s == pytest.approx(1_000, rel=0.06)
    assert samples[1].events_per_s == pytest.approx(1_000, rel=0.06)
    history.close()


async def test_a_recording_that_is_written_grows_with_new_lanes_and_topics(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "day.axlog", options=WriterOptions(fsync="never")) as writer:
        writer.add(LOG, TICKS[:50])
        writer.flush()
        history = FileHistory(tmp_path / "day.axlog", [OWN])
        assert history.lanes == (LOG,)
        assert not await history.refresh()
        writer.add(LOG, TICKS[50:])
        writer.add(LOG, [tick(200_000, symbol="C3")])
        writer.add(Lane(OTHER, "log"), [order(1, "of-another")])
        writer.add(ACCOUNT, [order(3)])
        writer.flush()
        assert await history.refresh()
        assert history.lanes == (LOG, ACCOUNT)
        assert history.end_us() == START_US + 200_000
        assert (await history.forth(LOG, START_US - 1, 1_000)).raws[:100] == TICKS
        assert await history.topics("m0") == {"ticker:A1", "ticker:B2", "ticker:C3"}
        assert await history.topics(OWN) == {"orders"}
        assert [span.entries for span in await history.spans()] == [101, 1]
        assert history.grows
    assert not await history.refresh()
    assert not history.grows
    history.close()


async def test_damage_that_is_written_ends_a_recording_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "day.axlog"
    with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
        writer.add(LOG, TICKS)
        writer.flush()
        history = FileHistory(path, [])
        with path.open("ab") as file:
            file.write(b"x" * 100)
        assert not await history.refresh()
    assert not history.grows
    assert "damaged while it is written" in caplog.text
    assert len((await history.forth(LOG, START_US - 1, 1_000)).raws) == 100
    history.close()


async def test_an_event_is_located_among_what_may_be_shown(tmp_path: Path) -> None:
    numbered = [tick(at * 1_000, seq=at + 1) for at in range(100)]
    path = record(tmp_path / "day.axlog", {LOG: numbered, ACCOUNT: [order(3)]})
    history, foreign = FileHistory(path, [OWN]), FileHistory(path, [])
    assert await history.locate(EventName("ticker:BTCUSDT", 62)) == START_US + 61_000
    assert await history.locate(EventName("ticker:BTCUSDT", 101)) is None
    assert await history.locate(EventName("orders", 1)) == START_US + 3
    assert await foreign.locate(EventName("orders", 1)) is None
    history.close()
    foreign.close()


@pytest.mark.server
async def test_redis_gives_latest_values_that_are_old_enough(redis_server: RedisServer) -> None:
    layout = Layout()
    with redis.Redis.from_url(redis_server.url) as client:
        client.mset({layout.latest("m0", "ticker:A1"): tick(5, symbol="A1"), layout.latest("m0", "ticker:B2"): b"junk"})
        client.sadd(layout.latest(OWN, "orders"), "o-1", "o-gone")
        client.set(layout.latest(OWN, "orders", "o-1"), order(7))
        client.set(layout.latest(OWN, "portfolio"), portfolio(8))
    link = Link(redis_url(redis_server.url), name="test")
    history = RedisHistory(link, layout, ["m0", OWN], wall=lambda: START_US)
    wanted = ["ticker:A1", "ticker:B2", "ticker:C3"]
    assert await history.newest("m0", wanted, START_US + 6) == [tick(5, symbol="A1")]
    assert await history.newest("m0", wanted, START_US + 5) == []
    assert sorted(await history.newest(OWN, ["orders", "portfolio"], START_US + 9)) == sorted([order(7), portfolio(8)])
    link.close()


@pytest.mark.server
async def test_rates_of_a_busy_log_are_estimated(redis_server: RedisServer) -> None:
    fill(redis_server.url, {LOG: [tick(at * 100) for at in range(3_000)]})
    link = Link(redis_url(redis_server.url), name="test")
    history = RedisHistory(link, Layout(), ["m0"], wall=lambda: START_US)
    samples = await history.rates(
        LOG, [Stretch(START_US, START_US + 250_000), Stretch(START_US + 290_000, START_US + SECOND)]
    )
    assert samples[0].events_per_s == pytest.approx(10_000)
    assert (samples[0].is_exact, samples[1].is_exact) == (False, True)
    link.close()


@pytest.mark.server
async def test_foreign_entries_are_left_out_and_do_not_end_a_page(redis_server: RedisServer) -> None:
    layout = Layout()
    fill(redis_server.url, {LOG: [tick(0), tick(10_000)]})
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd(layout.log("m0"), {"x": "y"}, id=f"{log_id(START_US + 10_000).split('-')[0]}-5000")
        client.xadd(layout.log("m0"), {"other": "1", "e": "2"}, id=log_id(START_US + 20_000))
    link = Link(redis_url(redis_server.url), name="test")
    history = RedisHistory(link, layout, ["m0"], wall=lambda: START_US)
    found: list[bytes] = []
    edge_us: int | None = START_US + SECOND
    while edge_us is not None:
        page = await history.back(LOG, edge_us, 1)
        found += page.raws
        edge_us = page.edge_us
    assert found == [tick(10_000), tick(0)]
    link.close()


@pytest.mark.server
async def test_a_server_that_is_away_is_a_public_error_without_secrets(redis_server: RedisServer) -> None:
    url = redis_url(redis_server.url.replace("://", "://someone:pw-hidden-1@"))
    redis_server.kill()
    link = Link(url, name="test")
    history = RedisHistory(link, Layout(), ["m0"], wall=lambda: START_US)
    with pytest.raises(PublicConnectionError, match="does not answer") as caught:
        await history.back(LOG, START_US, 1)
    assert "hidden" not in str(caught.value)

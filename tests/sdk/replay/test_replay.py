"""A client that replays a recording: which calls its handlers get."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, Candle, EventMeta, FeedState, FeedStatus, Ticker, UsageError
from agentexchange.recording import Lane
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import log_id
from tests.sdk.recording._samples import ACCOUNT, MARKET, START_US, tick, ticks, write
from tests.sdk.replay._play import BTC, CANDLE, ETH, Calls, a_day, candle, eth, notice, order

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=START_US + us)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    return a_day(tmp_path / "day.axlog")


async def test_every_event_comes_in_the_recorded_order_over_all_lanes(day: Path) -> None:
    seen = await Calls(day).on(BTC, CANDLE, "orders").play()
    assert seen == [
        (BTC, 1), (BTC, 2), (BTC, 3), ("orders", 1), (BTC, 4), (CANDLE, 1), (BTC, 5), (BTC, 6), (BTC, 7), (CANDLE, 2),
        (BTC, 8), ("orders", 2), (BTC, 9), (BTC, 10),
    ]  # fmt: skip


async def test_handlers_get_what_live_ones_get(day: Path) -> None:
    calls = Calls(day)

    @calls.ws.on_ticker("all")
    async def on_tick(data: Ticker, meta: EventMeta) -> None:
        calls.put((data, meta))

    tick_, meta = (await calls.play())[1]
    assert (tick_.symbol, tick_.price) == ("ETHUSDT", "0.50000000")
    assert meta == EventMeta(
        topic=ETH,
        scope="m0",
        epoch=7,
        seq=1,
        upstream_time=EPOCH + timedelta(milliseconds=START_US // 1000),
        received_time=at(1),
        written_time=None,
        delivered_time=at(1),
        log_id=log_id(START_US + 1),
        source="replayed",
    )


async def test_an_event_goes_to_all_its_handlers_in_their_order_before_the_next(day: Path) -> None:
    calls = Calls(day)
    threads = set()

    @calls.ws.on_ticker("BTCUSDT")
    async def first(data: dict[str, Any], meta: EventMeta) -> None:
        await asyncio.sleep(0.001)
        calls.put(("first", meta.seq))

    @calls.ws.on_ticker("all")
    def second(data: dict[str, Any], meta: EventMeta) -> None:
        threads.add(threading.current_thread().name)
        calls.put(("second", meta.topic, meta.seq))

    @calls.ws.on_ticker("BTCUSDT")
    async def third(data: Ticker) -> None:
        calls.put(("third", data.price))

    seen = await calls.play()
    assert seen[:5] == [("first", 1), ("second", BTC, 1), ("third", "0.50000000"), ("second", ETH, 1), ("first", 2)]
    assert len(seen) == 40
    assert threads == {"agentexchange:replay"}


async def test_each_handler_has_a_dict_of_its_own(day: Path) -> None:
    calls = Calls(day)
    for name in "abc":

        @calls.ws.on_ticker("BTCUSDT")
        async def spoil(data: dict[str, Any], name: str = name) -> None:
            calls.put(data.get("by"))
            data["by"] = name

        @calls.ws.on_ticker("BTCUSDT")
        def spoil_too(data: dict[str, Any], name: str = name) -> None:
            calls.put(data.get("by"))
            data["by"] = name

    assert set(await calls.play()) == {None}


async def test_notices_come_to_status_handlers_in_their_place(tmp_path: Path) -> None:
    loss = {"topic": ETH, "count": 3, "first_missing": 4, "last_missing": 6, "cause": "trimmed"}
    content = [tick(0), notice(1, START_US + 500), tick(1), notice(2, START_US + 1500, "live", **loss), tick(2)]
    calls = Calls(write(tmp_path / "t.axlog", [(MARKET, content)])).on(BTC).on_status()
    seen = await calls.play()
    assert [type(one) is FeedStatus for one in seen] == [True, False, True, False, True, False]
    assert [(one.state, one.scope, one.count) for one in seen[::2]] == [
        ("live", "m0", None),
        ("blind", "m0", None),
        ("live", "m0", 3),
    ]


async def test_how_a_topic_is_is_told_to_who_has_a_handler_for_it(tmp_path: Path) -> None:
    content = [tick(0), notice(1, START_US + 500, "stale", topic=ETH), notice(2, START_US + 600, "stale", topic=BTC)]
    path = write(tmp_path / "t.axlog", [(MARKET, content)])
    seen = await Calls(path).on(BTC).on_status().play()
    assert [status.topic for status in seen[2:]] == [BTC]


async def test_a_notice_that_cannot_be_read_is_logged_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, [tick(0), notice(1, START_US + 500, "new"), tick(1)])])
    _, *rest = await Calls(path).on(BTC).on_status().play()
    assert rest == [(BTC, 1), (BTC, 2)]
    assert "a notice that cannot be read is left out" in caplog.text


async def test_closed_candles_only_unless_all_are_wanted(tmp_path: Path) -> None:
    content = [candle(1, START_US, is_closed=False), candle(2, START_US + 1)]
    path = write(tmp_path / "t.axlog", [(MARKET, content)])
    calls = Calls(path)

    @calls.ws.on_candles("BTCUSDT", "1m")
    async def closed(data: Candle) -> None:
        calls.put(("closed", data.close))

    @calls.ws.on_candles("BTCUSDT", "1m", closed_only=False)
    def every(data: Candle) -> None:
        calls.put(("every", data.close))

    assert await calls.play() == [("every", "1"), ("closed", "2"), ("every", "2")]


async def test_one_that_raises_is_logged_and_stops_nothing(day: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(day)

    @calls.ws.on_ticker("BTCUSDT")
    async def bad(data: dict[str, Any]) -> None:
        raise ValueError("async, on purpose")

    @calls.ws.on_ticker("BTCUSDT")
    def worse(data: dict[str, Any]) -> None:
        raise asyncio.CancelledError("sync, on purpose")

    @calls.ws.on_ticker("BTCUSDT")
    async def cancelled(data: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    assert len(await calls.on(BTC).play()) == 10
    assert [one.errors for one in calls.ws.stats().handlers] == [10, 10, 10, 0]
    assert "handler " in caplog.text
    assert "async, on purpose" in caplog.text


async def test_a_raw_event_that_is_no_envelope_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tick(1).replace(b"\xa1d", b"\xa1x")  # where no reader of places looks
    path = write(tmp_path / "t.axlog", [(MARKET, [tick(0), broken, tick(2)])])
    assert await Calls(path).on(BTC).play() == [(BTC, 1), (BTC, 3)]
    assert "no envelope" in caplog.text
    alone = write(
        tmp_path / "u.axlog", [(MARKET, [broken]), (ACCOUNT, [order(1, START_US + 2000)]), (MARKET, [tick(3)])]
    )
    assert await Calls(alone).on(BTC, "orders").play() == [("orders", 1), (BTC, 4)]


# What is replayed


@pytest.mark.parametrize(
    ("start", "end", "seqs"),
    [
        (at(3_000), None, range(4, 11)),
        (None, at(3_000), range(1, 4)),
        ("2026-11-22T09:55:18.003Z", "2026-11-22 09:55:18.005", range(4, 6)),
        (f"{BTC}@6", f"{BTC}@8", range(6, 8)),
        (log_id(START_US + 8_000), "now", range(9, 11)),
        (at(-5_000_000), at(5_000_000), range(1, 11)),
    ],
)
async def test_a_span(day: Path, start: Any, end: Any, seqs: range) -> None:
    calls = Calls(day).on(BTC)
    calls.ws.replay(start, end, progress_bar=False)
    assert await calls.play() == [(BTC, seq) for seq in seqs]


async def test_a_span_in_the_url_which_arguments_override(day: Path) -> None:
    query = f"speed=0&start={BTC}@3&end={BTC}@5"
    assert await Calls(day, query=query).on(BTC).play() == [(BTC, 3), (BTC, 4)]
    calls = Calls(day, query=query).on(BTC)
    calls.ws.replay(f"{BTC}@1", progress_bar=False)
    assert len(await calls.play()) == 4


async def test_an_unchanged_program_needs_only_another_url(day: Path) -> None:
    ws = AgentExchangeWS(base_url=f"file://{day}?speed=0")
    seen = []

    @ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any]) -> None:
        seen.append(data["price"])

    await ws.connect()
    assert len(seen) == 10
    assert repr(ws).startswith(f"<AgentExchangeWS file://{day} ")


async def test_connected_twice_it_replays_twice_from_the_start(day: Path) -> None:
    calls = Calls(day).on(BTC, ETH)
    first = list(await calls.play())
    assert calls.control.progress.share == 1
    assert await calls.play() == first * 2


async def test_rotated_files_are_one_recording(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"day-{number}.axlog", [(MARKET, ticks(30)[number * 10 : number * 10 + 10])])
    seen = await Calls(f"{tmp_path}/day-*.axlog").on(BTC).play()
    assert seen == [(BTC, seq) for seq in range(1, 31)]


async def test_a_recording_that_is_still_being_written_is_played_as_far_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(5))], close=False)
    assert len(await Calls(path).on(BTC).play()) == 5


@pytest.mark.parametrize(("start", "end"), [("2030-01-01", None), (None, "2020-01-01")])
async def test_a_span_without_an_event_ends_and_says_so(
    day: Path, caplog: pytest.LogCaptureFixture, start: Any, end: Any
) -> None:
    calls = Calls(day).on(BTC)
    calls.ws.replay(start, end, progress_bar=False)
    assert await calls.play() == []
    assert "nothing was recorded in that span" in caplog.text


async def test_an_empty_recording_ends_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(write(tmp_path / "t.axlog", [])).on(BTC)
    assert await calls.play() == []
    assert "nothing was recorded" in caplog.text


async def test_a_start_that_is_not_before_the_end(day: Path) -> None:
    calls = Calls(day).on(BTC)
    calls.ws.replay(f"{BTC}@5", f"{BTC}@5", progress_bar=False)
    with pytest.raises(UsageError, match="start of a replay must be before its end"):
        await calls.play()


async def test_a_start_at_an_event_that_was_not_recorded(day: Path) -> None:
    calls = Calls(day).on(BTC)
    calls.ws.replay(f"{BTC}@99", progress_bar=False)
    with pytest.raises(ValueError, match="no event ticker:BTCUSDT@99"):
        await calls.play()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start": "yesterday"}, "start: 'yesterday' is no moment"),
        ({"end": "ticker:all@1"}, "end: 'ticker:all@1' names no event"),
        ({"start": 5}, "start must be a datetime, a text or an EventName"),
        ({"speed": -1}, "speed must be a number from 0 on"),
    ],
)
def test_wrong_arguments_are_value_errors(day: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AgentExchangeWS(base_url=f"file://{day}").replay(**options)


@pytest.mark.parametrize("on_progress", [5, asyncio.sleep])
def test_a_watcher_is_a_plain_function(day: Path, on_progress: Any) -> None:
    with pytest.raises(TypeError, match="on_progress must be a plain function"):
        AgentExchangeWS(base_url=f"file://{day}").replay(on_progress=on_progress)


def test_a_wrong_moment_in_the_url_is_one_too() -> None:
    with pytest.raises(ValueError, match="start: 'soon' is no moment"):
        AgentExchangeWS(base_url="file:///d.axlog?start=soon")


def test_the_platform_and_groups_replay_nothing() -> None:
    with pytest.raises(UsageError, match="the platform keeps no log"):
        AgentExchangeWS("k").replay()
    with pytest.raises(UsageError, match="leave them out"):
        AgentExchangeWS("k", "redis://localhost", resume="me").replay()


def test_only_a_recording_needs_no_key() -> None:
    for url in ("ws://localhost", "redis://localhost"):
        with pytest.raises(ValueError, match="api_key is missing"):
            AgentExchangeWS(None, url)


# Whose orders


async def test_orders_are_those_of_the_only_account(day: Path) -> None:
    assert await Calls(day).on("orders").play() == [("orders", 1), ("orders", 2)]


async def test_of_several_accounts_it_is_the_keys_or_the_one_named(tmp_path: Path) -> None:
    own = Lane(account_scope("ak_live_own"), "log", "x")
    path = write(tmp_path / "t.axlog", [(ACCOUNT, [order(1, START_US)]), (own, [order(9, START_US + 1)])])
    with pytest.raises(UsageError, match="2 accounts were recorded"):
        await Calls(path).on("orders").play()
    assert await Calls(path, "ak_live_own").on("orders").play() == [("orders", 9)]
    named = f"speed=0&account={ACCOUNT.scope}"
    assert await Calls(path, "ak_live_own", query=named).on("orders").play() == [("orders", 1)]
    assert await Calls(path, query=named).on("orders").play() == [("orders", 1)]


async def test_handlers_that_will_stay_silent_are_named(day: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert await Calls(day, "ak_live_other").on("orders", "ticker:SOLUSDT").play() == []
    assert "not this account, but a-000" in caplog.text
    assert "no events of orders, ticker:SOLUSDT: handlers for that stay silent" in caplog.text


async def test_so_are_those_that_are_added_while_it_runs(day: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls = Calls(day)

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
        if meta.seq == 5:
            calls.on("ticker:SOLUSDT")

    await calls.play()
    assert caplog.text.count("no events of ticker:SOLUSDT: handlers for that stay silent") == 1


async def test_nothing_is_warned_of_where_all_is_there(day: Path, caplog: pytest.LogCaptureFixture) -> None:
    await Calls(day).on(BTC, "ticker:all", CANDLE, "orders").on_status().play()
    assert [
        record for record in caplog.records if record.levelno >= logging.WARNING and "asyncio" not in record.name
    ] == []


# Time


async def test_the_clients_clock_is_the_recorded_time_and_real_outside(day: Path) -> None:
    calls = Calls(day)

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any]) -> None:
        calls.put(calls.ws.clock.now())

    @calls.ws.on_ticker("ETHUSDT")
    def on_eth(data: dict[str, Any]) -> None:
        calls.put(calls.ws.clock.now())

    seen = await calls.play()
    assert seen == [at(number * 1000 + off) for number in range(10) for off in (0, 1)]
    assert abs(calls.ws.clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


async def test_freshness_is_by_recorded_time(tmp_path: Path) -> None:
    content = [tick(0), eth(0, received_us=START_US + 1), tick(3000), notice(1, START_US + 3_000_001), tick(3001)]
    calls = Calls(write(tmp_path / "t.axlog", [(MARKET, content)])).on(ETH)

    @calls.ws.on_ticker("BTCUSDT")
    def on_btc(data: dict[str, Any]) -> None:
        calls.put(calls.ws.freshness(ETH))

    seen = await calls.play()
    before, _, after, blind = seen
    assert (before.state, before.age_s, before.received_time) == (FeedState.LIVE, None, None)
    assert (after.state, after.received_time, after.delivered_time) == (FeedState.LIVE, at(1), at(1))
    assert after.age_s == pytest.approx(2.999999)
    assert blind.state is FeedState.BLIND
    assert calls.ws.freshness(ETH).received_time is None

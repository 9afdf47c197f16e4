"""What a replay tells of the feed where it begins, before any event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, EventMeta, FeedState, FeedStatus
from agentexchange._urls import redis_url
from agentexchange.recording import Lane
from agentexchange.replay import RedisSource
from agentexchange.replay import _back as back
from agentexchange_schemas.envelope import encode
from tests.sdk._shared_client import KEY
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, tick, ticks, write
from tests.sdk.replay._play import BTC, CANDLE, ETH, Calls, candle, notice, order

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

SINCE = datetime(2026, 11, 22, 9, 55, 18, tzinfo=UTC)  # of the samples' notices
RECORDER = Lane("m0", "recorder")
Told = tuple[str | None, str | None, str]


def at(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START_US + us)


def told(seen: list[Any]) -> list[Any]:
    """Events as they are; of statuses, whose, of which topic and what."""
    return [(one.scope, one.topic, one.state.value) if isinstance(one, FeedStatus) else one for one in seen]


async def played(path: Path, *topics: str, start: Any = None) -> list[Any]:
    calls = Calls(path).on(*topics).on_status()
    calls.ws.replay(start, progress_bar=False)
    return await calls.play()


# Inferred


async def test_without_a_notice_a_scope_is_live_from_its_first_event_on(tmp_path: Path) -> None:
    content = [(MARKET, ticks(3)), (ACCOUNT, [order(1, START_US + 1500)])]
    seen = await played(write(tmp_path / "t.axlog", content), BTC, "orders")
    assert told(seen) == [
        ("m0", None, "live"), (BTC, 1), (BTC, 2), (ACCOUNT.scope, None, "live"), ("orders", 1), (BTC, 3)
    ]  # fmt: skip
    assert (seen[0].since, seen[0].until, seen[0].cause) == (at(0), None, None)
    assert "taken as live from its first event on" in seen[0].message


async def test_a_program_that_waits_for_live_trades(tmp_path: Path) -> None:
    """The pattern that this is for."""
    ws = AgentExchangeWS(base_url=f"file://{write(tmp_path / 't.axlog', [(MARKET, ticks(5))])}?speed=0")
    is_live, traded = False, []

    @ws.on_status()
    async def on_status(status: FeedStatus) -> None:
        nonlocal is_live
        is_live = status.state is FeedState.LIVE

    @ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
        if is_live:
            traded.append(meta.seq)

    await ws.connect()
    assert traded == [1, 2, 3, 4, 5]


async def test_what_the_first_notice_tells_is_not_anticipated(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, [notice(1, START_US - 1, "stale"), *ticks(2)])])
    assert told(await played(path, BTC)) == [("m0", None, "stale"), (BTC, 1), (BTC, 2)]


async def test_a_notice_of_a_loss_or_of_a_topic_says_nothing_of_the_scope(tmp_path: Path) -> None:
    loss = notice(1, START_US - 2, "live", topic=ETH, cause="trimmed", count=3)
    path = write(tmp_path / "t.axlog", [(MARKET, [loss, notice(2, START_US - 1, "stale", topic=BTC), tick(0)])])
    assert told(await played(path, BTC)) == [
        ("m0", ETH, "live"), ("m0", BTC, "stale"), ("m0", None, "live"), (BTC, 1)
    ]  # fmt: skip


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_candle_that_is_not_complete_proves_nothing(tmp_path: Path, *, is_async: bool) -> None:
    """In a blind span candles are closed on the clock, too."""
    content = [candle(number, START_US + number, complete=number > 2) for number in range(1, 5)]
    calls = Calls(write(tmp_path / "t.axlog", [(CANDLES, content)]))
    calls = (calls.on if is_async else calls.on_sync)(CANDLE).on_status()
    assert told(await calls.play()) == [
        (CANDLE, 1), (CANDLE, 2), ("m0", None, "live"), (CANDLE, 3), (CANDLE, 4)
    ]  # fmt: skip
    assert calls.ws.stats().transport["events"] == 4


async def test_a_status_handler_that_is_added_later_gets_it_too(tmp_path: Path) -> None:
    calls = Calls(write(tmp_path / "t.axlog", [(MARKET, ticks(3))]))

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
        if meta.seq == 2:
            calls.on_status()

    assert told(await calls.play()) == [("m0", None, "live")]


# Of the last notice before


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Blind, then live but for a pair, then a gap that a recorder tells of; behind these ten ticks in two blocks."""
    back_again = notice(
        3, START_US - 3000, "live", since="2026-11-22T09:50:00Z", until="2026-11-22T09:55:00Z", cause="reconnected"
    )
    gap = notice(9, START_US - 1000, "connecting", cause="trimmed", count=5)
    content = [
        (MARKET, [notice(1, START_US - 9000), tick(-8), notice(2, START_US - 7000, "auth_failed", cause="no")]),
        (MARKET, [back_again, notice(4, START_US - 2000, "stale", topic=BTC), notice(5, START_US - 1900, topic=ETH)]),
        (RECORDER, [gap]),
        (MARKET, ticks(5)),
        (MARKET, ticks(10)[5:]),
    ]
    return write(tmp_path / "night.axlog", content)


async def test_the_state_in_force_at_the_start_comes_first(night: Path) -> None:
    seen = await played(night, BTC, start=at(3_000))
    assert told(seen)[:3] == [("m0", None, "live"), ("m0", BTC, "stale"), (BTC, 4)]
    own, pair = seen[:2]
    assert (own.since, own.until, own.cause, own.message) == (
        datetime(2026, 11, 22, 9, 55, tzinfo=UTC),
        None,
        None,
        None,
    )
    assert (pair.since, pair.until) == (SINCE, None)
    assert len(seen) == 2 + 7


async def test_one_that_was_not_live_is_told_with_its_cause(night: Path) -> None:
    first, *_ = await played(night, BTC, start=at(-6_000))
    assert (first.state, first.cause, first.since, first.until) == (FeedState.AUTH_FAILED, "no", SINCE, None)


async def test_what_is_told_at_the_start_is_as_the_clock_shows_it(night: Path) -> None:
    calls = Calls(night).on(BTC)
    calls.ws.on_status()(lambda _: calls.put(calls.ws.clock.now()))
    calls.ws.replay(at(3_000), progress_bar=False)
    assert (await calls.play())[:3] == [at(3_000), at(3_000), (BTC, 4)]


async def test_after_a_seek_it_is_told_anew_forth_and_back(night: Path) -> None:
    calls = Calls(night).on_status()

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
        calls.put(meta.seq)
        if calls.seen.count(3) == 1 and meta.seq == 3:
            calls.control.seek(at(8_000))
        if calls.seen.count(9) == 1 and meta.seq == 9:
            calls.control.seek(at(-6_500))

    calls.control = calls.ws.replay(at(-6_600), progress_bar=False)
    seen = told(await calls.play())
    first = seen.index(9)
    opening = [("m0", None, "live"), ("m0", BTC, "stale")]
    assert seen[first - 3 : first + 2] == [3, *opening, 9, ("m0", None, "auth_failed")]


async def test_two_runs_tell_the_same(night: Path) -> None:
    for start in (None, at(-6_000), at(0), at(7_500)):
        first = await played(night, BTC, ETH, start=start)
        assert await played(night, BTC, ETH, start=start) == first


async def test_a_scope_that_is_read_later_is_told_when_it_is(tmp_path: Path) -> None:
    own = {"scope": ACCOUNT.scope}
    content = [
        (MARKET, ticks(5)),
        (ACCOUNT, [notice(1, START_US - 5, "live", **own), order(1, START_US + 500), order(2, START_US + 3500)]),
    ]
    calls = Calls(write(tmp_path / "t.axlog", content)).on_status()

    @calls.ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
        calls.put(meta.seq)
        if meta.seq == 2:
            calls.on("orders")

    assert told(await calls.play()) == [
        ("m0", None, "live"), 1, 2, (ACCOUNT.scope, None, "live"), 3, 4, ("orders", 2), 5
    ]  # fmt: skip


async def test_damage_before_the_start_hides_what_was_told_there(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, [notice(1, START_US - 5, "stale")]), (MARKET, ticks(3))])
    content = bytearray(path.read_bytes())
    content[content.rindex(b"BLCK") - 5] ^= 0xFF
    path.write_bytes(bytes(content))
    assert told(await played(path, BTC, start=at(1_000))) == [("m0", None, "live"), (BTC, 2), (BTC, 3)]


# A gap that a recorder tells of


async def test_a_gap_that_a_recorder_tells_of_does_not_change_how_the_feed_is(tmp_path: Path) -> None:
    gap = FeedStatus(
        scope="m0", topic=BTC, state=FeedState.CONNECTING, since=SINCE, until=SINCE, cause="trimmed", count=2
    ).to_fields()
    raw = encode("status", 0, None, None, START_US + 500, gap)
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(2)), (RECORDER, [raw])])
    assert told(await played(path, BTC)) == [("m0", None, "live"), (BTC, 1), ("m0", BTC, "live"), (BTC, 2)]


# From the logs


@pytest.mark.server
async def test_the_logs_tell_it_too_as_far_back_as_is_looked(
    redis_server: RedisServer, writer: LayoutWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.notice({"scope": "m0", "state": "stale", "since": "2026-11-22T09:55:18Z", "cause": "upstream_silent"})
    writer.bulk([BTC], 1200)

    async def first_told() -> FeedStatus:
        statuses: list[FeedStatus] = []
        ws = AgentExchangeWS(KEY, redis_server.url)
        ws.on_status()(statuses.append)
        ws.subscribe(BTC, lambda _: ws.stop())
        ws.replay(f"{BTC}@1101", speed=0, progress_bar=False)
        await ws.connect()
        return statuses[0]

    known = await first_told()
    assert (known.state, known.since, known.cause) == (FeedState.STALE, SINCE, "upstream_silent")
    assert await first_told() == known
    monkeypatch.setattr(back, "_MOST", 1000)
    inferred = await first_told()
    assert inferred.state is FeedState.LIVE
    assert "taken as live" in str(inferred.message)


@pytest.mark.server
async def test_a_log_is_looked_back_into_up_to_the_last_word_about_its_scope(
    redis_server: RedisServer, writer: LayoutWriter
) -> None:
    writer.notice({"scope": "m0", "state": "blind", "since": "2026-11-22T09:00:00Z"})
    writer.bulk([BTC], 600)
    writer.notice({"scope": "m0", "state": "live", "since": "2026-11-22T09:00:00Z", "until": "2026-11-22T09:55:18Z"})
    writer.bulk([BTC], 600)
    writer.notice({"scope": "m0", "topic": BTC, "state": "stale", "since": "2026-11-22T09:55:18Z"})
    async with RedisSource(redis_url(redis_server.url)) as source:
        states = await source.states_at(writer.received_us + 1, ["m0"])
        assert [(one.topic, one.state, one.since) for one in states] == [(None, "live", SINCE), (BTC, "stale", SINCE)]
        assert await source.states_at(source.first_us or 0, ["m0"]) == []

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import serve

from agentexchange import AuthenticationError, ConnectionError  # noqa: A004 - the documented name
from agentexchange.testing import DEMO_KEY, SandboxExchange
from agentexchange.upstream import AuthPolicy
from agentexchange_schemas import FeedState, FrameError, Topic
from tests._patience import PATIENCE_S
from tests.sdk._timeline import Timeline
from tests.sdk.upstream._feeds import Sink, make_feed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

BTC, ETH, ALL = "ticker:BTCUSDT", "ticker:ETHUSDT", "ticker:all"


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(pairs=10, rate=0) as exchange:
        yield exchange


@pytest.fixture
async def page_sandbox() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(pairs=10, rate=0, dialect="page") as exchange:
        yield exchange


async def test_ticks_orders_and_portfolio_arrive(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink, BTC, "orders", "portfolio")):
        await sandbox.control.wait_for_subscriptions(BTC, "orders", "portfolio")
        sandbox.control.push_tick("BTCUSDT", price="64000.10")
        sandbox.control.step_orders(1)
        await sink.until(lambda: {"ticker:BTCUSDT", "orders"} <= {topic for topic, _ in sink.events})
    assert sink.prices[:1] == ["64000.10"]
    assert sink.states == ["connecting", "live"]


async def test_the_documented_dialect(page_sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(page_sandbox.url, sink, BTC)):
        await page_sandbox.control.wait_for_subscriptions(BTC)
        page_sandbox.control.push_tick("BTCUSDT", price="1")
        await sink.until(lambda: sink.events)
    assert sink.events[0][0] == BTC


async def test_pings_are_answered_so_that_the_server_accepts_it(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink, BTC)):
        await sandbox.control.wait_for_subscriptions(BTC)
        sandbox.control.ping()
        await sandbox.control.wait_for_pongs(1)


async def test_a_lost_session_is_told_and_replaced_with_all_subscriptions(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    feed = make_feed(sandbox.url, sink, BTC, "orders", time=time)
    async with running(feed):
        await sandbox.control.wait_for_subscriptions(BTC, "orders")
        await sink.until_state(FeedState.LIVE)
        time.advance(5)
        sandbox.control.push_tick("BTCUSDT", price="1")
        await sink.until(lambda: sink.events)
        time.advance(2)
        sandbox.control.drop()
        await time.until_asleep(1)
        time.advance(1)
        await sandbox.control.wait_for_subscriptions(BTC, "orders")
        await sink.until_state(FeedState.LIVE, 2)
    assert sink.states == ["connecting", "live", "blind", "live"]
    lost, back = sink.statuses[2], sink.statuses[3]
    assert (lost.cause, lost.until) == ("upstream_lost", None)
    assert back.cause == "reconnected"
    assert back.since == lost.since
    assert back.until is not None
    assert (back.until - back.since).total_seconds() == 3
    assert (feed.stats.sessions, feed.stats.reconnects) == (2, 1)


@pytest.mark.parametrize("code", [1000, 1012, 4000])
async def test_it_reconnects_after_every_ordinary_close(sandbox: SandboxExchange, code: int) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_feed(sandbox.url, sink, BTC, time=time)):
        await sink.until_state(FeedState.LIVE)
        sandbox.control.drop(code=code)
        await time.until_asleep(1)
        time.advance(1)
        await sandbox.control.wait_for_connections_total(2)


async def test_backoff_grows_until_a_session_proves_healthy() -> None:
    """A server that accepts and closes at once must not be hammered: a connect alone proves nothing."""
    speak = False

    async def accept_and_close(connection: ServerConnection) -> None:
        if speak:
            await connection.send('{"type":"ping"}')

    sink, time = Sink(), Timeline()
    async with serve(accept_and_close, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(make_feed(f"ws://127.0.0.1:{port}", sink, BTC, time=time)):
            for delay in (1, 2, 4, 8, 16, 32, 60, 60):
                await time.until_asleep(delay)
                time.advance(delay)
            await time.until_asleep(60)
            speak = True
            time.advance(60)
            await time.until_asleep(1)


async def test_forty_silent_seconds_end_a_session(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    sandbox.control.mute_pings()
    async with running(make_feed(sandbox.url, sink, BTC, time=time)):
        await sink.until_state(FeedState.LIVE)
        await time.until_asleep(40)
        time.advance(30)
        sandbox.control.push_tick("BTCUSDT", price="1")
        await sink.until(lambda: sink.events)
        time.advance(10)
        await time.until_asleep(30)
        time.advance(30)
        await time.until_asleep(0.05)
        time.advance(0.05)
        await sink.until_state(FeedState.BLIND)
        await time.until_asleep(1)
        time.advance(1)
        await sandbox.control.wait_for_connections_total(2)
    assert sink.statuses[2].cause == "upstream_silent"


async def test_frames_that_a_blocked_loop_left_unread_are_no_silence(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    sandbox.control.mute_pings()
    async with running(make_feed(sandbox.url, sink, BTC, time=time)):
        await sink.until_state(FeedState.LIVE)
        await time.until_asleep(40)
        time.advance(35)
        sandbox.control.push_tick("BTCUSDT", price="1")
        time.advance(5)  # in one step of the loop: the watch wakes before anything is read
        await time.until_asleep(0.05)
        await sink.until(lambda: sink.events)
        time.advance(0.05)
        await time.until_asleep(39.95)
    assert sink.states == ["connecting", "live"]


async def test_a_silent_wildcard_is_stale_though_pings_go_on(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_feed(sandbox.url, sink, ALL, time=time)) as task:
        await sink.until_state(FeedState.LIVE)
        await time.until_asleep(40)
        time.advance(39)
        sandbox.control.ping()
        await sandbox.control.wait_for_pongs(1)
        time.advance(1)
        await time.until_asleep(0.05)
        time.advance(0.05)
        await sink.until_state(FeedState.BLIND)
        assert not task.done()
    assert sink.states == ["connecting", "live", "stale", "blind"]
    assert {status.cause for status in sink.statuses[2:]} == {"upstream_silent"}


async def until_stale(time: Timeline, limit: float) -> None:
    """Let a session be without ticks for ``limit`` seconds, and the watch look twice."""
    for _ in range(int(limit / 10)):
        await time.until_asleep(10)
        time.advance(10)
    await time.until_asleep(0.05)
    time.advance(0.05)


async def test_a_market_that_stays_silent_is_stale_since_the_first_silence_and_left_in_peace_longer_each_time(
    sandbox: SandboxExchange,
) -> None:
    sink, time = Sink(), Timeline()
    began = time.now
    async with running(make_feed(sandbox.url, sink, ALL, time=time, tick_stale_after_s=10.0)):
        await sink.until_state(FeedState.LIVE)
        for number, (limit, delay) in enumerate(((10, 1), (20, 2)), start=1):
            await until_stale(time, limit)
            await sink.until_state(FeedState.BLIND, number)
            await time.until_asleep(delay)
            time.advance(delay)
            await sink.until_state(FeedState.STALE, number + 1)
        assert sink.states == ["connecting", "live", "stale", "blind", "stale", "blind", "stale"], "acks are no ticks"
        assert {status.since.timestamp() for status in sink.statuses[2:]} == {began}
        await time.until_asleep(10)
        sandbox.control.push_tick("BTCUSDT", price="1")
        await sink.until_state(FeedState.LIVE, 2)
        end = sink.statuses[-1]
        assert end.since.timestamp() == began
        assert end.until is not None
        assert end.until.timestamp() == time.now
        await until_stale(time, 10)
        await sink.until_state(FeedState.BLIND, 3)


async def test_the_bound_for_ticks_ends_no_session_without_the_wildcard(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_feed(sandbox.url, sink, BTC, time=time, tick_stale_after_s=1.0)):
        await sink.until_state(FeedState.LIVE)
        for _ in range(5):
            await time.until_asleep(1)
            time.advance(1)
    assert sink.states == ["connecting", "live"]


async def test_a_quiet_symbol_is_no_proof_of_death(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_feed(sandbox.url, sink, BTC, time=time)):
        await sink.until_state(FeedState.LIVE)
        for beat in range(1, 5):
            time.advance(30)
            sandbox.control.ping()
            await sandbox.control.wait_for_pongs(beat)
    assert sink.states == ["connecting", "live"]


async def test_a_bad_key_is_final_at_once(sandbox: SandboxExchange) -> None:
    sink = Sink()
    with pytest.raises(AuthenticationError) as caught:
        await make_feed(sandbox.url, sink, BTC, key="ak_wrong").run()
    assert caught.value.status_code == 403
    assert sink.states == ["connecting", "auth_failed"]
    assert "ak_wrong" not in repr(caught.value)


@pytest.mark.parametrize("code", [1008, 4001, 4401])
async def test_a_close_code_that_means_the_key(sandbox: SandboxExchange, code: int) -> None:
    sandbox.control.refuse_keys(code=code)
    with pytest.raises(AuthenticationError) as caught:
        await make_feed(sandbox.url, Sink(), BTC).run()
    assert caught.value.code == code


async def test_an_error_frame_is_no_proof_of_the_key() -> None:
    """It was taken for one, so that a platform which explains itself before it closes was asked for ever."""

    async def explain(connection: ServerConnection) -> None:
        await connection.send('{"type":"error","code":"UNAUTHORIZED","message":"no such key"}')
        await connection.close(4401)

    async with serve(explain, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(AuthenticationError) as caught:
            await asyncio.wait_for(make_feed(f"ws://127.0.0.1:{port}", Sink(), BTC).run(), 10)
    assert caught.value.code == 4401


async def test_a_proxys_password_is_in_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "ftp://user:s3cret@proxy.invalid:1")
    with pytest.raises(ConnectionError, match="proxy") as caught:
        await make_feed("ws://platform.invalid:1", Sink(), BTC).run()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


async def test_a_key_that_worked_is_confirmed_before_it_is_given_up(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_feed(sandbox.url, sink, BTC, time=time)) as task:
        await sink.until_state(FeedState.LIVE)
        sandbox.control.ping()
        await sandbox.control.wait_for_pongs(1)
        sandbox.control.refuse_handshakes(403)
        sandbox.control.drop()
        for delay in (1, 2, 4):
            await time.until_asleep(delay)
            time.advance(delay)
        await time.until_asleep(8)
        assert not task.done()
        time.advance(8)
        with pytest.raises(AuthenticationError):
            await task
    assert sink.states == ["connecting", "live", "blind", "auth_failed"]


async def test_a_platform_that_answers_403_for_a_while_is_outlived(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_feed(sandbox.url, sink, BTC, time=time)):
        await sink.until_state(FeedState.LIVE)
        sandbox.control.ping()
        await sandbox.control.wait_for_pongs(1)
        sandbox.control.refuse_handshakes(403)
        sandbox.control.drop()
        await time.until_asleep(1)
        time.advance(1)
        await time.until_asleep(2)
        sandbox.control.accept_handshakes()
        time.advance(2)
        await sink.until_state(FeedState.LIVE, 2)


async def test_the_patient_policy_tells_and_goes_on(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    sandbox.control.refuse_handshakes(403)
    async with running(make_feed(sandbox.url, sink, BTC, auth=AuthPolicy.PATIENT, time=time)):
        for delay in (1, 2, 4, 8, 60, 60):
            await time.until_asleep(delay)
            time.advance(delay)
        assert sink.states == ["connecting", "auth_failed"]
        await time.until_asleep(60)
        sandbox.control.accept_handshakes()
        time.advance(60)
        await sink.until_state(FeedState.LIVE)


async def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    time = Timeline()
    async with serve(lambda connection: connection.wait_closed(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    async with running(make_feed(f"ws://127.0.0.1:{port}", Sink(), BTC, time=time)) as task:
        for delay in (1, 2):
            await time.until_asleep(delay)
            time.advance(delay)
        await time.until_asleep(4)
        assert not task.done()


@pytest.mark.parametrize("answer", [b"+PONG\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_what_is_no_websocket_server_is_final(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError, match=rf"127\.0\.0\.1:{port}.*check base_url") as caught:
            await make_feed(f"ws://127.0.0.1:{port}", Sink(), BTC).run()
    assert isinstance(caught.value, OSError)
    assert caught.value.__cause__ is not None


async def test_a_cause_that_would_print_the_key_is_left_out(sandbox: SandboxExchange) -> None:
    key = "HTTP"  # as it happens, a word that the fault's text has
    sandbox.control.refuse_handshakes(404)
    with pytest.raises(ConnectionError) as caught:
        await make_feed(sandbox.url, Sink(), BTC, key=key).run()
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert key not in str(caught.value)


async def test_a_server_error_is_retried(sandbox: SandboxExchange) -> None:
    time = Timeline()
    sandbox.control.refuse_handshakes(503)
    async with running(make_feed(sandbox.url, Sink(), BTC, time=time)):
        await time.until_asleep(1)


async def test_a_refused_topic_is_told_with_upstreams_words_and_not_repeated(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink, "candles:BTCUSDT:15m", BTC)):
        await sink.until(lambda: any(status.topic for status in sink.statuses))
        await sandbox.control.wait_for_subscriptions(BTC)
        sandbox.control.ping()
        await sandbox.control.wait_for_pongs(1)
        assert sandbox.control.requests == 3
    refused = next(status for status in sink.statuses if status.topic)
    assert (refused.topic, refused.state) == ("candles:BTCUSDT:15m", FeedState.UNAVAILABLE)
    assert (refused.message or "").startswith("INVALID_CHANNEL: ")


async def test_an_eleventh_subscription_is_told_and_made_when_there_is_room(sandbox: SandboxExchange) -> None:
    sink = Sink()
    topics = [f"ticker:S{number}USDT" for number in range(11)]
    feed = make_feed(sandbox.url, sink, *topics)
    async with running(feed):
        await sink.until(lambda: any(status.state is FeedState.UNAVAILABLE for status in sink.statuses))
        feed.unsubscribe(Topic.parse(topics[0]))
        await sandbox.control.wait_for_subscriptions(topics[10])
        await sink.until(lambda: sink.statuses[-1].topic == topics[10] and sink.statuses[-1].state is FeedState.LIVE)


async def test_switching_to_the_wildcard_and_back_loses_and_doubles_nothing(sandbox: SandboxExchange) -> None:
    sink = Sink()
    feed = make_feed(sandbox.url, sink, BTC)
    sent = 0

    async def tick_until(condition: asyncio.Task[None]) -> None:
        nonlocal sent
        while not condition.done():
            # pairs of equal ticks: a copy cannot be told from a second tick, only counted
            sandbox.control.push_tick("BTCUSDT", price=str(1 + sent // 2))
            sent += 1
            await asyncio.sleep(0)
        await condition

    control = sandbox.control
    async with running(feed):
        await control.wait_for_subscriptions(BTC)
        for _ in range(5):
            feed.subscribe(Topic.parse(ALL))
            await tick_until(asyncio.create_task(control.wait_for_subscriptions(ALL)))
            await tick_until(asyncio.create_task(control.wait_for_no_subscriptions(BTC)))
            feed.unsubscribe(Topic.parse(ALL))
            await tick_until(asyncio.create_task(control.wait_for_subscriptions(BTC)))
            await tick_until(asyncio.create_task(control.wait_for_no_subscriptions(ALL)))
        await sink.until(lambda: len(sink.events) >= sent)
        control.ping()
        await control.wait_for_pongs(1)
    assert sink.prices == [str(1 + number // 2) for number in range(sent)]
    assert feed.stats.folded_twins > 0


async def test_equal_ticks_on_one_subscription_are_two_ticks(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink, ALL)):
        await sandbox.control.wait_for_subscriptions(ALL)
        for _ in range(2):
            sandbox.control.push_tick("BTCUSDT", price="1", timestamp="2026-02-23T15:30:45.123Z")
        await sink.until(lambda: len(sink.events) == 2)


async def test_junk_is_counted_logged_once_a_kind_and_survived(
    sandbox: SandboxExchange, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Sink()
    feed = make_feed(sandbox.url, sink, BTC)
    async with running(feed):
        await sandbox.control.wait_for_subscriptions(BTC)
        for frame in (b"\xff\xfe", b"[1]", b"7", f"not json {DEMO_KEY}".encode(), b"null"):
            sandbox.control.push(frame)
        sandbox.control.push(b"\x00\x01", binary=True)
        sandbox.control.push({"channel": "ticker", "symbol": "../x", "data": {"price": "1"}})
        sandbox.control.push({"channel": "ticker", "symbol": "BTCUSDT", "data": {}})
        sandbox.control.push_tick("BTCUSDT", price="1")
        await sink.until(lambda: sink.events)
    assert sum(feed.stats.junk.values()) == len(sink.junk) == 8
    assert feed.stats.junk["not_json"] == 3
    assert sink.prices == ["1"]
    logged = [record.getMessage() for record in caplog.records if "junk" in record.getMessage()]
    assert len(logged) == len(feed.stats.junk)
    assert DEMO_KEY not in caplog.text


async def test_a_binary_frame_is_read_as_any_other(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink, BTC)):
        await sandbox.control.wait_for_subscriptions(BTC)
        frame = {"channel": "ticker", "symbol": "BTCUSDT", "data": {"price": "1"}}
        sandbox.control.push(json.dumps(frame).encode(), binary=True)
        await sink.until(lambda: sink.events)


async def test_a_frame_above_the_limit_ends_the_session_and_the_span_is_told(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_feed(sandbox.url, sink, BTC, time=time, max_frame_bytes=1000)):
        await sink.until_state(FeedState.LIVE)
        sandbox.control.push(b"x" * 1001)
        await sink.until_state(FeedState.BLIND)
        await time.until_asleep(1)
        time.advance(1)
        await sink.until_state(FeedState.LIVE, 2)


async def test_stop_ends_a_backoff_wait_at_once(sandbox: SandboxExchange) -> None:
    time = Timeline()
    sandbox.control.refuse_handshakes(503)
    feed = make_feed(sandbox.url, Sink(), BTC, time=time)
    async with running(feed) as task:
        await time.until_asleep(1)
        feed.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task


async def test_stop_ends_a_handshake_that_hangs(sandbox: SandboxExchange) -> None:
    sandbox.control.hold_handshakes()
    feed = make_feed(sandbox.url, Sink(), BTC)
    async with running(feed) as task:
        await asyncio.sleep(0)
        feed.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task
    sandbox.control.accept_handshakes()


async def test_stop_before_run() -> None:
    feed = make_feed("ws://127.0.0.1:1", Sink(), BTC)
    feed.stop()
    async with asyncio.timeout(PATIENCE_S):
        await feed.run()


async def test_stop_closes_cleanly(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink, BTC)):
        await sandbox.control.wait_for_connections(1)
    await sandbox.control.wait_for_connections(0)


@pytest.mark.parametrize("moment", ["handshake", "live", "backoff"])
async def test_cancelling_leaves_nothing_behind(sandbox: SandboxExchange, moment: str) -> None:
    sink, time = Sink(), Timeline()
    if moment == "handshake":
        sandbox.control.hold_handshakes()
    if moment == "backoff":
        sandbox.control.refuse_handshakes(503)
    before = asyncio.all_tasks()
    task = asyncio.create_task(make_feed(sandbox.url, sink, BTC, time=time).run())
    if moment == "live":
        await sink.until_state(FeedState.LIVE)
    elif moment == "backoff":
        await time.until_asleep(1)
    else:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await time.until_nobody_sleeps()
    sandbox.control.accept_handshakes()
    await sandbox.control.wait_for_connections(0)
    assert {other for other in asyncio.all_tasks() - before if "feed" in repr(other.get_coro())} == set()


async def test_no_logger_at_any_level_prints_the_key(
    sandbox: SandboxExchange, caplog: pytest.LogCaptureFixture
) -> None:
    key = "ak_live_very_secret"
    sandbox.control.accept_keys(key)
    time = Timeline()
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    levels = [(logger, logger.level) for logger in loggers if not logger.name.startswith("agentexchange.testing")]
    for logger, _ in levels:
        logger.setLevel(logging.DEBUG)
    try:
        with caplog.at_level(logging.DEBUG):
            sink = Sink()
            async with running(make_feed(sandbox.url, sink, BTC, "candles:BTCUSDT:4h", key=key, time=time)):
                await sandbox.control.wait_for_subscriptions(BTC)
                sandbox.control.push(f'{{"type":"error","code":"{key}","message":"your key {key}"}}')
                sandbox.control.drop(code=1012)
                await time.until_asleep(1)
            sandbox.control.refuse_keys()
            with pytest.raises(AuthenticationError):
                await make_feed(sandbox.url, Sink(), BTC, key=key).run()
    finally:
        for logger, level in levels:
            logger.setLevel(level)
    ours = [record for record in caplog.records if not record.name.startswith("agentexchange.testing")]
    assert any(record.name.startswith("agentexchange.upstream") for record in ours)
    assert not any(key in record.getMessage() + str(record.exc_info) for record in ours)


@pytest.mark.parametrize("cut", range(0, 36, 5))
async def test_a_sample_that_ends_within_the_key_shows_none_of_it(cut: int, caplog: pytest.LogCaptureFixture) -> None:
    key = "ak_live_" + "0123456789abcdef" * 2
    feed = make_feed("ws://127.0.0.1:1", Sink(), BTC, key=key)
    sample = b"junk, " + key.encode()[: len(key) - cut]
    feed.junk(FrameError("no frame", field="frame", kind="not_json", raw=sample))
    assert "junk, ***" in caplog.text
    assert "ak_l" not in caplog.text


async def test_a_renewed_session_delivers_nothing_that_it_has_read_already(sandbox: SandboxExchange) -> None:
    """A whole burst lies in the library's queue and in the socket; the session that follows comes without a delay."""
    sink, time = Sink(), Timeline()
    feed = make_feed(sandbox.url, sink, BTC, "orders", time=time)
    async with running(feed):
        await sandbox.control.wait_for_subscriptions(BTC, "orders")
        await sink.until_state(FeedState.LIVE)
        for number in range(2000):
            sandbox.control.push_order({"order_id": f"old {number}", "status": "pending"})
        await sink.until(lambda: sink.events)
        taken = len(sink.events)
        assert taken < 2000, "most are to be on their way"
        feed.renew("for a test")
        assert sink.states == ["connecting", "live", "blind"]
        assert not feed.has_settled(Topic.orders())
        await sink.until_state(FeedState.LIVE, 2)
        await sandbox.control.wait_for_subscriptions(BTC, "orders")
        sandbox.control.push_order({"order_id": "new", "status": "pending"})
        await sink.until(lambda: len(sink.events) > taken)
    assert [fields["order_id"] for _, fields in sink.events[taken:]] == ["new"]
    assert sink.statuses[2].message == "for a test"
    assert (feed.stats.sessions, feed.stats.reconnects) == (2, 1)


async def test_a_feed_without_a_session_has_none_to_renew(sandbox: SandboxExchange) -> None:
    sink = Sink()
    feed = make_feed(sandbox.url, sink, BTC)
    feed.renew("too early")
    async with running(feed):
        await sink.until_state(FeedState.LIVE)
    feed.renew("too late")
    assert sink.states[:2] == ["connecting", "live"]
    assert feed.stats.sessions == 1

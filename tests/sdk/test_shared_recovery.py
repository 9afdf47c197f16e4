"""What a shared client does about events that it missed: read again, or told exactly, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING

import pytest

from agentexchange._urls import redis_url
from agentexchange.redis import RespStream, StreamOptions
from agentexchange_schemas import Cause, FeedState, FeedStatus, Topic
from tests._patience import PATIENCE_S
from tests.sdk._shared_client import SharedClient, eventually, no_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter
    from tests.sdk._recorder import Recorder

pytestmark = pytest.mark.server
BTC, ETH, CANDLES = "ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"


def seqs(got: Recorder, topic: str) -> list[int | None]:
    return [event.seq for event in got.events if event.topic == topic]


def gaps(got: Recorder) -> list[tuple[str | None, str | None, int | None, int | None, int | None]]:
    told = [status for status in got.statuses if status.topic]
    return [(gap.topic, gap.cause, gap.first_missing, gap.last_missing, gap.count) for gap in told]


def has(topic: str, seq: int) -> Callable[[Recorder], bool]:
    return lambda got: any(event.topic == topic and event.seq == seq for event in got.events)


def cut(writer: LayoutWriter) -> None:
    """End every connection but the writer's own."""
    for client in writer.client.client_list():
        if client["name"] == "agentexchange-sdk":
            writer.client.client_kill_filter(_id=client["id"])


@pytest.mark.parametrize("topic", [BTC, CANDLES, "orders", "portfolio"])
async def test_a_hole_is_filled_in_order_before_anything_newer(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer, topic: str
) -> None:
    by = account if topic in ("orders", "portfolio") else writer
    client = SharedClient(redis_server.url, topic)
    async with client.running() as got:
        for seq in range(1, 41):
            by.event(topic, {"n": seq}, channel=seq % 10 in (1, 2, 9))
            if seq % 10 == 0:
                await asyncio.sleep(0)
        by.event(topic, {"n": 41})
        await got.until(has(topic, 41))
        assert seqs(got, topic) == list(range(1, 42))
        assert {event.source for event in got.events} == {"live", "recovered"}
        assert gaps(got) == []
        stats = client.transport.stats()
        assert stats["recovered"] + stats["events"] == 41
        assert stats["recoveries"] >= 1
        assert (stats["gaps"], stats["missing"]) == (0, 0)


@pytest.mark.parametrize("topic", [BTC, CANDLES, "orders"])
async def test_the_last_events_of_a_topic_that_falls_silent_are_found_by_heartbeats(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer, topic: str
) -> None:
    by = account if topic == "orders" else writer
    async with SharedClient(redis_server.url, topic, check_every_s=0.05).running() as got:
        by.event(topic, {"n": 1})
        by.event(topic, {"n": 2}, channel=False)
        by.event(topic, {"n": 3}, channel=False)
        by.heartbeat()
        await got.until(has(topic, 3))
        assert seqs(got, topic) == [1, 2, 3]
        assert gaps(got) == []


async def test_a_topic_that_missed_nothing_is_not_asked_for_while_others_flow(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    """One round trip tells that the quiet one is whole; then it is asked for again only when the log has gone on."""
    looks: list[float] = []

    async def sleep(delay_s: float) -> None:
        looks.append(delay_s)
        await asyncio.sleep(delay_s)

    client = SharedClient(redis_server.url, BTC, ETH, check_every_s=0.0, watch_every_s=0.021, sleep=sleep)
    async with client.running() as got:
        writer.ticker("ETHUSDT", "1")
        writer.ticker("BTCUSDT", "1")
        writer.heartbeat()
        await got.until(lambda got: len(got.events) == 2)
        quiet = next(flow for flow in client.transport._inbox.flows("m0") if flow.topic == ETH)
        async with asyncio.timeout(PATIENCE_S):
            while quiet.place_us < writer.received_us - 1:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0.005)
        before, seen = _calls(writer, "hmget"), looks.count(0.021)
        await eventually(lambda: looks.count(0.021) >= seen + 4)
        assert _calls(writer, "hmget") == before
        assert client.transport.stats()["recoveries"] == 0


def _calls(writer: LayoutWriter, command: str) -> int:
    stats = writer.client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


@pytest.mark.parametrize("topic", [BTC, CANDLES, "orders", "portfolio"])
async def test_what_was_written_while_redis_was_away_is_read_at_the_return(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer, topic: str
) -> None:
    by = account if topic in ("orders", "portfolio") else writer
    client = SharedClient(redis_server.url, topic, sleep=no_wait)
    async with client.running() as got:
        by.event(topic, {"n": 1})
        await got.until(has(topic, 1))
        cut(writer)
        for seq in (2, 3, 4):
            by.event(topic, {"n": seq}, channel=False)
        await got.until(has(topic, 4))
        by.event(topic, {"n": 5})
        await got.until(has(topic, 5))
        assert seqs(got, topic) == [1, 2, 3, 4, 5]
        assert gaps(got) == []
        assert client.transport.stats()["reconnects"] == 1


async def test_an_order_between_subscribing_and_the_first_event_is_not_lost(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    """It begins at "now", which is a place in the log, and not at the first event that happens to come."""
    account.install()
    account.event("orders", {"n": 1})
    client = SharedClient(redis_server.url, "orders", sleep=no_wait)
    async with client.running() as got:
        cut(account)
        account.event("orders", {"n": 2}, channel=False)
        await got.until(has("orders", 2))
        assert seqs(got, "orders") == [2]


async def test_notices_that_were_missed_are_told(writer: LayoutWriter, redis_server: RedisServer) -> None:
    notice = FeedStatus(
        scope="m0",
        state=FeedState.LIVE,
        since="2026-11-22T10:00:00Z",
        until="2026-11-22T10:00:05Z",
        cause=Cause.RECONNECTED,
    )
    writer.notice(notice.model_copy(update={"message": "before the client"}).to_fields())
    async with SharedClient(redis_server.url, BTC, sleep=no_wait).running() as got:
        cut(writer)
        writer.notice(notice.to_fields())
        await got.until(lambda got: notice in got.statuses)
        assert all(status.message != "before the client" for status in got.statuses)


@pytest.mark.parametrize("kept", [0, 3])
async def test_what_the_log_no_longer_holds_is_told_exactly(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer, kept: int
) -> None:
    async with SharedClient(redis_server.url, BTC, "orders", CANDLES, sleep=no_wait).running() as got:
        for by, topic in ((writer, BTC), (writer, CANDLES), (account, "orders")):
            by.event(topic, {"n": 1})
        await got.until(lambda got: len(got.events) == 3)
        cut(writer)
        for by, topic in ((writer, BTC), (writer, CANDLES), (account, "orders")):
            for seq in range(2, 11):
                by.event(topic, {"n": seq}, channel=False)
        for log in ("ax:{m0}:log", "ax:{m0}:log:candles", account.layout.log(account.scope)):
            writer.client.xtrim(log, maxlen=kept, approximate=False)
        await got.until(lambda got: len(gaps(got)) == 3)
        for by, topic in ((writer, BTC), (writer, CANDLES), (account, "orders")):
            by.event(topic, {"n": 11})
        await got.until(lambda got: all(has(topic, 11)(got) for topic in (BTC, CANDLES, "orders")))
        for topic in (BTC, CANDLES):  # their newest value is kept beside the log
            last = 10 - max(kept, 1)
            assert (topic, Cause.TRIMMED, 2, last, last - 1) in gaps(got)
            assert seqs(got, topic) == [1, *range(last + 1, 12)]
        assert ("orders", Cause.TRIMMED, 2, 10 - kept, 9 - kept) in gaps(got)
        assert seqs(got, "orders") == [1, *range(11 - kept, 12)]


async def test_ticks_beyond_the_limit_are_one_gap_and_the_newest_value(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = SharedClient(redis_server.url, BTC, CANDLES, recover_limit=100, recover_count=10, sleep=no_wait)
    async with client.running() as got:
        writer.event(BTC, {"n": 1})
        writer.event(CANDLES, {"n": 1})
        await got.until(lambda got: len(got.events) == 2)
        cut(writer)
        writer.bulk([BTC, ETH], 1000)
        writer.bulk([CANDLES], 300)
        await got.until(lambda got: has(BTC, 501)(got) and has(CANDLES, 301)(got))
        writer.event(BTC, {"n": 502})
        await got.until(has(BTC, 502))
        assert seqs(got, BTC) == [*range(1, 52), 501, 502]
        assert gaps(got) == [(BTC, Cause.BEYOND_LIMIT, 52, 500, 449)]
        assert seqs(got, CANDLES) == list(range(1, 302)), "closed candles are always recovered whole"


async def test_handlers_that_want_only_the_newest_skip_recovery(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = SharedClient(redis_server.url, BTC, sleep=no_wait)
    client.got.newest_only = {BTC}
    async with client.running() as got:
        writer.event(BTC, {"n": 1})
        await got.until(has(BTC, 1))
        for seq in (2, 3, 4):
            writer.event(BTC, {"n": seq}, channel=seq == 4)
        await got.until(has(BTC, 4))
        cut(writer)
        for seq in (5, 6, 7):
            writer.event(BTC, {"n": seq}, channel=False)
        await got.until(has(BTC, 7))
        assert seqs(got, BTC) == [1, 4, 7]
        assert gaps(got) == [(BTC, Cause.DROPPED, 2, 3, 2), (BTC, Cause.REDIS_LOST, 5, 6, 2)]
        assert client.transport.stats()["recoveries"] == 0


async def test_a_wildcard_handler_that_wants_only_the_newest_skips_the_log(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = SharedClient(redis_server.url, "ticker:all", sleep=no_wait)
    client.got.newest_only = {BTC, ETH}
    async with client.running() as got:
        writer.bulk([BTC, ETH], 4)
        await got.until(lambda got: len(got.events) == 4)
        cut(writer)
        writer.bulk([BTC, ETH], 100)
        await got.until(lambda got: len(got.events) == 6)
        writer.bulk([BTC, ETH], 2)
        await got.until(lambda got: len(got.events) == 8)
        assert seqs(got, BTC) == seqs(got, ETH) == [1, 2, 52, 53]
        assert sorted(gaps(got)) == [(BTC, Cause.REDIS_LOST, 3, 51, 49), (ETH, Cause.REDIS_LOST, 3, 51, 49)]


async def test_live_events_during_a_recovery_come_after_it_and_once(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = SharedClient(redis_server.url, BTC, recover_count=7, sleep=no_wait)
    async with client.running() as got:
        writer.event(BTC, {"n": 1})
        await got.until(has(BTC, 1))
        cut(writer)
        writer.bulk([BTC, ETH], 4000)
        await asyncio.to_thread(writer.bulk, [BTC, ETH], 4000, channel=True)
        await got.until(has(BTC, 4001))
        assert seqs(got, BTC) == list(range(1, 4002))
        assert gaps(got) == []


async def test_a_blocked_topic_stops_and_goes_on_from_the_log(account: LayoutWriter, redis_server: RedisServer) -> None:
    """Its handlers are full: nothing of it is kept in memory meanwhile, and nothing is lost."""
    account.install()
    client = SharedClient(redis_server.url, "orders", "portfolio", recover_count=10)
    async with client.running() as got:
        account.event("orders", {"n": 1})
        await got.until(has("orders", 1))
        got.blocked.add("orders")
        account.event("orders", {"n": 2})  # the overshoot: one batch
        await got.until(has("orders", 2))
        account.bulk(["orders"], 1000, channel=True)
        account.event("portfolio", {"n": 1})
        await got.until(has("portfolio", 1))
        assert seqs(got, "orders") == [1, 2]
        assert client.transport.stats()["held"] == 0
        got.blocked.clear()
        got.on_room("orders")
        await got.until(has("orders", 300))
        got.blocked.add("orders")  # full again, in the middle of reading
        stopped_at = len(seqs(got, "orders"))
        for number in range(2, 30):
            account.event("portfolio", {"n": number})
            await got.until(has("portfolio", number))
        assert stopped_at <= len(seqs(got, "orders")) <= stopped_at + 1 < 1000
        got.blocked.clear()
        got.on_room("orders")
        await got.until(has("orders", 1002))
        account.event("orders", {"n": 1003})
        await got.until(has("orders", 1003))
        assert seqs(got, "orders") == list(range(1, 1004))
        assert gaps(got) == []


@pytest.mark.parametrize("topics", [(BTC, "orders"), ("ticker:all", "orders")], ids=["channel", "log"])
async def test_takeovers_while_redis_was_away_are_read_across(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer, topics: tuple[str, ...]
) -> None:
    async with SharedClient(redis_server.url, *topics, recover_count=20, sleep=no_wait).running() as got:
        writer.event(BTC, {"n": 1})
        account.event("orders", {"n": 1})
        await got.until(lambda got: len(got.events) == 2)
        cut(writer)
        for epoch in (4, 5, 9):
            for by, topic in ((writer, BTC), (account, "orders")):
                by.epoch = epoch
                by.bulk([topic], 50)
                by.heartbeat()
        await got.until(lambda got: has(BTC, 151)(got) and has("orders", 151)(got))
        for by, topic in ((writer, BTC), (account, "orders")):
            by.event(topic, {"n": 152})
            await got.until(has(topic, 152))
        assert seqs(got, BTC) == seqs(got, "orders") == list(range(1, 153))
        assert gaps(got) == []


async def test_a_log_that_was_rolled_back_is_told_and_read_on(writer: LayoutWriter, redis_server: RedisServer) -> None:
    """Redis came back without its last moments, the lease still held: same log, same epoch, seqs used again."""
    async with SharedClient(redis_server.url, BTC, sleep=no_wait).running() as got:
        for seq in range(1, 11):
            writer.event(BTC, {"n": seq})
        await got.until(has(BTC, 10))
        cut(writer)
        writer.client.xtrim("ax:{m0}:log", maxlen=10, approximate=False)
        for entry_id, _ in writer.client.xrevrange("ax:{m0}:log", count=3):
            writer.client.xdel("ax:{m0}:log", entry_id)
        writer.seqs[BTC] = 7
        for price in ("8", "9", "10"):  # as many as were lost: the numbers alone would say that nothing happened
            writer.event(BTC, {"anew": price}, channel=False)
        await got.until(lambda got: len(got.events) == 13)
        writer.event(BTC, {"n": 11})
        await got.until(has(BTC, 11))
        assert seqs(got, BTC) == [*range(1, 11), 8, 9, 10, 11]
        assert gaps(got) == [(BTC, Cause.LOG_REPLACED, None, None, None)]


async def test_a_wiped_redis_is_told_once_and_its_new_log_read_whole(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer
) -> None:
    async with SharedClient(redis_server.url, BTC, ETH, "orders", sleep=no_wait).running() as got:
        for seq in range(1, 11):
            writer.event(BTC, {"n": seq})
            account.event("orders", {"n": seq})
        writer.event(ETH, {"n": 1})
        await got.until(lambda got: len(got.events) == 21)
        writer.client.flushall()
        for by in (writer, account):
            by.epoch, by.seqs, by.log_name = 9, {}, "log-2"
            by.lease()
        for seq in range(1, 31):
            writer.event(BTC, {"n": seq}, channel=seq > 20)
            account.event("orders", {"n": seq}, channel=seq > 20)
        await got.until(lambda got: len(got.events) == 81)
        assert seqs(got, BTC) == [*range(1, 11), *range(1, 31)]
        assert seqs(got, "orders") == [*range(1, 11), *range(1, 31)]
        assert sorted(gaps(got)) == [
            ("orders", Cause.LOG_REPLACED, None, None, None),
            (BTC, Cause.LOG_REPLACED, None, None, None),
        ]


async def test_the_wildcard_tells_what_was_trimmed_under_its_cursor(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    async with SharedClient(redis_server.url, "ticker:all", sleep=no_wait).running() as got:
        writer.bulk([BTC, ETH], 20)
        await got.until(lambda got: len(got.events) == 20)
        cut(writer)
        writer.bulk([BTC, ETH], 100)
        writer.client.xtrim("ax:{m0}:log", maxlen=30, approximate=False)
        await got.until(lambda got: len(got.events) == 50)
        assert sorted(gaps(got)) == [(BTC, Cause.TRIMMED, 11, 45, 35), (ETH, Cause.TRIMMED, 11, 45, 35)]
        assert {event.source for event in got.events[20:]} == {"recovered"}
        writer.event(BTC, {"n": 61})
        await got.until(has(BTC, 61))
        assert got.events[-1].source == "live"


async def test_a_topic_that_changes_its_way_while_redis_is_away_loses_nothing(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    """From channels to the log, and back to channels, each at a reconnect."""
    client = SharedClient(redis_server.url, BTC, ETH, many_tickers=3, sleep=no_wait)
    third = Topic.ticker("SOLUSDT")
    async with client.running() as got:
        writer.bulk([BTC, ETH], 2, channel=True)
        await got.until(lambda got: len(got.events) == 2)
        for change, channels in ((client.transport.subscribe, 1), (client.transport.unsubscribe, 3)):
            client.transport._wanted = client.transport._wanted.copy()  # so that only the next session sees it
            cut(writer)
            change(third)
            seq = writer.seqs[BTC]
            writer.bulk([BTC, ETH], 20)
            await got.until(lambda got, seq=seq: has(BTC, seq + 10)(got) and has(ETH, seq + 10)(got))
            assert len(writer.client.pubsub_channels()) == channels
            writer.bulk([BTC, ETH], 2, channel=True)
            await got.until(lambda got, seq=seq: has(BTC, seq + 11)(got) and has(ETH, seq + 11)(got))
        assert seqs(got, BTC) == seqs(got, ETH) == list(range(1, 24))
        assert gaps(got) == []


async def test_many_clients_wait_before_they_read_ticks_again_but_not_for_orders(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer
) -> None:
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        await asyncio.sleep(0)

    client = SharedClient(redis_server.url, BTC, "orders", sleep=sleep, random=lambda: 0.5, watch_every_s=99.0)
    async with client.running() as got:
        writer.event(BTC, {"n": 1})
        account.event("orders", {"n": 1})
        await got.until(lambda got: len(got.events) == 2)
        writer.received_us += 4_000_000
        writer.event(BTC, {"n": 2}, channel=False)
        account.event("orders", {"n": 2}, channel=False)
        cut(writer)
        await got.until(lambda got: len(got.events) == 4)
        assert [event.topic for event in got.events[2:]] == ["orders", BTC]
        assert [delay for delay in slept if 0 < delay < 0.5] == [pytest.approx(0.2, abs=0.01)], "half of 4 s / 10"


async def test_a_hundred_thousand_entries_cost_little_more_than_reading_them(
    writer: LayoutWriter, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of another topic is decoded; and the CPU time is held to that of the bare pages on the same machine."""
    decoded: list[bytes] = []
    monkeypatch.setattr("agentexchange._shared.pick.decode", decoded.append)
    foreign = [f"ticker:S{number}USDT" for number in range(49)]
    calm = {"stream": StreamOptions(reply_timeout_s=60.0), "watch_every_s": 5.0}  # nothing else costs time meanwhile
    await asyncio.to_thread(writer.bulk, [BTC], 1)
    client = SharedClient(redis_server.url, BTC, recover_limit=200_000, sleep=no_wait, **calm)
    async with client.running() as got:
        await got.until(has(BTC, 1))
        await asyncio.to_thread(writer.bulk, [BTC, *foreign], 100_000)
        with _no_collection():
            started = time.process_time()
            writer.event(BTC, {"n": 2002})
            await got.until(has(BTC, 2002))
            spent = time.process_time() - started
        assert seqs(got, BTC) == list(range(1, 2003))
    assert decoded == []
    with _no_collection():
        bare = await _bare_reading_s(redis_server.url, "ax:{m0}:log")
    assert spent < 6 * bare, f"{spent:.3f} s, and {bare:.3f} s for the pages alone"


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage of all the tests before is not what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _bare_reading_s(url: str, log: str) -> float:
    """The CPU time that the log's pages take without anybody looking at them."""
    stream = await RespStream.connect(redis_url(url))
    started, after = time.process_time(), b"0-0"
    while page := await stream.command("XRANGE", log, b"(" + after, "+", "COUNT", 500):
        after = page[-1][0]
    stream.close()
    return time.process_time() - started

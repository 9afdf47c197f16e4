"""The shared transport against a real server: what is delivered, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from agentexchange_schemas import Cause, FeedState, Layout, Topic, account_scope
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._shared_client import KEY, SharedClient, eventually, no_wait

if TYPE_CHECKING:
    from tests._servers import RedisServer

pytestmark = pytest.mark.server


async def test_events_come_in_order_once_with_their_place(writer: LayoutWriter, redis_server: RedisServer) -> None:
    async with SharedClient(redis_server.url, "ticker:BTCUSDT", "ticker:ETHUSDT").running() as got:
        for price in range(100):
            writer.ticker("BTCUSDT", str(price))
            writer.ticker("ETHUSDT", str(-price))
            writer.ticker("XRPUSDT", "9")
        await got.until(lambda got: len(got.events) >= 200)
        btc = [event for event in got.events if event.topic == "ticker:BTCUSDT"]
        assert [event.fields["price"] for event in btc] == [str(price) for price in range(100)]
        assert [event.seq for event in btc] == list(range(1, 101))
        assert {event.source for event in got.events} == {"live"}
        assert {event.scope for event in got.events} == {"m0"}
        assert len(got.events) == 200
        assert got.states == [FeedState.LIVE]


async def test_latest_value_first_then_live_without_a_double(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.ticker("BTCUSDT", "2")
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        await got.until(lambda got: len(got.events) == 1)
        writer.ticker("BTCUSDT", "3")
        await got.until(lambda got: len(got.events) == 2)
        assert [(event.fields["price"], event.source) for event in got.events] == [("2", "latest"), ("3", "live")]
        assert got.states == [FeedState.LIVE]


async def test_the_latest_value_waits_until_the_scope_is_live(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.state(FeedState.BLIND)
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        assert got.states == [FeedState.BLIND]
        writer.heartbeat(FeedState.BLIND)
        assert got.events == []
        writer.heartbeat(FeedState.LIVE)
        await got.until(lambda got: len(got.events) == 1)
        assert got.events[0].source == "latest"
        assert got.states == [FeedState.BLIND, FeedState.LIVE]


async def test_orders_and_candles_get_no_latest_value_but_portfolio_does(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer
) -> None:
    account.event("orders", {"order_id": "o1", "status": "pending"})
    account.event("portfolio", {"total_equity": "10"})
    writer.event("candles:BTCUSDT:1m", {"symbol": "BTCUSDT", "close": "1"})
    async with SharedClient(redis_server.url, "orders", "portfolio", "candles:BTCUSDT:1m").running() as got:
        await got.until(lambda got: bool(got.events))
        account.event("orders", {"order_id": "o1", "status": "filled"})
        writer.forming("candles:BTCUSDT:1m", {"symbol": "BTCUSDT", "close": "2", "is_closed": False})
        writer.event("candles:BTCUSDT:1m", {"symbol": "BTCUSDT", "close": "3"})
        await got.until(lambda got: len(got.events) == 4)
        seen = [(event.topic, event.seq, event.source) for event in got.events]
        assert seen[0] == ("portfolio", 1, "latest")
        assert sorted(seen[1:], key=str) == [
            ("candles:BTCUSDT:1m", 2, "live"),
            ("candles:BTCUSDT:1m", None, "live"),
            ("orders", 2, "live"),
        ]
        assert got.events[-1].scope in ("m0", account_scope(KEY))


async def test_the_wildcard_reads_the_log_latest_values_first(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.ticker("ETHUSDT", "2")
    async with SharedClient(redis_server.url, "ticker:all", "ticker:BTCUSDT").running() as got:
        await got.until(lambda got: len(got.events) == 2)
        assert {(event.topic, event.source) for event in got.events} == {
            ("ticker:BTCUSDT", "latest"),
            ("ticker:ETHUSDT", "latest"),
        }
        for price in range(50):
            writer.event("ticker:BTCUSDT", {"symbol": "BTCUSDT", "price": str(price)}, channel=False)
        writer.ticker("NEWUSDT", "5")
        await got.until(lambda got: len(got.events) == 53)
        btc = [event.seq for event in got.events if event.topic == "ticker:BTCUSDT"]
        assert btc == list(range(1, 52))
        channels = writer.client.pubsub_channels()
        assert channels == [b"ax:{m0}:status"], "a client takes no topic both ways"
        assert len(writer.client.client_list()) == 4, "three connections, and the writer's"


async def test_a_client_without_the_wildcard_has_two_connections(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    topics = [f"ticker:S{number}" for number in range(499)]
    async with SharedClient(redis_server.url, *topics).running():
        assert len(writer.client.client_list()) == 3
        assert len(writer.client.pubsub_channels()) == 500


async def test_very_many_single_tickers_are_read_from_the_log(writer: LayoutWriter, redis_server: RedisServer) -> None:
    topics = [f"ticker:S{number}" for number in range(5)]
    writer.ticker("S3", "0")
    client = SharedClient(redis_server.url, *topics, many_tickers=5)
    async with client.running() as got:
        await got.until(lambda got: got.prices == ["0"])
        assert writer.client.pubsub_channels() == [b"ax:{m0}:status"], "a client takes no topic both ways"
        for price in ("1", "2"):
            for symbol in ("FOREIGN", "S1", "S3"):
                writer.event(f"ticker:{symbol}", {"symbol": symbol, "price": price}, channel=False)
        await got.until(lambda got: len(got.events) == 5)
        client.transport.subscribe(Topic.ticker("FOREIGN"))
        await got.until(lambda got: len(got.events) == 6)
        client.transport.unsubscribe(Topic.ticker("S1"))
        await eventually(lambda: "ticker:S1" not in {flow.topic for flow in client.transport._inbox.flows()})
        writer.ticker("S1", "3")
        writer.ticker("FOREIGN", "3")
        await got.until(lambda got: len(got.events) == 7)
        assert [(event.topic[7:], event.fields["price"], event.source) for event in got.events] == [
            ("S3", "0", "latest"),
            *(("S1", "1", "live"), ("S3", "1", "live"), ("S1", "2", "live"), ("S3", "2", "live")),
            ("FOREIGN", "2", "latest"),
            ("FOREIGN", "3", "live"),
        ]


async def test_a_hole_that_the_log_cannot_fill_is_told_with_its_span(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.ticker("BTCUSDT", "1")
        for price in ("2", "3"):
            writer.event("ticker:BTCUSDT", {"symbol": "BTCUSDT", "price": price}, channel=False)
        writer.client.delete("ax:{m0}:log")
        writer.ticker("BTCUSDT", "4")
        await got.until(lambda got: len(got.events) == 2)
        gap = got.statuses[-1]
        assert (gap.topic, gap.first_missing, gap.last_missing, gap.count) == ("ticker:BTCUSDT", 2, 3, 2)
        assert (gap.scope, gap.cause) == ("m0", Cause.TRIMMED)
        assert gap.until is not None
        assert gap.since < gap.until
        assert got.prices == ["1", "4"]


async def test_a_seq_seen_is_dropped_and_a_higher_epoch_goes_on(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.ticker("BTCUSDT", "1")
        writer.ticker("BTCUSDT", "2")
        again = writer.envelope("ticker:BTCUSDT", {"symbol": "BTCUSDT", "price": "again"}, seq=2)
        writer.ticker("BTCUSDT", "2a")
        writer.client.publish("ax:{m0}:ticker:BTCUSDT", again)
        writer.epoch = 2
        writer.ticker("BTCUSDT", "3")
        writer.epoch = 1
        writer.ticker("BTCUSDT", "of a fenced writer")
        writer.epoch = 2
        writer.seqs["ticker:BTCUSDT"] = 4
        writer.ticker("BTCUSDT", "4")
        await got.until(lambda got: "4" in got.prices)
        assert got.prices == ["1", "2", "2a", "3", "4"]
        assert got.states == [FeedState.LIVE]


async def test_a_log_that_counts_anew_under_a_higher_epoch_is_told(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.ticker("BTCUSDT", "1")
        writer.ticker("BTCUSDT", "2")
        writer.epoch, writer.seqs = 9, {}
        writer.ticker("BTCUSDT", "3")
        await got.until(lambda got: len(got.events) == 3)
        assert got.statuses[-1].cause == Cause.LOG_REPLACED


async def test_after_a_reconnect_the_log_is_read_on_from_the_last_entry(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = SharedClient(redis_server.url, "ticker:all", sleep=no_wait)
    async with client.running() as got:
        writer.ticker("BTCUSDT", "0")
        await got.until(lambda got: bool(got.events))
        writer.client.client_kill_filter(_type="pubsub")
        for price in range(1, 1001):
            writer.ticker("BTCUSDT", str(price))
        await got.until(lambda got: len(got.events) >= 1001)
        assert got.prices == [str(price) for price in range(1001)]
        assert [status.count for status in got.statuses if status.count] == []


@pytest.mark.parametrize("topics", [("ticker:BTCUSDT",), ("ticker:all",)], ids=["channel", "log"])
async def test_another_log_is_told_whatever_it_counts(
    writer: LayoutWriter, redis_server: RedisServer, topics: tuple[str, ...]
) -> None:
    """Redis comes back wiped, and the new log has already counted past what the client has seen."""
    client = SharedClient(redis_server.url, *topics, "orders", sleep=no_wait)
    async with client.running() as got:
        writer.ticker("BTCUSDT", "old")
        await got.until(lambda got: got.prices == ["old"])
        redis_server.kill()
        await got.until(lambda got: got.states[-1] is FeedState.BLIND)
        redis_server.start()
        writer.epoch, writer.seqs, writer.log_name = 9, {}, "log-2"
        for price in ("new 1", "new 2", "new 3"):
            writer.ticker("BTCUSDT", price)
        writer.install()
        writer.lease()
        await got.until(lambda got: got.prices[-1:] == ["new 3"])
        writer.ticker("BTCUSDT", "new 4")
        await got.until(lambda got: got.prices[-1:] == ["new 4"])
        (gap,) = [status for status in got.statuses if status.topic]
        assert (gap.cause, gap.count) == (Cause.LOG_REPLACED, None)
        if topics == ("ticker:all",):
            assert got.prices == ["old", "new 1", "new 2", "new 3", "new 4"]


@pytest.mark.parametrize("topics", [("ticker:BTCUSDT", "portfolio"), ("ticker:all",)], ids=["channel", "log"])
async def test_a_flushed_redis_is_told_while_connected(
    writer: LayoutWriter, redis_server: RedisServer, topics: tuple[str, ...]
) -> None:
    """The seq alone would say that two events are missing; the log's name says that it is another log."""
    async with SharedClient(redis_server.url, *topics).running() as got:
        writer.ticker("BTCUSDT", "old")
        await got.until(lambda got: got.prices == ["old"])
        writer.client.flushall()
        writer.epoch, writer.seqs, writer.log_name = 9, {"ticker:BTCUSDT": 3}, "log-2"
        writer.lease()
        writer.ticker("BTCUSDT", "new 1")
        writer.ticker("BTCUSDT", "new 2")
        await got.until(lambda got: got.prices == ["old", "new 1", "new 2"])
        (gap,) = [status for status in got.statuses if status.topic]
        assert (gap.cause, gap.count) == (Cause.LOG_REPLACED, None)


async def test_orders_that_are_written_again_are_handed_out_once(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer
) -> None:
    """A restarted server has forgotten them: the bridge writes them again, under another seq, with their own times."""
    account.event("orders", {"order_id": "before the client", "status": "pending"})
    async with SharedClient(redis_server.url, "orders").running() as got:
        for name in ("1", "2", "3"):
            account.event("orders", {"order_id": name, "status": "pending"})
        await got.until(lambda got: len(got.events) == 3)
        account.client.flushall()
        account.received_us -= 4
        account.epoch, account.seqs, account.log_name = 9, {}, "log-2"
        account.lease()
        for name in ("before the client", "1", "2", "3", "4"):
            account.event("orders", {"order_id": name, "status": "pending"})
        await got.until(lambda got: len(got.events) == 4)
        assert [event.fields["order_id"] for event in got.events] == ["1", "2", "3", "4"]
        assert [status.cause for status in got.statuses if status.topic] == [Cause.LOG_REPLACED]


async def test_a_takeover_of_the_same_log_is_no_gap(writer: LayoutWriter, redis_server: RedisServer) -> None:
    async with SharedClient(redis_server.url, "ticker:BTCUSDT", "candles:BTCUSDT:1m").running() as got:
        for epoch in (1, 2, 5, 9):
            writer.epoch = epoch
            writer.heartbeat()
            for _ in range(20):
                writer.ticker("BTCUSDT", "1")
                writer.event("candles:BTCUSDT:1m", {"close": "1"})
        await got.until(lambda got: len(got.events) == 160)
        assert [event.seq for event in got.events if event.topic == "ticker:BTCUSDT"] == list(range(1, 81))
        assert got.states == [FeedState.LIVE]


async def test_topics_come_and_go_at_run_time(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT")
    async with client.running() as got:
        writer.ticker("ETHUSDT", "1")
        client.transport.subscribe(Topic.ticker("ETHUSDT"))
        client.transport.subscribe(Topic.ticker("ETHUSDT"))
        await got.until(lambda got: bool(got.events))
        client.transport.unsubscribe(Topic.ticker("ETHUSDT"))
        await eventually(lambda: len(writer.client.pubsub_channels()) == 2)
        writer.ticker("ETHUSDT", "2")
        writer.ticker("ETHUSDT", "3")
        client.transport.subscribe(Topic.ticker("ETHUSDT"))
        await got.until(lambda got: len(got.events) == 2)
        assert [(event.fields["price"], event.source) for event in got.events] == [("1", "latest"), ("3", "latest")]
        assert got.states == [FeedState.LIVE], "what nobody wanted is no gap"


async def test_the_wildcard_at_run_time_takes_over_without_a_hole(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT")
    async with client.running() as got:
        for price in range(300):
            writer.ticker("BTCUSDT", str(price))
            if price == 100:
                client.transport.subscribe(Topic.ticker("all"))
            if price == 200:
                client.transport.unsubscribe(Topic.ticker("all"))
            await asyncio.sleep(0)
        await got.until(lambda got: got.prices[-1:] == ["299"])
        assert got.prices == [str(price) for price in range(300)]
        assert got.states == [FeedState.LIVE]


async def test_the_wildcard_alone_comes_and_goes(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:all")
    async with client.running() as got:
        writer.ticker("BTCUSDT", "1")
        await got.until(lambda got: got.prices == ["1"])
        client.transport.unsubscribe(Topic.ticker("all"))
        await eventually(lambda: len(writer.client.client_list()) == 3)
        writer.ticker("BTCUSDT", "2")
        client.transport.subscribe(Topic.ticker("all"))
        await got.until(lambda got: "2" in got.prices)
        writer.ticker("BTCUSDT", "3")
        await got.until(lambda got: "3" in got.prices)
        assert got.prices == ["1", "2", "3"]


async def test_junk_is_counted_and_ends_nothing(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT", "ticker:all")
    single = SharedClient(redis_server.url, "ticker:BTCUSDT")
    async with client.running() as got, single.running() as got_single:
        for raw in (b"", b"\xc1", b"\x93", writer.envelope("ticker:ETHUSDT", {}, seq=1), b"\x00" * 300_000):
            writer.client.publish("ax:{m0}:ticker:BTCUSDT", raw)
            writer.client.publish("ax:{m0}:status", raw)
        writer.client.xadd("ax:{m0}:log", {"x": "y"}, id="1-1")
        writer.heartbeat(FeedState.LIVE)
        writer.client.publish("ax:{m0}:status", writer.envelope("status", {"kind": "heartbeat"}, seq=None))
        writer.ticker("BTCUSDT", "1")
        await got.until(lambda got: got.prices == ["1"])
        await got_single.until(lambda got: got.prices == ["1"])
        assert single.transport.stats()["junk"] == 11
        assert got.states == [FeedState.LIVE]


async def test_partitions_are_read_from_the_layout(redis_server: RedisServer) -> None:
    layout = Layout(partitions=4)
    writers = [LayoutWriter(redis_server.url, scope, layout=layout) for scope in layout.market_scopes]
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.enter_context(contextlib.closing(writer))
            writer.install()
            writer.lease()
        symbols = [f"S{number}USDT" for number in range(20)]
        every, some = (
            SharedClient(redis_server.url, "ticker:all"),
            SharedClient(redis_server.url, *(f"ticker:{s}" for s in symbols)),
        )
        async with every.running() as got_all, some.running() as got_some:
            by_scope = {writer.scope: writer for writer in writers}
            for symbol in symbols:
                by_scope[layout.market_scope(symbol)].ticker(symbol, "1")
            for got in (got_all, got_some):
                await got.until(lambda got: len(got.events) == 20)
                assert {event.topic for event in got.events} == {f"ticker:{symbol}" for symbol in symbols}

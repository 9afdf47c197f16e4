"""The shared transport against a real server: what is delivered, in which order, and what is told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from agentexchange import _shared
from agentexchange._shared_options import SharedOptions
from agentexchange._urls import redis_url
from agentexchange.errors import AuthenticationError
from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange.latest import LatestReader
from agentexchange_schemas import Cause, FeedState, FeedStatus, Layout, Topic, account_scope
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server
KEY = "ak_live_shared_test"
CREW_READS = ("+ping", "+hgetall", "+hkeys", "+exists", "+mget", "+xrevrange", "+xread", "+time", "+smembers")
CREW_COMMANDS = (*CREW_READS, "+subscribe", "+unsubscribe")


@pytest.fixture
def writer(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    with contextlib.closing(LayoutWriter(redis_server.url)) as writer:
        writer.install()
        writer.lease()
        yield writer


@pytest.fixture
def account(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    with contextlib.closing(LayoutWriter(redis_server.url, account_scope(KEY))) as writer:
        writer.lease()
        yield writer


class Client:
    def __init__(self, url: str, *topics: str, **options: Any) -> None:
        self.got = Recorder()
        quick = {"watch_every_s": 0.02, "log_gather_s": 0.0} | options
        self.transport = _shared.SharedTransport(
            redis_url(url),
            SecretStr(KEY),
            dispatcher=self.got,  # type: ignore[arg-type]
            topics=[Topic.parse(topic) for topic in topics],
            options=SharedOptions(**quick),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Recorder]:
        """Run it beside the body, from its first status on."""
        task = asyncio.create_task(self.transport.run())
        try:
            await self.got.until(lambda got: bool(got.statuses) or task.done())
            yield self.got
        finally:
            self.transport.stop()
            async with asyncio.timeout(5):
                await task


async def _eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that only the server can tell."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - no event of ours tells it
            await asyncio.sleep(0.002)


async def _no_wait(delay_s: float) -> None:
    await asyncio.sleep(min(delay_s, 0.02))


async def test_events_come_in_order_once_with_their_place(writer: LayoutWriter, redis_server: RedisServer) -> None:
    async with Client(redis_server.url, "ticker:BTCUSDT", "ticker:ETHUSDT").running() as got:
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
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
        await got.until(lambda got: len(got.events) == 1)
        writer.ticker("BTCUSDT", "3")
        await got.until(lambda got: len(got.events) == 2)
        assert [(event.fields["price"], event.source) for event in got.events] == [("2", "latest"), ("3", "live")]
        assert got.states == [FeedState.LIVE]


async def test_the_latest_value_waits_until_the_scope_is_live(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.state(FeedState.BLIND)
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
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
    async with Client(redis_server.url, "orders", "portfolio", "candles:BTCUSDT:1m").running() as got:
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
    async with Client(redis_server.url, "ticker:all", "ticker:BTCUSDT").running() as got:
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
    topics = [f"ticker:S{number}" for number in range(600)]
    async with Client(redis_server.url, *topics).running():
        assert len(writer.client.client_list()) == 3
        assert len(writer.client.pubsub_channels()) == 601


async def test_a_hole_is_told_with_its_span(writer: LayoutWriter, redis_server: RedisServer) -> None:
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.ticker("BTCUSDT", "1")
        for price in ("2", "3"):
            writer.event("ticker:BTCUSDT", {"symbol": "BTCUSDT", "price": price}, channel=False)
        writer.ticker("BTCUSDT", "4")
        await got.until(lambda got: len(got.events) == 2)
        gap = got.statuses[-1]
        assert (gap.topic, gap.first_missing, gap.last_missing, gap.count) == ("ticker:BTCUSDT", 2, 3, 2)
        assert gap.scope == "m0"
        assert gap.until is not None
        assert gap.since < gap.until
        assert got.prices == ["1", "4"]


async def test_a_seq_seen_is_dropped_and_a_higher_epoch_goes_on(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.ticker("BTCUSDT", "1")
        writer.ticker("BTCUSDT", "2")
        writer.seqs["ticker:BTCUSDT"] = 1
        writer.ticker("BTCUSDT", "again")
        writer.epoch = 2
        writer.ticker("BTCUSDT", "3")
        writer.epoch = 1
        writer.ticker("BTCUSDT", "of a fenced writer")
        writer.epoch = 2
        writer.seqs["ticker:BTCUSDT"] = 3
        writer.ticker("BTCUSDT", "4")
        await got.until(lambda got: "4" in got.prices)
        assert got.prices == ["1", "2", "3", "4"]
        assert got.states == [FeedState.LIVE]


async def test_a_log_that_counts_anew_under_a_higher_epoch_is_told(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.ticker("BTCUSDT", "1")
        writer.ticker("BTCUSDT", "2")
        writer.epoch, writer.seqs = 9, {}
        writer.ticker("BTCUSDT", "3")
        await got.until(lambda got: len(got.events) == 3)
        assert got.statuses[-1].cause == Cause.LOG_REPLACED


async def test_no_bridge_is_told_and_live_again(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = Client(redis_server.url, "ticker:BTCUSDT", silent_after_s=0.1)
    async with client.running() as got:
        writer.release()
        await got.until(lambda got: got.states[-1] is FeedState.NO_BRIDGE)
        writer.lease()
        await got.until(lambda got: got.states[-1] is FeedState.LIVE)
        assert got.states == [FeedState.LIVE, FeedState.NO_BRIDGE, FeedState.LIVE]


async def test_an_empty_redis_is_no_bridge_until_one_comes(redis_server: RedisServer) -> None:
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
        assert got.states == [FeedState.NO_BRIDGE]
        with contextlib.closing(LayoutWriter(redis_server.url)) as writer:
            writer.install()
            writer.lease()
            writer.heartbeat()
            writer.ticker("BTCUSDT", "1")
            await got.until(lambda got: got.prices == ["1"])
        assert got.states == [FeedState.NO_BRIDGE, FeedState.LIVE]


async def test_notices_are_told_and_set_the_state(writer: LayoutWriter, redis_server: RedisServer) -> None:
    notice = FeedStatus(scope="m0", state=FeedState.BLIND, since="2026-11-22T10:00:00Z", cause=Cause.UPSTREAM_LOST)
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.notice(notice.to_fields())
        await got.until(lambda got: len(got.statuses) == 2)
        assert got.statuses[1] == notice
        writer.heartbeat(FeedState.LIVE)
        await got.until(lambda got: len(got.statuses) == 3)
        assert got.states == [FeedState.LIVE, FeedState.BLIND, FeedState.LIVE]


async def test_upstream_refusing_this_key_raises(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer
) -> None:
    account.lease(FeedState.AUTH_FAILED)
    client = Client(redis_server.url, "orders")
    with pytest.raises(AuthenticationError) as caught:
        await asyncio.wait_for(client.transport.run(), 10)
    assert KEY not in str(caught.value)


async def test_upstream_refusing_this_key_later_raises(account: LayoutWriter, redis_server: RedisServer) -> None:
    account.install()
    client = Client(redis_server.url, "orders")
    task = asyncio.create_task(client.transport.run())
    await client.got.until(lambda got: bool(got.statuses))
    account.heartbeat(FeedState.AUTH_FAILED)
    with pytest.raises(AuthenticationError):
        await asyncio.wait_for(task, 10)


async def test_market_auth_trouble_is_only_told(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.lease(FeedState.AUTH_FAILED)
    async with Client(redis_server.url, "ticker:BTCUSDT").running() as got:
        assert got.states == [FeedState.AUTH_FAILED]


async def test_another_layout_version_is_refused_in_words(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.install(version=2)
    with pytest.raises(FinalConnectionError, match="layout version 2"):
        await asyncio.wait_for(Client(redis_server.url, "ticker:BTCUSDT").transport.run(), 10)


async def test_a_wrong_password_is_refused_in_words_without_it(redis_server: RedisServer) -> None:
    url = redis_server.url.replace("://", "://crew:s3cret@")
    with pytest.raises(FinalConnectionError, match="WRONGPASS") as caught:
        await asyncio.wait_for(Client(url, "ticker:BTCUSDT").transport.run(), 10)
    assert "s3cret" not in str(caught.value)


async def test_redis_lost_is_told_and_the_span_at_return(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = Client(redis_server.url, "ticker:BTCUSDT", "orders", sleep=_no_wait)
    async with client.running() as got:
        writer.ticker("BTCUSDT", "1")
        await got.until(lambda got: bool(got.events))
        redis_server.kill()
        await got.until(lambda got: got.states[-1] is FeedState.BLIND)
        blind = got.statuses[-1]
        assert blind.cause == Cause.REDIS_LOST
        redis_server.start()
        writer.install()
        writer.lease()
        await got.until(lambda got: got.states[-1] is FeedState.LIVE)
        back = got.statuses[-1]
        assert back.cause == Cause.REDIS_LOST
        assert back.since == blind.since
        assert back.until is not None
        writer.ticker("BTCUSDT", "2")
        await got.until(lambda got: got.prices == ["1", "2"])


async def test_after_a_reconnect_the_log_is_read_on_from_the_last_entry(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = Client(redis_server.url, "ticker:all", sleep=_no_wait)
    async with client.running() as got:
        writer.ticker("BTCUSDT", "0")
        await got.until(lambda got: bool(got.events))
        writer.client.client_kill_filter(_type="pubsub")
        for price in range(1, 1001):
            writer.ticker("BTCUSDT", str(price))
        await got.until(lambda got: len(got.events) >= 1001)
        assert got.prices == [str(price) for price in range(1001)]
        assert [status.count for status in got.statuses if status.count] == []


async def test_after_a_reconnect_the_newest_value_comes_and_the_gap_before_it_is_told(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = Client(redis_server.url, "ticker:BTCUSDT", sleep=_no_wait)
    async with client.running() as got:
        writer.ticker("BTCUSDT", "1")
        await got.until(lambda got: got.prices == ["1"])
        for price in ("2", "3", "4"):
            writer.event("ticker:BTCUSDT", {"symbol": "BTCUSDT", "price": price}, channel=False)
        writer.client.client_kill_filter(_type="pubsub")
        await got.until(lambda got: got.prices == ["1", "4"])
        (gap,) = [status for status in got.statuses if status.count]
        assert (gap.first_missing, gap.last_missing, gap.cause) == (2, 3, Cause.REDIS_LOST)
        writer.ticker("BTCUSDT", "5")
        writer.seqs["ticker:BTCUSDT"] += 1
        writer.ticker("BTCUSDT", "7")
        await got.until(lambda got: got.prices == ["1", "4", "5", "7"])
        assert got.statuses[-1].cause == Cause.DROPPED


async def test_a_half_dead_subscription_is_replaced(writer: LayoutWriter, redis_server: RedisServer) -> None:
    """The lease is held but no heartbeat arrives: the subscription is taken for dead."""
    client = Client(redis_server.url, "ticker:BTCUSDT", silent_after_s=0.05, replace_after_s=0.2, sleep=_no_wait)
    async with client.running() as got:
        await got.until(lambda got: FeedState.BLIND in got.states)
        await got.until(lambda got: got.states[-1] is FeedState.LIVE)
        assert "no heartbeat" in (got.statuses[1].message or "")


async def test_topics_come_and_go_at_run_time(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = Client(redis_server.url, "ticker:BTCUSDT")
    async with client.running() as got:
        writer.ticker("ETHUSDT", "1")
        client.transport.subscribe(Topic.ticker("ETHUSDT"))
        client.transport.subscribe(Topic.ticker("ETHUSDT"))
        await got.until(lambda got: bool(got.events))
        client.transport.unsubscribe(Topic.ticker("ETHUSDT"))
        await _eventually(lambda: len(writer.client.pubsub_channels()) == 2)
        writer.ticker("ETHUSDT", "2")
        writer.ticker("ETHUSDT", "3")
        client.transport.subscribe(Topic.ticker("ETHUSDT"))
        await got.until(lambda got: len(got.events) == 2)
        assert [(event.fields["price"], event.source) for event in got.events] == [("1", "latest"), ("3", "latest")]
        assert got.states == [FeedState.LIVE], "what nobody wanted is no gap"


async def test_the_wildcard_at_run_time_takes_over_without_a_hole(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = Client(redis_server.url, "ticker:BTCUSDT")
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
    client = Client(redis_server.url, "ticker:all")
    async with client.running() as got:
        writer.ticker("BTCUSDT", "1")
        await got.until(lambda got: got.prices == ["1"])
        client.transport.unsubscribe(Topic.ticker("all"))
        await _eventually(lambda: len(writer.client.client_list()) == 3)
        writer.ticker("BTCUSDT", "2")
        client.transport.subscribe(Topic.ticker("all"))
        await got.until(lambda got: "2" in got.prices)
        writer.ticker("BTCUSDT", "3")
        await got.until(lambda got: "3" in got.prices)
        assert got.prices == ["1", "2", "3"]


async def test_junk_is_counted_and_ends_nothing(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = Client(redis_server.url, "ticker:BTCUSDT", "ticker:all")
    single = Client(redis_server.url, "ticker:BTCUSDT")
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
        assert single.transport.counts["junk"] == 11
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
            Client(redis_server.url, "ticker:all"),
            Client(redis_server.url, *(f"ticker:{s}" for s in symbols)),
        )
        async with every.running() as got_all, some.running() as got_some:
            by_scope = {writer.scope: writer for writer in writers}
            for symbol in symbols:
                by_scope[layout.market_scope(symbol)].ticker(symbol, "1")
            for got in (got_all, got_some):
                await got.until(lambda got: len(got.events) == 20)
                assert {event.topic for event in got.events} == {f"ticker:{symbol}" for symbol in symbols}


async def test_an_unreachable_redis_is_told_blind_and_stop_ends_the_wait(redis_server: RedisServer) -> None:
    redis_server.kill()
    client = Client(redis_server.url, "ticker:BTCUSDT")
    task = asyncio.create_task(client.transport.run())
    await client.got.until(lambda got: got.states == [FeedState.BLIND])
    client.transport.stop()
    await asyncio.wait_for(task, 1)


async def test_a_cancelled_run_leaves_nothing_open(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = Client(redis_server.url, "ticker:all")
    task = asyncio.create_task(client.transport.run())
    await client.got.until(lambda got: bool(got.statuses))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _eventually(lambda: len(writer.client.client_list()) == 1)


async def test_a_crews_rules_are_enough(make_redis: Callable[..., RedisServer]) -> None:
    """The commands and keys that docs/shared.md lists, and no more."""
    scope = account_scope(KEY)
    rules = ["on", ">pw", "resetchannels", "&ax:{m*}:*", f"&ax:{{{scope}}}:*", "%R~ax:meta", "%R~ax:{m*}:*"]
    rules += [f"%R~ax:{{{scope}}}:*", "-@all", *CREW_COMMANDS]
    server = make_redis(options={"user crew": " ".join(rules)})
    url = f"redis://crew:pw@127.0.0.1:{server.port}"
    with (
        contextlib.closing(LayoutWriter(server.url)) as writer,
        contextlib.closing(LayoutWriter(server.url, scope)) as account,
    ):
        writer.install()
        writer.lease()
        account.lease()
        writer.ticker("BTCUSDT", "1")
        account.event("portfolio", {"total_equity": "1"})
        async with (
            Client(url, "ticker:all", "orders", "portfolio").running() as got,
            Client(url, "ticker:BTCUSDT").running() as single,
        ):
            await got.until(lambda got: len(got.events) == 2)
            await single.until(lambda got: len(got.events) == 1)
            writer.ticker("BTCUSDT", "2")
            await got.until(lambda got: len(got.events) == 3)
            await single.until(lambda got: len(got.events) == 2)
        with LatestReader(url, KEY) as reader:
            assert reader.portfolio() is not None
            assert reader.open_orders() == {}


async def test_another_accounts_channel_is_refused_in_words(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(options={"user crew": "on >pw ~* +@all resetchannels &ax:{m*}:*"})
    url = f"redis://crew:pw@127.0.0.1:{server.port}"
    with pytest.raises(FinalConnectionError, match="NOPERM"):
        await asyncio.wait_for(Client(url, "orders").transport.run(), 10)


@pytest.mark.parametrize("ending", ["cancel", "stop"])
async def test_it_ends_cleanly_at_every_step(writer: LayoutWriter, redis_server: RedisServer, ending: str) -> None:
    """Cancelled or stopped after each number of turns of the loop: before the first connect, between, and after."""
    writer.ticker("BTCUSDT", "1")
    before = asyncio.all_tasks()
    for turns in range(0, 60, 2):
        client = Client(redis_server.url, "ticker:all", "candles:BTCUSDT:1m", "portfolio")
        task = asyncio.create_task(client.transport.run())
        for _ in range(turns):
            await asyncio.sleep(0.0003)
        if turns == 58:
            await client.got.until(lambda got: bool(got.events))
        if ending == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            client.transport.stop()
            await asyncio.wait_for(task, 2)
        assert asyncio.all_tasks() == before
    await _eventually(lambda: len(writer.client.client_list()) == 1)


async def test_a_password_that_worked_may_be_wrong_for_a_while(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(options={"user crew": "on >old ~* &* +@all"})
    client = Client(f"redis://crew:old@127.0.0.1:{server.port}", "ticker:BTCUSDT", sleep=_no_wait)
    with contextlib.closing(LayoutWriter(server.url)) as writer:
        writer.install()
        writer.lease()
        async with client.running() as got:
            writer.client.acl_setuser("crew", enabled=True, passwords=["-old", "+new"])
            writer.client.client_kill_filter(_type="pubsub")
            await got.until(lambda got: got.states[-1] is FeedState.BLIND)
            writer.client.acl_setuser("crew", enabled=True, passwords=["-new", "+old"])
            await got.until(lambda got: got.states[-1] is FeedState.LIVE)

"""The live feed over a real server, written to as a bridge does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._urls import redis_url
from agentexchange_bridge.inspector._link import Link
from agentexchange_bridge.inspector.live import LiveFeed, LiveOptions, ReadOptions, wall_us
from agentexchange_schemas import FeedState, Interest, Layout, Topic
from tests.bridge.inspector._samples import OTHER, OWN, candle, read
from tests.integration._system import eventually
from tests.sdk._layout_writer import LayoutWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agentexchange_bridge.inspector.views import ScopeRow
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

OPTIONS = LiveOptions(look_every_s=0.05, read=ReadOptions(gather_s=0.001))


@contextlib.asynccontextmanager
async def live(server: RedisServer, *accounts: str, options: LiveOptions = OPTIONS) -> AsyncIterator[LiveFeed]:
    link = Link(redis_url(server.url), name="test")
    feed = LiveFeed(link, accounts, options=options)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        link.close()


@pytest.fixture
def writer(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    made = LayoutWriter(redis_server.url)
    made.install()
    made.lease()
    made.state(FeedState.LIVE, topics="ticker:BTCUSDT ticker:ETHUSDT", clock_offset_us=0)
    yield made
    made.close()


@pytest.fixture
def account(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    made = LayoutWriter(redis_server.url, OWN)
    made.lease()
    yield made
    made.close()


def prices(feed: LiveFeed) -> dict[str, str]:
    return {row.symbol: row.price for row in feed.prices()[1]}


def scope_of(feed: LiveFeed, name: str = "m0") -> ScopeRow:
    return next(row for row in feed.overview().scopes if row.scope == name)


async def test_a_fresh_page_is_not_empty(
    redis_server: RedisServer, writer: LayoutWriter, account: LayoutWriter
) -> None:
    writer.ticker("BTCUSDT", "1.0")
    writer.ticker("BTCUSDT", "2.0")
    account.event("orders", {"order_id": "o-1", "status": "pending"}, latest=False)
    account.event("portfolio", {"total_equity": "5"})
    async with live(redis_server, OWN) as feed:
        await eventually(lambda: prices(feed) == {"BTCUSDT": "2.0"} and feed.account(OWN).orders)
        view = feed.account(OWN)
        assert (view.orders[0].order_id, view.portfolio) == ("o-1", {"total_equity": "5"})
        assert [row.key.topic for row in await feed.events()] == ["portfolio", "orders", *["ticker:BTCUSDT"] * 2]
        assert list(feed.accounts()) == [OWN]


async def test_a_symbol_whose_ticks_are_long_gone_has_its_latest_value(
    redis_server: RedisServer, writer: LayoutWriter
) -> None:
    writer.ticker("OLDUSDT", "7.0")
    writer.client.xtrim(writer.layout.log("m0"), maxlen=0)
    async with live(redis_server) as feed:
        await eventually(lambda: prices(feed) == {"OLDUSDT": "7.0"})


async def test_what_comes_is_shown(redis_server: RedisServer, writer: LayoutWriter, account: LayoutWriter) -> None:
    async with live(redis_server, OWN) as feed:
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        writer.ticker("BTCUSDT", "1.0")
        version = await eventually(lambda: feed.prices()[0])
        writer.ticker("ETHUSDT", "3.0")
        account.event("orders", {"order_id": "o-1", "status": "filled"}, latest=False)
        await eventually(lambda: feed.account(OWN).orders and "ETHUSDT" in prices(feed))
        assert [row.symbol for row in feed.prices(version)[1]] == ["ETHUSDT"]
        assert {row.state for row in feed.prices()[1]} == {FeedState.LIVE}
        assert list(feed.symbols()) == ["BTCUSDT", "ETHUSDT"]


async def test_the_overview_tells_the_whole_installation(redis_server: RedisServer, writer: LayoutWriter) -> None:
    layout = writer.layout
    writer.client.zadd(layout.workers, {"worker-1": 4_000_000_000, "standby": 4_000_000_000, "dead": 1})
    interest = Interest("crew", "host-1", 5, frozenset([Topic.ticker("BTCUSDT"), Topic.orders()]), 1, 600_000, 1)
    writer.client.hset(layout.interest(OTHER, "crew-x1"), mapping=interest.to_fields())
    writer.client.pexpire(layout.interest(OTHER, "crew-x1"), 600_000)
    writer.client.zadd(layout.interest(OTHER), {"crew-x1": 4_000_000_000})
    writer.client.zadd(layout.interests, {OTHER: 4_000_000_000})
    async with live(redis_server, OWN) as feed:
        await eventually(lambda: feed.overview().clients and scope_of(feed).worker)
        writer.ticker("BTCUSDT", "1.0")
        await eventually(lambda: scope_of(feed).events_per_s > 0)
        overview = feed.overview()
        market, own = scope_of(feed), scope_of(feed, OWN)
        assert (market.state, market.worker, market.epoch, market.topics) == (FeedState.LIVE, "worker-1", 1, 2)
        assert market.last_event_us == writer.received_us
        assert market.lag_ms is not None
        assert (own.state, own.worker) == (FeedState.NO_BRIDGE, None)
        assert [(row.name, row.scopes) for row in overview.workers] == [("standby", ()), ("worker-1", ("m0",))]
        (client,) = overview.clients
        assert (client.account, client.client, client.name, client.host) == (OTHER, "crew-x1", "crew", "host-1")
        assert client.topics == ("orders", "ticker:BTCUSDT")
        assert abs(client.expires_us - feed.at_us) < 601_000_000
        logs = {row.key: row for row in overview.logs}
        await eventually(lambda: {row.key: row.entries for row in feed.overview().logs}["ax:{m0}:log"] == 1)
        assert logs.keys() == {"ax:{m0}:log", "ax:{m0}:log:candles", f"ax:{{{OWN}}}:log"}
        assert overview.memory_bytes
        assert overview.memory_limit_bytes is None
        assert overview.source == str(redis_url(redis_server.url))


async def test_the_size_of_logs_and_the_limit(make_redis: Any) -> None:
    server = make_redis(maxmemory="64mb")
    writer = LayoutWriter(server.url)
    writer.install()
    writer.bulk(["ticker:A1", "ticker:B2"], 5_000)
    async with live(server) as feed:
        await eventually(lambda: any(row.memory_bytes for row in feed.overview().logs))
        log = next(row for row in feed.overview().logs if row.key == "ax:{m0}:log")
        assert log.entries == 5_000
        assert 200_000 < (log.memory_bytes or 0) < 5_000_000
        assert (log.first_us, log.last_us) == (writer.received_us - 4_999, writer.received_us)
        assert feed.overview().memory_limit_bytes == 64 * 1024 * 1024
    writer.close()


async def test_states_of_scope_and_topics(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.ticker("BTCUSDT", "1.0")
    writer.ticker("ETHUSDT", "1.0")
    stale = '{"ticker:ETHUSDT": ["stale", null, "upstream_silent", "no ticks"]}'
    writer.state(FeedState.LIVE, topic_states=stale)
    async with live(redis_server) as feed:
        states = {"BTCUSDT": FeedState.LIVE, "ETHUSDT": FeedState.STALE}
        await eventually(lambda: {row.symbol: row.state for row in feed.prices()[1]} == states)
        writer.state(FeedState.BLIND, message="upstream is away")
        await eventually(lambda: scope_of(feed).message == "upstream is away")
        assert {row.state for row in feed.prices()[1]} == {FeedState.BLIND}
        assert feed.gaps() == []
        writer.release()
        await eventually(lambda: scope_of(feed).state is FeedState.NO_BRIDGE)
        (gap,) = feed.gaps()
        assert (gap.state, gap.since_us, gap.until_us) == (FeedState.NO_BRIDGE, writer.received_us, None)


async def test_it_waits_for_a_bridge_that_has_never_been_there(redis_server: RedisServer) -> None:
    async with live(redis_server) as feed:
        await eventually(lambda: scope_of(feed).state is FeedState.NO_BRIDGE)
        layout = Layout("ax", 3)
        writers = [LayoutWriter(redis_server.url, scope, layout=layout) for scope in layout.market_scopes]
        writers[0].install()
        for number, writer in enumerate(writers):
            writer.lease()
            writer.ticker(f"S{number}", "1.0")
        await eventually(lambda: len(prices(feed)) == 3)
        assert [row.scope for row in feed.overview().scopes] == ["m0", "m1", "m2"]
        for writer in writers:
            writer.close()


async def test_redis_goes_and_comes_back(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.ticker("BTCUSDT", "1.0")
    async with live(redis_server) as feed:
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        await eventually(lambda: feed.prices()[1])
        redis_server.kill()
        await eventually(lambda: scope_of(feed).state is FeedState.BLIND)
        assert "Redis is away" in (scope_of(feed).message or "")
        assert {row.state for row in feed.prices()[1]} == {FeedState.BLIND}
        assert prices(feed) == {"BTCUSDT": "1.0"}
        await feed.events()  # from memory
        redis_server.start()  # empty: another log
        again = LayoutWriter(redis_server.url, epoch=2)
        again.install()
        again.lease()
        again.ticker("BTCUSDT", "2.0")
        await eventually(lambda: prices(feed) == {"BTCUSDT": "2.0"})
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        again.ticker("BTCUSDT", "3.0")
        await eventually(lambda: prices(feed) == {"BTCUSDT": "3.0"})
        assert [row.summary for row in await feed.events(kinds=["ticker"])] == ["price 3.0", "price 2.0"]
        again.close()


async def test_a_cut_connection_misses_nothing(redis_server: RedisServer, writer: LayoutWriter) -> None:
    async with live(redis_server) as feed:
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        for number in range(60):
            writer.ticker("BTCUSDT", f"{number}.0")
            if number % 20 == 10:
                writer.client.client_kill_filter(_type="normal", skipme=True)
                await asyncio.sleep(0)
        await eventually(lambda: prices(feed) == {"BTCUSDT": "59.0"})
        rows = await feed.events(limit=100)
        assert [row.key.seq for row in rows] == list(range(60, 0, -1))


async def test_a_replaced_log_is_begun_anew(redis_server: RedisServer, writer: LayoutWriter) -> None:
    async with live(redis_server) as feed:
        writer.ticker("BTCUSDT", "1.0")
        await eventually(lambda: prices(feed) == {"BTCUSDT": "1.0"})
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        writer.client.flushall()
        writer.install()
        writer.log_name = "log-2"
        writer.lease()
        writer.received_us -= 10  # ids that are lower than those that were read
        writer.received_us += 1
        writer.bulk(["ticker:ETHUSDT"], 3)
        await eventually(lambda: prices(feed).get("ETHUSDT") == "3")


async def test_events_by_filter_and_by_page(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:A1", "ticker:B2"], 30)
    async with live(redis_server) as feed:
        await eventually(lambda: len(prices(feed)) == 2)
        writer.bulk(["ticker:A1", "ticker:B2"], 30)
        await eventually(lambda: prices(feed).get("B2") == "30")
        first = await feed.events(filter_text="a1", limit=10)
        assert [row.key.seq for row in first] == list(range(30, 20, -1))
        more = await feed.events(filter_text="a1", before=first[-1].key, limit=100)
        assert [row.key.seq for row in more] == list(range(20, 0, -1))
        assert len(await feed.events(filter_text="A1")) == 30  # what came before it looked is found, too
        assert [row.summary for row in await feed.events(filter_text="price = 17")] == ["price 17"] * 2
        assert await feed.events(kinds=["orders"]) == []
        writer.ticker("A1", "17")
        await eventually(lambda: prices(feed)["A1"] == "17")
        assert len(await feed.events(filter_text="price = 17")) == 3


async def test_one_event(redis_server: RedisServer, writer: LayoutWriter) -> None:
    async with live(redis_server) as feed:
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        for number in range(1, 8):
            writer.ticker("BTCUSDT", f"{number}.0")
        await eventually(lambda: prices(feed) == {"BTCUSDT": "7.0"})
        row = (await feed.events())[3]
        detail = await feed.event(row.key)
        assert detail is not None
        assert detail.fields["price"] == "4.0"
        assert detail.written_us == row.key.received_us
        assert [one.summary for one in detail.before] == ["price 1.0", "price 2.0", "price 3.0"]
        assert [one.summary for one in detail.after] == ["price 5.0", "price 6.0", "price 7.0"]
        writer.client.xtrim(writer.layout.log("m0"), maxlen=0)
        assert await feed.event(row.key) is None


async def test_candles_closed_and_forming(redis_server: RedisServer, writer: LayoutWriter) -> None:
    topic = "candles:BTCUSDT:1m"
    for minute in range(3):
        writer.event(topic, read(candle(0, minute)).data)
    async with live(redis_server) as feed:
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        assert len(await feed.candles("BTCUSDT", "1m")) == 3
        writer.event(topic, read(candle(0, 3, close="9")).data)
        await eventually(lambda: writer.client.pubsub_numsub(writer.layout.channel("m0", topic))[0][1])
        writer.forming(topic, read(candle(0, 4, close="5", is_closed=False)).data)
        writer.forming(topic, b"junk")  # type: ignore[arg-type]

        async def five() -> list[Any] | None:
            found = await feed.candles("BTCUSDT", "1m")
            return found if len(found) == 5 else None

        bars = await eventually(five)
        assert [(bar.close, bar.is_closed) for bar in bars] == [*[(2.0, True)] * 3, (9.0, True), (5.0, False)]
        assert [bar.close for bar in await feed.candles("BTCUSDT", "1m", limit=1)] == [5.0]
        assert await feed.candles("ETHUSDT", "1m") == []
        with pytest.raises(ValueError, match="symbol"):
            await feed.candles("not a symbol", "1m")


async def test_gaps_of_now_and_of_all_that_the_log_holds(redis_server: RedisServer, writer: LayoutWriter) -> None:
    def told(state: str, since: str, **more: Any) -> None:
        names = ("topic", "until", "cause", "first_missing", "last_missing", "count", "message")
        writer.notice({"scope": "m0", "state": state, "since": since} | dict.fromkeys(names) | more)

    told("live", "2026-11-22T10:00:00Z", until="2026-11-22T10:00:05Z", cause="reconnected")
    writer.bulk(["ticker:A1"], 3_000)  # more than a first look reads to find every topic
    async with live(redis_server) as feed:
        await eventually(lambda: [row.cause for row in feed.gaps()] == ["reconnected"])
        told("blind", "2026-11-22T11:00:00Z", cause="upstream_lost")
        await eventually(lambda: [row.cause for row in feed.gaps()] == ["upstream_lost", "reconnected"])
        assert [row.until_us is None for row in feed.gaps()] == [True, False]


async def test_nothing_of_an_account_without_a_key_is_shown(redis_server: RedisServer, writer: LayoutWriter) -> None:
    other = LayoutWriter(redis_server.url, OTHER)
    other.lease()
    other.event("orders", {"order_id": "secret-1", "status": "pending"}, latest=False)
    async with live(redis_server, OWN) as feed:
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)
        other.event("portfolio", {"total_equity": "secret-2"})
        writer.ticker("BTCUSDT", "1.0")
        await eventually(lambda: feed.prices()[1])
        everything = [feed.overview(), feed.account(OTHER), await feed.events(), feed.gaps(), feed.prices()]
        assert "secret" not in repr(everything)
        assert {row.scope for row in feed.overview().scopes} == {"m0", OWN}
    other.close()


async def test_junk_in_every_key_is_no_end(redis_server: RedisServer, writer: LayoutWriter) -> None:
    layout, client = writer.layout, writer.client
    client.xadd(layout.log("m0"), {"x": "no envelope"})
    client.xadd(layout.log("m0"), {"e": b"\xff\xff", "more": "fields"})
    writer.received_us += 60_000_000  # behind the ids that the server gave
    client.hset(layout.status("m0"), mapping={"state": b"\xff", "topic_states": "[[[", "kinds": "{", "topics": b"\xfe"})
    client.zadd(layout.workers, {b"\xff": float("inf")})
    client.hset(layout.seq("m0"), b"\xff", b"\xff")
    client.set(layout.latest("m0", "ticker:BTCUSDT"), b"junk")
    async with live(redis_server) as feed:
        writer.ticker("ETHUSDT", "1.0")
        await eventually(lambda: "ETHUSDT" in prices(feed))
        await eventually(lambda: scope_of(feed).state is FeedState.NO_BRIDGE)
        assert feed.overview().workers
        client.delete(layout.status("m0"))
        client.set(layout.status("m0"), "no hash")
        writer.ticker("ETHUSDT", "2.0")
        await eventually(lambda: prices(feed)["ETHUSDT"] == "2.0")
        client.delete(layout.status("m0"))
        writer.state(FeedState.LIVE)
        await eventually(lambda: scope_of(feed).state is FeedState.LIVE)


async def test_times_are_by_the_bridges_clock(redis_server: RedisServer, writer: LayoutWriter) -> None:
    """This machine's clock is an hour ahead of the server's, and the bridge's three seconds behind it."""
    options = LiveOptions(look_every_s=0.05, read=OPTIONS.read, wall=lambda: wall_us() + 3_600_000_000)
    writer.state(FeedState.LIVE, clock_offset_us=3_000_000)
    async with live(redis_server, options=options) as feed:
        await eventually(lambda: abs(feed.at_us - (wall_us() - 3_000_000)) < 500_000)
        writer.received_us = wall_us() - 3_000_000
        writer.ticker("BTCUSDT", "1.0")
        await eventually(lambda: feed.prices()[1])
        assert feed.prices()[1][0].age_s < 2
        lag_ms = await eventually(lambda: scope_of(feed).lag_ms)
        assert lag_ms[0] < 2_000

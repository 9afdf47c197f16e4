"""The follower against a real server: what it learns, when, and what it outlives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import redis
import structlog
from structlog.testing import capture_logs

from agentexchange._names import Identity
from agentexchange._shared.interest import InterestKeeper
from agentexchange._shared.options import SharedOptions
from agentexchange._urls import redis_url
from agentexchange.redis import RespStream
from agentexchange_bridge.interest import FollowerOptions, InterestFollower, InterestLimits, InterestStats
from agentexchange_schemas import Layout, Topic
from tests.bridge._kit import until
from tests.bridge.interest._clients import ACCOUNT, account, topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server
LAYOUT = Layout()


class Following:
    """A follower that remembers what it told."""

    def __init__(self, url: str, *accounts: str, **options: Any) -> None:
        self.told: list[frozenset[Topic]] = []
        self.stats = InterestStats()
        quick = {"grace_s": 0.0, "tick_s": 0.05, "gather_s": 0.0} | options
        self._follower = InterestFollower(
            redis_url(url),
            name="follower",
            layout=LAYOUT,
            accounts=lambda: accounts,
            on_change=self.told.append,
            log=structlog.get_logger(),
            stats=self.stats,
            options=FollowerOptions(**quick),
        )

    @property
    def wanted(self) -> frozenset[Topic]:
        return self.told[-1] if self.told else frozenset()

    @contextlib.asynccontextmanager
    async def running(self, server: RedisServer) -> AsyncIterator[Following]:
        """Run it beside the body, from the moment on that it listens."""
        task = asyncio.create_task(self._follower.run())
        try:
            with redis.Redis.from_url(server.url) as client:
                await until(lambda: dict(client.pubsub_numsub(LAYOUT.control)).get(b"ax:control"))
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def wanting(url: str, *texts: str, account: str = ACCOUNT, **options: Any) -> AsyncIterator[InterestKeeper]:
    """A client that wants these, and leaves at the end."""
    wanted = {Topic.parse(text) for text in texts}
    keeper = InterestKeeper(LAYOUT, account, Identity.of("crew"), wanted, SharedOptions(**options))
    stream = await RespStream.connect(redis_url(url))
    task = asyncio.create_task(keeper.keep(stream))
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await keeper.leave()
        stream.close()


async def test_clients_come_and_go(redis_server: RedisServer) -> None:
    async with Following(redis_server.url).running(redis_server) as following:
        async with wanting(redis_server.url, "ticker:BTCUSDT", "orders"):
            await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
            async with wanting(redis_server.url, "ticker:BTCUSDT", "candles:BTCUSDT:1m", account=account(7)):
                await until(lambda: following.wanted == topics("ticker:BTCUSDT", "candles:BTCUSDT:1m"))
                assert following.stats.clients == 2
            await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
        await until(lambda: following.wanted == topics())


async def test_one_that_starts_later_learns_everything_at_once(redis_server: RedisServer) -> None:
    async with (
        wanting(redis_server.url, "ticker:BTCUSDT", interest_ttl_s=60.0),
        wanting(redis_server.url, "ticker:ETHUSDT", account=account(7), interest_ttl_s=60.0),
    ):
        async with Following(redis_server.url, ACCOUNT).running(redis_server) as following:
            await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
            with redis.Redis.from_url(redis_server.url) as client:
                assert client.zrange(LAYOUT.interests, 0, -1) == [ACCOUNT.encode()]
                client.zadd(LAYOUT.interests, {account(7): 1_795_341_318})
        both = Following(redis_server.url)
        async with both.running(redis_server):
            await until(lambda: both.wanted == topics("ticker:BTCUSDT", "ticker:ETHUSDT"))
            assert len(both.told) == 1, "told once, when all was read"


async def test_a_client_that_died_is_forgotten_when_its_time_is_over(redis_server: RedisServer) -> None:
    async with Following(redis_server.url).running(redis_server) as following:
        wanted = {Topic.ticker("BTCUSDT")}
        keeper = InterestKeeper(LAYOUT, ACCOUNT, Identity.of("crew"), wanted, SharedOptions(interest_ttl_s=0.3))
        stream = await RespStream.connect(redis_url(redis_server.url))
        task = asyncio.create_task(keeper.keep(stream))
        await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
        stream.close()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: following.wanted == topics())


async def test_the_grace_time_outlasts_the_client(redis_server: RedisServer) -> None:
    time = {"now": 0.0, "looks": 0}

    def clock() -> float:
        time["looks"] += 1
        return time["now"]

    following = Following(redis_server.url, grace_s=30.0, clock=clock)
    async with following.running(redis_server):
        async with wanting(redis_server.url, "ticker:BTCUSDT"):
            await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
        await until(lambda: following.stats.clients == 0)
        time |= {"now": 29.0, "looks": 0}
        await until(lambda: time["looks"] > 3)
        assert following.wanted == topics("ticker:BTCUSDT")
        time["now"] = 31.0
        await until(lambda: following.wanted == topics())


async def test_while_redis_is_away_the_last_that_was_known_stays(redis_server: RedisServer) -> None:
    following = Following(redis_server.url, ACCOUNT)
    async with following.running(redis_server):
        async with wanting(redis_server.url, "ticker:BTCUSDT", interest_ttl_s=0.5):
            await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
            redis_server.kill()
        with capture_logs() as logs:
            await until(lambda: len([line for line in logs if "cannot be followed" in line["event"]]) >= 3)
            assert following.wanted == topics("ticker:BTCUSDT")
            redis_server.start()
            await until(lambda: following.wanted == topics())
        assert len([line for line in logs if line["log_level"] == "warning"]) == 1


async def test_after_an_outage_clients_that_register_again_were_never_gone(redis_server: RedisServer) -> None:
    following = Following(redis_server.url, ACCOUNT)
    async with following.running(redis_server), wanting(redis_server.url, "ticker:BTCUSDT"):
        await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
        redis_server.restart()
        with capture_logs() as logs:
            await until(lambda: any("is followed" in line["event"] for line in logs))
        async with wanting(redis_server.url, "ticker:ETHUSDT"):
            await until(lambda: following.wanted == topics("ticker:BTCUSDT", "ticker:ETHUSDT"))
            assert len(following.told) == 2


async def test_a_hostile_client_costs_a_count_each_and_nothing_else(redis_server: RedisServer) -> None:
    hostile = account(13)
    with redis.Redis.from_url(redis_server.url) as client, capture_logs() as logs:
        good = {"name": "a", "host": "h", "pid": 1, "topics": "ticker:EVIL", "since": 1, "ttl": 15_000, "version": 1}
        key = f"ax:interest:{hostile}:"
        client.set(key + "string", "x")
        client.hset(key + "huge", mapping=good | {"topics": "x" * 1_000_000})
        client.hset(key + "endless", mapping=good)
        client.hset(key + "wrong", mapping=good | {"topics": "ticker:{m0}"})
        for name in ("string", "huge", "wrong"):
            client.pexpire(key + name, 15_000)
        client.zadd(
            f"ax:interest:{hostile}", dict.fromkeys(("string", "huge", "endless", "wrong", "a b", "x" * 999), 9)
        )
        client.set(f"ax:interest:{account(14)}", "no sorted set")
        client.zadd(LAYOUT.interests, {hostile: 9, account(14): 9, "m0": 9, "junk": 9, ACCOUNT: 1})
        following = Following(redis_server.url)
        async with following.running(redis_server), wanting(redis_server.url, "ticker:BTCUSDT"):
            await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
            for junk in (
                b"",
                b"hello",
                b"\x00" * 100_000,
                f"{hostile} huge 7".encode(),
                f"{ACCOUNT} nobody 3".encode(),
            ):
                client.publish(LAYOUT.control, junk)
            await until(lambda: following.stats.junk.get("hash", 0) >= 5)
            assert following.stats.junk["message"] == 3
            assert following.wanted == topics("ticker:BTCUSDT")
        assert client.zscore(LAYOUT.interests, ACCOUNT) > 1
    told = [line["kind"] for line in logs if "kind" in line]
    assert sorted(told) == ["hash", "message"]


async def test_a_message_of_many_megabytes_costs_a_reconnect(redis_server: RedisServer) -> None:
    following = Following(redis_server.url)
    async with following.running(redis_server), wanting(redis_server.url, "ticker:BTCUSDT"):
        await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
        with redis.Redis.from_url(redis_server.url) as client, capture_logs() as logs:
            client.publish(LAYOUT.control, b"x" * 20_000_000)
            await until(lambda: any("is followed" in line["event"] for line in logs))
        async with wanting(redis_server.url, "ticker:ETHUSDT"):
            await until(lambda: following.wanted == topics("ticker:BTCUSDT", "ticker:ETHUSDT"))


async def test_a_set_of_clients_too_large_to_read_keeps_nobody_else_from_being_read(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.zadd(f"ax:interest:{account(13)}", {f"{number}-{'x' * 1_000_000}": 1 for number in range(8)})
        client.zadd(LAYOUT.interests, {account(13): 9, ACCOUNT: 1})
        async with wanting(redis_server.url, "ticker:BTCUSDT", interest_ttl_s=60.0):
            following = Following(redis_server.url)
            async with following.running(redis_server):
                await until(lambda: following.wanted == topics("ticker:BTCUSDT"))


async def test_a_user_who_may_not_listen_is_told_once_and_the_worker_goes_on(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command("ACL", "SETUSER", "bridge", "reset", "on", ">pw", "~*", "+@all", "resetchannels")  # type: ignore[no-untyped-call]
        following = Following(redis_server.url.replace("://", "://bridge:pw@"), ACCOUNT)
        with capture_logs() as logs:
            task = asyncio.create_task(following._follower.run())
            try:
                await until(lambda: len(logs) >= 2)
                client.execute_command("ACL", "SETUSER", "bridge", "&ax:control")  # type: ignore[no-untyped-call]
                async with wanting(redis_server.url, "ticker:BTCUSDT"):
                    await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        assert [line["log_level"] for line in logs if "cannot be followed" in line["event"]].count("warning") == 1


async def test_what_is_beyond_a_bound_is_let_go(redis_server: RedisServer) -> None:
    following = Following(redis_server.url, limits=InterestLimits(clients=1))
    async with following.running(redis_server), wanting(redis_server.url, "ticker:BTCUSDT"):
        await until(lambda: following.wanted == topics("ticker:BTCUSDT"))
        async with wanting(redis_server.url, "ticker:ETHUSDT"):
            await until(lambda: following.stats.junk.get("clients"))
        assert following.wanted == topics("ticker:BTCUSDT")

"""What shared clients want is subscribed upstream while they run: real clients, a whole worker, a sandbox exchange."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from agentexchange import AgentExchangeWS
from agentexchange.testing import SandboxExchange
from agentexchange_bridge.health import readiness
from agentexchange_schemas import FeedState, Topic, account_scope
from tests.bridge._kit import LAYOUT, until
from tests.bridge.test_worker import KEY, ROOT, is_live, new_worker, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agentexchange_bridge.worker import Worker
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

BTC, ETH, SOL = (f"ticker:{symbol}USDT" for symbol in ("BTC", "ETH", "SOL"))
SOON_S = 4.0
"""Before a client renews its interest, which would tell it as well: so it was told at once."""


@pytest.fixture
async def exchange() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(rate=200, api_keys=(KEY,), pairs=20) as sandbox:
        yield sandbox


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


def worker_of(exchange: SandboxExchange, server: RedisServer, *topics: str, **changes: Any) -> Worker:
    quick = {"interest_grace_s": 0.0, "account": False} | changes
    return new_worker(exchange, server, topics=tuple(map(Topic.parse, topics)), **quick)


@contextlib.asynccontextmanager
async def client(url: str, *topics: str, name: str = "crew") -> AsyncIterator[tuple[AgentExchangeWS, set[str]]]:
    """A client, and the symbols that it has got."""
    ws = AgentExchangeWS(KEY, url, client_name=name)
    got: set[str] = set()
    for topic in topics:
        ws.subscribe(topic, lambda event: got.add(event["symbol"]))
    async with ws:
        yield ws, got


def subscribed(exchange: SandboxExchange) -> set[str]:
    return {topic for connection in exchange.control.connections for topic in connection.subscriptions}


async def test_what_a_client_wants_is_subscribed_within_a_second_and_dropped_after_it(
    exchange: SandboxExchange, redis_server: RedisServer, store: redis.Redis
) -> None:
    worker = worker_of(exchange, redis_server, BTC)
    async with running(worker):
        await is_live(worker)
        async with client(redis_server.url, BTC, ETH, "orders") as (_, got):
            await exchange.control.wait_for_subscriptions(BTC, ETH, timeout=SOON_S)
            await until(lambda: got == {"BTCUSDT", "ETHUSDT"})
            await until(lambda: store.hget(LAYOUT.status("m0"), "topics") == f"{BTC} {ETH}".encode())
            assert (worker.stats.interest.clients, worker.stats.interest.topics) == (1, 2)
            assert store.zrange(LAYOUT.interests, 0, -1) == [account_scope(KEY).encode()]
        await exchange.control.wait_for_no_subscriptions(ETH)
        await until(lambda: store.hget(LAYOUT.status("m0"), "topics") == BTC.encode())
        assert subscribed(exchange) == {BTC}, "what is configured stays"


async def test_a_worker_that_nobody_wants_anything_of_is_ready(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    worker = worker_of(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        assert readiness(worker.stats).ready
        assert subscribed(exchange) == set()


async def test_a_topic_is_kept_for_the_grace_time(exchange: SandboxExchange, redis_server: RedisServer) -> None:
    worker = worker_of(exchange, redis_server, interest_grace_s=60.0)
    async with running(worker):
        async with client(redis_server.url, ETH):
            await exchange.control.wait_for_subscriptions(ETH)
        await until(lambda: worker.stats.interest.clients == 0)
        async with client(redis_server.url, SOL):
            await exchange.control.wait_for_subscriptions(SOL)
            assert subscribed(exchange) == {ETH, SOL}


async def test_subscriptions_of_a_running_client_follow(exchange: SandboxExchange, redis_server: RedisServer) -> None:
    worker = worker_of(exchange, redis_server)
    async with running(worker), client(redis_server.url, BTC) as (ws, got):
        await exchange.control.wait_for_subscriptions(BTC)
        ws.subscribe(ETH, lambda event: got.add(event["symbol"]))
        await exchange.control.wait_for_subscriptions(ETH, timeout=SOON_S)
        await until(lambda: got == {"BTCUSDT", "ETHUSDT"})
        ws.unsubscribe(BTC)
        await exchange.control.wait_for_no_subscriptions(BTC)
        assert subscribed(exchange) == {ETH}


async def test_two_clients_share_a_topic(exchange: SandboxExchange, redis_server: RedisServer) -> None:
    worker = worker_of(exchange, redis_server)
    async with running(worker), client(redis_server.url, BTC) as (_, first):
        async with client(redis_server.url, BTC, ETH) as (_, second):
            await until(lambda: len(second) == 2 and first == {"BTCUSDT"})
        await exchange.control.wait_for_no_subscriptions(ETH)
        assert subscribed(exchange) == {BTC}


async def test_what_a_killed_client_wanted_is_dropped_when_its_time_is_over(
    exchange: SandboxExchange, redis_server: RedisServer, store: redis.Redis
) -> None:
    worker = worker_of(exchange, redis_server, BTC)
    command = [sys.executable, "-m", "tests.bridge._client_process", redis_server.url, "2.0", ETH]
    async with running(worker):
        process = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220 - it runs beside the worker
        try:
            await exchange.control.wait_for_subscriptions(ETH)
            started = time.monotonic()
            await until(lambda: time.monotonic() - started > 2.5 or ETH not in subscribed(exchange))
            assert ETH in subscribed(exchange), "it renews"
        finally:
            process.kill()
            process.wait()
        await exchange.control.wait_for_no_subscriptions(ETH)
        assert subscribed(exchange) == {BTC}
        assert store.keys("ax:interest:*:*") == []


async def test_a_worker_that_starts_learns_at_once_what_is_wanted(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    async with client(redis_server.url, ETH) as (_, got):
        async with running(worker_of(exchange, redis_server)):
            await until(lambda: "ETHUSDT" in got)
        await exchange.control.wait_for_connections(0)
        async with running(worker_of(exchange, redis_server)):
            await exchange.control.wait_for_subscriptions(ETH, timeout=SOON_S)
            got.clear()
            await until(lambda: "ETHUSDT" in got)


async def test_a_standby_that_takes_over_knows_what_is_wanted(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    first = worker_of(exchange, redis_server, BTC)
    standby = worker_of(exchange, redis_server, BTC, worker_id="w2", lease_ttl_s=1.0)
    async with client(redis_server.url, ETH) as (_, got), contextlib.AsyncExitStack() as stack:
        async with running(first):
            await until(lambda: "ETHUSDT" in got)
            await stack.enter_async_context(running(standby))
            await until(lambda: standby.stats.interest.topics == 1)
            assert not any(writer.is_owner for writer in standby._writers.values())
        await until(lambda: standby.stats.scopes["m0"].state is FeedState.LIVE)
        assert subscribed(exchange) == {BTC, ETH}
        got.clear()
        await until(lambda: "ETHUSDT" in got)


async def test_a_client_without_the_right_gets_what_is_there_and_changes_nothing(
    exchange: SandboxExchange, redis_server: RedisServer, store: redis.Redis
) -> None:
    rights = "+@read +@connection +@pubsub -publish +hgetall %R~ax:{*}:* %R~ax:meta &ax:{*}:*"
    store.execute_command("ACL", "SETUSER", "reader", "reset", "on", ">pw", *rights.split())  # type: ignore[no-untyped-call]
    worker = worker_of(exchange, redis_server, BTC)
    async with running(worker):
        await is_live(worker)
        async with client(redis_server.url.replace("://", "://reader:pw@"), BTC, ETH) as (ws, got):
            await until(lambda: "BTCUSDT" in got)
            await until(lambda: ws.stats().transport["interest_refused"] >= 1)
            assert subscribed(exchange) == {BTC}
            assert worker.stats.interest.clients == 0


async def test_single_tickers_ride_on_a_wildcard_that_is_configured(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    worker = worker_of(exchange, redis_server, "ticker:all")
    async with running(worker):
        await is_live(worker)
        async with client(redis_server.url, BTC, "candles:BTCUSDT:1m") as (_, got):
            await exchange.control.wait_for_subscriptions("candles:BTCUSDT:1m", timeout=SOON_S)
            await until(lambda: "BTCUSDT" in got)
            assert BTC not in subscribed(exchange)


async def test_a_wildcard_that_a_client_wants_takes_the_place_of_single_tickers_and_gives_it_back(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    worker = worker_of(exchange, redis_server, BTC)
    async with running(worker):
        await is_live(worker)
        async with client(redis_server.url, "ticker:all") as (_, got):
            await exchange.control.wait_for_subscriptions("ticker:all", timeout=SOON_S)
            await until(lambda: len(got) == 20)
        await exchange.control.wait_for_no_subscriptions("ticker:all")
        await exchange.control.wait_for_subscriptions(BTC)


async def test_topics_go_to_their_partitions(
    exchange: SandboxExchange, redis_server: RedisServer, store: redis.Redis
) -> None:
    worker = worker_of(exchange, redis_server, partitions=4)
    layout = worker.layout
    wanted = [f"ticker:{symbol}" for symbol in exchange.control.symbols]

    def served() -> dict[str, set[str]]:
        texts = {scope: store.hget(layout.status(scope), "topics") or b"" for scope in layout.market_scopes}
        return {scope: set(text.decode().split()) for scope, text in texts.items()}

    async with running(worker):
        await is_live(worker)
        async with client(redis_server.url, *wanted[:8]) as (_, got):
            await until(lambda: len(got) == 8)
            by_scope = {
                scope: {topic for topic in wanted[:8] if layout.market_scope(topic.removeprefix("ticker:")) == scope}
                for scope in layout.market_scopes
            }
            await until(lambda: served() == by_scope)


async def test_a_worker_that_does_not_follow_carries_what_is_configured(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    worker = worker_of(exchange, redis_server, BTC, follow_interest=False)
    async with running(worker):
        await is_live(worker)
        async with client(redis_server.url, BTC, ETH) as (_, got):
            await until(lambda: "BTCUSDT" in got)
            assert subscribed(exchange) == {BTC}


async def test_a_topic_that_the_platform_refuses_is_not_asked_for_again_because_of_others(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    exchange.control.set_subscription_limit(1)
    worker = worker_of(exchange, redis_server, BTC)
    async with running(worker):
        await is_live(worker)
        async with client(redis_server.url, ETH):
            await until(lambda: exchange.control.requests >= 2)
            async with client(redis_server.url, SOL):
                await until(lambda: exchange.control.requests >= 3)
                await until(lambda: worker.stats.interest.topics == 2)
                assert exchange.control.requests == 3

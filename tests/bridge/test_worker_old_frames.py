"""Frames that upstream sent before a grant, read after it: somebody else may have written them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._urls import redis_url, upstream_url
from agentexchange.redis import RespStream
from agentexchange.testing import SandboxExchange
from agentexchange_bridge.worker import Worker
from agentexchange_schemas import Cause, FeedState, Kind
from tests.bridge._kit import LAYOUT, eventually, until
from tests.bridge.test_worker import ACCOUNT, KEY, is_live, log, new_worker, running, settled, told
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

EPOCH = 9_999_999_999


@pytest.fixture
async def exchange() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(rate=0, api_keys=(KEY,), pairs=20) as sandbox:
        yield sandbox


@pytest.fixture
async def link(exchange: SandboxExchange) -> AsyncIterator[Proxy]:
    port = int(exchange.url.rpartition(":")[2].partition("/")[0])
    async with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(redis_server.url))
    yield stream
    stream.close()


@contextlib.asynccontextmanager
async def worker_behind(link: Proxy, exchange: SandboxExchange, server: RedisServer, **changes: Any) -> Any:
    config = new_worker(exchange, server, **changes).config
    worker = Worker(replace(config, upstream_url=upstream_url(f"ws://127.0.0.1:{link.port}")))
    async with running(worker):
        await until(lambda: worker.stats.scopes["m0"].state is FeedState.LIVE)
        yield worker
        link.heal()


async def lend(redis: RespStream, scope: str) -> None:
    """Another worker is there."""
    await redis.command("SET", LAYOUT.epoch(scope), EPOCH)
    await redis.command("SET", LAYOUT.lease(scope), f"other/{EPOCH}")


async def free(redis: RespStream, scope: str) -> None:
    """It was there, it wrote, and it is gone."""
    await redis.command("SET", LAYOUT.epoch(scope), EPOCH)
    await redis.command("DEL", LAYOUT.lease(scope))


async def granted(worker: Worker, scope: str) -> None:
    await until(lambda: worker._writers[scope].is_owner and worker.stats.scopes[scope].epoch > EPOCH)


async def orders_written(worker: Worker, exchange: SandboxExchange, redis: RespStream) -> list[str]:
    """Ids of the orders in the log, once an order of now is in it."""
    await is_live(worker)
    exchange.control.push_order({"order_id": "new", "status": "pending"})

    async def ids() -> list[str]:
        return [event.data["order_id"] for event in await log(redis, ACCOUNT) if event.topic == "orders"]

    await eventually(lambda: _has_new(ids))
    return await ids()


async def _has_new(ids: Callable[[], Awaitable[list[str]]]) -> bool:
    return "new" in await ids()


@pytest.mark.parametrize("is_seen", [False, True], ids=["others came and went", "another is seen"])
async def test_a_scope_that_is_ours_again_takes_nothing_from_before_its_grant(
    exchange: SandboxExchange, link: Proxy, redis_server: RedisServer, redis: RespStream, *, is_seen: bool
) -> None:
    async with worker_behind(link, exchange, redis_server) as worker:
        await is_live(worker)
        link.hold("from")
        for number in range(50):
            exchange.control.push_order({"order_id": f"old {number}", "status": "pending"})
        if is_seen:
            await lend(redis, ACCOUNT)
            await until(lambda: not worker._writers[ACCOUNT].is_owner)
        await free(redis, ACCOUNT)
        await granted(worker, ACCOUNT)
        link.heal()
        assert await orders_written(worker, exchange, redis) == ["new"]
        upstreams = worker.stats.upstreams
        assert (upstreams["market"].sessions, upstreams["account:default"].sessions) == (1, 2)
        await settled(worker)
    assert not told(await log(redis, "m0"), Cause.UPSTREAM_LOST), "the other scope has a session of its own"
    begin, end = told(await log(redis, ACCOUNT), Cause.TAKEOVER)
    assert (begin.state, end.state, end.since) == (FeedState.BLIND, FeedState.LIVE, begin.since)


async def test_an_account_that_is_granted_later_takes_what_comes_after_upstreams_answer(
    exchange: SandboxExchange, link: Proxy, redis_server: RedisServer, redis: RespStream
) -> None:
    """Orders come to the market's session too: one that is on its way during the grant was the last owner's."""
    await lend(redis, ACCOUNT)
    async with worker_behind(link, exchange, redis_server) as worker:
        link.hold("from")
        exchange.control.push_order({"order_id": "old", "status": "pending"})
        await free(redis, ACCOUNT)
        await granted(worker, ACCOUNT)
        link.heal()
        assert await orders_written(worker, exchange, redis) == ["new"]
        assert worker.stats.sessions == 2
        assert worker.stats.received[Kind.ORDERS] == 1


@pytest.mark.parametrize("stood_still", [False, True])
async def test_after_a_standstill_a_session_may_hold_old_ticks_of_any_scope(
    exchange: SandboxExchange, link: Proxy, redis_server: RedisServer, redis: RespStream, *, stood_still: bool
) -> None:
    await lend(redis, "m1")
    async with worker_behind(link, exchange, redis_server, partitions=2, account=False) as worker:
        if stood_still:
            worker._pulse._last -= 5.0
        await free(redis, "m1")
        await granted(worker, "m1")
        await is_live(worker)
        assert worker.stats.sessions == 1 + stood_still

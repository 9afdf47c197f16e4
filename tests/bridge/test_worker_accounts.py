"""Many accounts in one worker: each its own scope and session, changed while it runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._urls import api_key_secret, redis_url
from agentexchange.redis import RespStream
from agentexchange.testing import SandboxExchange
from agentexchange.upstream import FeedOptions
from agentexchange_bridge.accounts import Account
from agentexchange_schemas import Cause, FeedState, Kind, account_scope
from tests.bridge._kit import LAYOUT, eventually, until
from tests.bridge.test_worker import is_live, log, new_worker, running, settled, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange_bridge.worker import Worker
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

KEYS = {name: f"ak_live_{name}_secret" for name in ("alice", "bob", "carol")}
SCOPE = {name: account_scope(key) for name, key in KEYS.items()}


def accounts(*names: str) -> tuple[Account, ...]:
    return tuple(Account(name, api_key_secret(KEYS[name])) for name in names)


@pytest.fixture
async def exchange() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(rate=0, api_keys=tuple(KEYS.values()), pairs=20) as sandbox:
        yield sandbox


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(redis_server.url))
    yield stream
    stream.close()


def worker_of(exchange: SandboxExchange, server: RedisServer, *names: str, **changes: Any) -> Worker:
    return new_worker(exchange, server, accounts=accounts(*names), **changes)


def push(exchange: SandboxExchange, name: str, order_id: str) -> None:
    fields = {"order_id": order_id, "status": "pending", "symbol": "BTCUSDT", "side": "buy"}
    exchange.control.push_order(fields, api_key=KEYS[name])


async def orders(redis: RespStream, name: str) -> list[str]:
    return [event.data["order_id"] for event in await log(redis, SCOPE[name]) if event.topic == "orders"]


async def test_each_account_gets_its_own_orders_in_a_scope_of_its_own(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = worker_of(exchange, redis_server, "alice", "bob")
    async with running(worker):
        await is_live(worker)
        for number in range(20):
            push(exchange, "alice", f"a{number}")
            push(exchange, "bob", f"b{number}")
        await until(lambda: worker.stats.received[Kind.ORDERS] == 40)
        await settled(worker)
    assert await orders(redis, "alice") == [f"a{number}" for number in range(20)]
    assert await orders(redis, "bob") == [f"b{number}" for number in range(20)]
    assert len(exchange.control.connections) == 0
    assert exchange.control.connections_total == 3, "market data is taken once"


async def test_one_accounts_cut_blinds_neither_the_other_nor_the_market(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = worker_of(exchange, redis_server, "alice", "bob")
    async with running(worker):
        await is_live(worker)
        exchange.control.drop(api_key=KEYS["bob"])
        await until(lambda: worker.stats.upstreams["account:bob"].sessions == 2)
        await is_live(worker)
        await settled(worker)
    assert told(await log(redis, SCOPE["bob"]), Cause.UPSTREAM_LOST)
    for scope in ("m0", SCOPE["alice"]):
        assert not told(await log(redis, scope), Cause.UPSTREAM_LOST)


async def test_accounts_come_and_go_while_the_others_notice_nothing(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = worker_of(exchange, redis_server, "alice", "bob")
    async with running(worker):
        await is_live(worker)
        push(exchange, "bob", "b1")
        await until(lambda: worker.stats.received[Kind.ORDERS] == 1)
        worker.set_accounts(accounts("alice", "carol"))
        await until(lambda: "account:bob" not in worker.stats.upstreams)
        assert await redis.command("EXISTS", LAYOUT.lease(SCOPE["bob"])) == 0
        assert await orders(redis, "bob") == ["b1"], "what it held was written first"
        await is_live(worker)
        push(exchange, "carol", "c1")
        push(exchange, "alice", "a1")
        await until(lambda: worker.stats.received[Kind.ORDERS] == 3)
        await settled(worker)
        upstreams = worker.stats.upstreams
        assert {name: upstream.sessions for name, upstream in upstreams.items()} == {
            "market": 1, "account:alice": 1, "account:carol": 1,
        }  # fmt: skip
    assert (await orders(redis, "alice"), await orders(redis, "carol")) == (["a1"], ["c1"])
    assert [event.data["state"] for event in await log(redis, SCOPE["alice"]) if event.topic == "status"] == [
        "live",
        "blind",
    ], "live at the start, and shut down at the end"
    assert SCOPE["bob"] not in worker.stats.scopes


async def test_an_account_that_is_back_at_once_waits_for_its_own_end(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = worker_of(exchange, redis_server, "alice", "bob")
    async with running(worker):
        await is_live(worker)
        worker.set_accounts(accounts("alice"))
        worker.set_accounts(accounts("alice", "bob"))
        await until(lambda: worker.stats.upstreams["account:bob"].active)
        await is_live(worker)
        push(exchange, "bob", "b1")
        await until(lambda: worker.stats.received[Kind.ORDERS] == 1)
        await settled(worker)
    events = await log(redis, SCOPE["bob"])
    assert [event.seq for event in events if event.topic == "status"] == list(range(1, len(events)))
    assert await orders(redis, "bob") == ["b1"]


async def test_accounts_that_are_none_change_nothing(exchange: SandboxExchange, redis_server: RedisServer) -> None:
    worker = worker_of(exchange, redis_server, "alice")
    async with running(worker):
        await is_live(worker)
        with pytest.raises(ValueError, match="named twice"):
            worker.set_accounts(accounts("alice") * 2)
        assert worker.healthy


async def test_another_key_takes_the_market_over_where_the_first_is_refused(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    exchange.control.refuse_keys(KEYS["alice"])
    exchange.control.set_rate(200)
    exchange.control.set_heartbeat(0.1)
    options = {"feed_options": swift(), "exit_on_auth_failure": False}
    worker = worker_of(exchange, redis_server, "alice", "bob", **options)
    async with running(worker):
        await until(lambda: worker.stats.scopes["m0"].state is FeedState.LIVE)
        await until(lambda: worker.stats.received[Kind.TICKER] >= 10)
        await until(lambda: worker.stats.scopes[SCOPE["alice"]].state is FeedState.AUTH_FAILED)
        assert {connection.api_key for connection in exchange.control.connections} == {KEYS["bob"]}
        assert worker.stats.scopes[SCOPE["bob"]].state is FeedState.LIVE
    states = [event.data["state"] for event in await log(redis, "m0") if event.topic == "status"]
    assert states == ["auth_failed", "live", "blind"], "refused, taken over, shut down"


async def test_the_market_moves_to_another_key_when_its_own_is_taken_away(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    worker = worker_of(exchange, redis_server, "alice", "bob")
    async with running(worker):
        await is_live(worker)
        worker.set_accounts(accounts("bob"))
        await eventually(lambda: _only(exchange, "bob"))
        await is_live(worker)
        exchange.control.tick(5)
        await until(lambda: worker.stats.received[Kind.TICKER] == 5)


def swift() -> FeedOptions:
    """Time at fifty times its speed."""
    return FeedOptions(clock=lambda: 50 * time.monotonic(), sleep=lambda seconds: asyncio.sleep(seconds / 50))


async def _only(exchange: SandboxExchange, name: str) -> bool:
    await asyncio.sleep(0)
    keys = [connection.api_key for connection in exchange.control.connections]
    return keys == [KEYS[name]] * 2

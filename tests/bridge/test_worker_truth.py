"""What happened to an account while no session was open: a real exchange, real workers, a real server."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from agentexchange._urls import api_key_secret, redis_url
from agentexchange.redis import RespStream
from agentexchange.testing import SandboxExchange
from agentexchange.truth._orders import state_of
from agentexchange.upstream import FeedOptions
from agentexchange_bridge.accounts import Account
from agentexchange_bridge.last_known import LastKnown
from agentexchange_bridge.reconcile import ReconcileOptions
from agentexchange_bridge.rest import rest_url
from agentexchange_schemas import Cause, FeedState, Kind
from agentexchange_schemas.envelope import decode
from tests.bridge._kit import LAYOUT, eventually, until
from tests.bridge.test_worker import ACCOUNT, KEY, is_live, log, new_worker, running, settled, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from agentexchange_bridge.reconcile import Reconciler
    from agentexchange_bridge.worker import Worker
    from agentexchange_schemas import FeedStatus
    from agentexchange_schemas.envelope import Envelope
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

SECRET = "sk_live_worker_test_secret"


async def _hurried(seconds: float) -> None:
    await asyncio.sleep(min(seconds, 0.05))


@pytest.fixture
async def exchange() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(rate=0, api_keys=(KEY,), api_secret=SECRET, pairs=20) as sandbox:
        yield sandbox


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(redis_server.url))
    yield stream
    stream.close()


def worker_of(exchange: SandboxExchange, server: RedisServer, worker_id: str = "w1", *, rest: bool = True) -> Worker:
    account = Account("default", api_key_secret(KEY), SecretStr(SECRET))
    url = rest_url(exchange.rest_url) if rest else None
    hurried = FeedOptions(sleep=_hurried)
    worker = new_worker(exchange, server, worker_id, accounts=(account,), rest_url=url, feed_options=hurried)
    reconciler_of(worker)._options = ReconcileOptions(ask_again_s=(0.01,) * 500)
    return worker


def reconciler_of(worker: Worker) -> Reconciler:
    reconciler = worker._accounts[ACCOUNT].intake.reconciler
    assert reconciler is not None
    return reconciler


async def cut(exchange: SandboxExchange, worker: Worker) -> None:
    """No session is open, and none can be opened."""
    exchange.control.refuse_handshakes(503)
    exchange.control.drop()
    await until(lambda: all(scope.state is FeedState.BLIND for scope in worker.stats.scopes.values()))


async def mend(exchange: SandboxExchange, worker: Worker) -> None:
    exchange.control.accept_handshakes()
    await is_live(worker)


async def asked(worker: Worker) -> None:
    """The answer was handed out, and is written."""
    reconciler = reconciler_of(worker)
    await until(lambda: reconciler._owed is None and reconciler._truth._touched is None and reconciler._is_read)
    await until(lambda: not reconciler._due.is_set())
    await settled(worker)


def order(order_id: str, status: str = "pending", executed: str | None = None, **more: Any) -> dict[str, Any]:
    fields = {"order_id": order_id, "status": status, "symbol": "BTCUSDT", "side": "buy", "quantity": "10", **more}
    return fields if executed is None else fields | {"executed_quantity": executed, "executed_price": "1"}


def lives(events: Iterable[Envelope]) -> dict[str, list[dict[str, Any]]]:
    """What was handed out, by order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.topic == "orders":
            found.setdefault(event.data["order_id"], []).append(event.data)
    return found


def flags(fields: Iterable[dict[str, Any]]) -> list[tuple[str, bool]]:
    return [(each["status"], each.get("reconciled", False)) for each in fields]


async def notices(redis: RespStream, cause: Cause) -> list[FeedStatus]:
    return told(await log(redis, ACCOUNT), cause)


async def test_with_rest_each_missed_change_arrives_once_and_flagged(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    control, worker = exchange.control, worker_of(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        for order_id in ("filled", "partly", "still", "cancelled"):
            control.push_order(order(order_id))
        control.push_portfolio({"total_equity": "100", "available_cash": "100", "realized_pnl": "0"})
        await until(lambda: worker.stats.received[Kind.PORTFOLIO] == 1)
        await cut(exchange, worker)
        control.push_order(order("filled", "filled", "10", filled_at="2026-02-23T15:30:45.123Z"))
        control.push_order(order("partly", "partially_filled", "4"))
        control.push_order(order("cancelled", "cancelled"))
        control.push_order(order("placed"))
        control.push_order(order("over"))
        control.push_order(order("over", "filled", "10"))
        control.push_portfolio({"total_equity": "90", "available_cash": "50", "realized_pnl": "-1"})
        await mend(exchange, worker)
        await eventually(lambda: notices(redis, Cause.RECONCILED))
        control.push_order(order("partly", "filled", "10"))
        await until(lambda: worker.stats.received[Kind.ORDERS] == 5)
        await settled(worker)
    events = await log(redis, ACCOUNT)
    assert {name: flags(life) for name, life in lives(events).items()} == {
        "filled": [("pending", False), ("filled", True)],
        "partly": [("pending", False), ("partially_filled", True), ("filled", False)],
        "still": [("pending", False)],
        "cancelled": [("pending", False), ("cancelled", True)],
        "placed": [("pending", True)],
        "over": [("filled", True)],
    }
    worth = [event.data for event in events if event.topic == "portfolio"]
    assert [(fields["available_cash"], fields.get("reconciled")) for fields in worth] == [("100", None), ("50", True)]
    (status,) = told(events, Cause.RECONCILED)
    (blind,) = told(events, Cause.UPSTREAM_LOST)
    assert (status.state, status.topic, status.count) == (FeedState.LIVE, "orders", 6)
    assert (status.since, status.scope) == (blind.since, ACCOUNT)
    assert told(events, Cause.ORDERS_UNKNOWN) == []
    assert (worker.stats.scopes[ACCOUNT].reconciled, worker.stats.scopes[ACCOUNT].rest_failures) == (6, 0)
    latest = decode(await redis.command("GET", LAYOUT.latest(ACCOUNT, "orders", "filled"))).data
    assert (latest["status"], latest["reconciled"]) == ("filled", True)
    assert sorted(await redis.command("SMEMBERS", LAYOUT.latest(ACCOUNT, "orders"))) == [b"placed", b"still"]


async def test_random_orders_end_as_they_are_at_the_exchange(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    control, worker = exchange.control, worker_of(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        for _ in range(4):
            control.step_orders(25)
            await cut(exchange, worker)
            control.step_orders(40)
            exchange.control.accept_handshakes()
            control.step_orders(5)
            await is_live(worker)
            control.step_orders(10)
        await asked(worker)
        control.step_orders(20)
        control.push_order(order("the end"))
        await eventually(lambda: redis.command("EXISTS", LAYOUT.latest(ACCOUNT, "orders", "the end")))
    handed = lives(await log(redis, ACCOUNT))
    truth = {fields["order_id"]: fields for fields in exchange._engine.ledger(KEY).newest()}
    assert handed.keys() == truth.keys()
    for order_id, life in handed.items():
        states = [state_of(fields) for fields in life]
        assert states[-1].progress == state_of(truth[order_id]).progress, order_id
        assert all(after.is_news_after(before) for before, after in pairwise(states)), "each change once"
    assert any("reconciled" in fields for life in handed.values() for fields in life)


async def test_without_rest_what_may_be_missing_is_told(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    control, worker = exchange.control, worker_of(exchange, redis_server, rest=False)
    async with running(worker):
        await is_live(worker)
        control.push_order(order("open"))
        control.push_order(order("done", "filled", "10"))
        control.push_portfolio({"total_equity": "100", "available_cash": "100", "realized_pnl": "0"})
        await until(lambda: worker.stats.received[Kind.PORTFOLIO] == 1)
        await cut(exchange, worker)
        control.push_order(order("open", "filled", "10"))
        await mend(exchange, worker)
        await eventually(lambda: notices(redis, Cause.ORDERS_UNKNOWN))
        control.push_portfolio({"total_equity": "90", "available_cash": "50", "realized_pnl": "-1"})
        await until(lambda: worker.stats.received[Kind.PORTFOLIO] == 2)
        await settled(worker)
    events = await log(redis, ACCOUNT)
    first, second = told(events, Cause.ORDERS_UNKNOWN)
    assert (first.topic, first.state, first.count) == ("orders", FeedState.LIVE, 1)
    assert "1 open order may have changed (open)" in str(first.message)
    assert (second.topic, second.since, second.until) == ("portfolio", first.since, first.until)
    assert [event.data for event in events if event.topic == "portfolio"][-1]["reconciled"] is True
    assert exchange.control.rest_requests == 0


async def test_where_rest_fails_it_is_told_and_asked_again(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    control, worker = exchange.control, worker_of(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        control.push_order(order("open"))
        await until(lambda: worker.stats.received[Kind.ORDERS] == 1)
        await cut(exchange, worker)
        control.push_order(order("open", "filled", "10"))
        control.refuse_rest(503)
        await mend(exchange, worker)
        await eventually(lambda: notices(redis, Cause.ORDERS_UNKNOWN))
        control.garble_rest(b"<html>")
        await control.wait_for_rest_requests(control.rest_requests + 3)
        control.accept_rest()
        await eventually(lambda: notices(redis, Cause.RECONCILED))
    events = await log(redis, ACCOUNT)
    (status,) = told(events, Cause.ORDERS_UNKNOWN)
    assert "the platform could not be asked (HTTP 503)" in str(status.message)
    assert "(open)" in str(status.message)
    assert flags(lives(events)["open"]) == [("pending", False), ("filled", True)]
    assert worker.stats.scopes[ACCOUNT].rest_failures >= 3


async def test_a_platform_that_never_answers_is_asked_so_often_and_again_after_the_next_span(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    control, worker = exchange.control, worker_of(exchange, redis_server)
    reconciler_of(worker)._options = ReconcileOptions(ask_again_s=(0.0, 0.0))
    async with running(worker):
        await is_live(worker)
        control.push_order(order("open"))
        await until(lambda: worker.stats.received[Kind.ORDERS] == 1)
        await cut(exchange, worker)
        control.push_order(order("open", "filled", "10"))
        control.refuse_rest(401)
        await mend(exchange, worker)
        await until(lambda: reconciler_of(worker)._unasked is not None)
        assert control.rest_requests == 3
        control.accept_rest()
        await cut(exchange, worker)
        await mend(exchange, worker)
        await eventually(lambda: notices(redis, Cause.RECONCILED))
    events = await log(redis, ACCOUNT)
    (unknown,), (late,) = told(events, Cause.ORDERS_UNKNOWN), told(events, Cause.RECONCILED)
    assert late.since == unknown.since, "the span that nobody answered for is part of it"
    assert "refused (HTTP 401)" in str(unknown.message)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_span_from_one_worker_to_the_next_is_reconciled_from_what_redis_holds(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream, *, is_killed: bool
) -> None:
    control, first = exchange.control, worker_of(exchange, redis_server)
    running_first = asyncio.create_task(first.run())
    await is_live(first)
    control.push_order(order("open"))
    control.push_order(order("done", "filled", "10", filled_at=exchange._engine.now()))
    control.push_order(order("kept"))
    control.push_portfolio({"total_equity": "100", "available_cash": "100", "realized_pnl": "0"})
    await until(lambda: first.stats.received[Kind.PORTFOLIO] == 1)
    await settled(first)
    if is_killed:
        running_first.cancel()
    else:
        first.stop()
    await asyncio.gather(running_first, return_exceptions=True)
    control.push_order(order("open", "filled", "10", filled_at=exchange._engine.now()))
    control.push_portfolio({"total_equity": "90", "available_cash": "50", "realized_pnl": "-1"})
    second = worker_of(exchange, redis_server, "w2")
    async with running(second):
        await is_live(second)
        await eventually(lambda: notices(redis, Cause.RECONCILED))
        await settled(second)
    events = await log(redis, ACCOUNT)
    assert {name: flags(life) for name, life in lives(events).items()} == {
        "open": [("pending", False), ("filled", True)],
        "done": [("filled", False)],
        "kept": [("pending", False)],
    }
    assert [event.data.get("reconciled") for event in events if event.topic == "portfolio"] == [None, True]
    (status,) = told(events, Cause.RECONCILED)
    assert status.count == 2
    assert status.since in [blind.since for blind in told(events, Cause.TAKEOVER)]


async def test_without_rest_the_next_worker_names_the_orders_that_the_last_one_left_open(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    first, second = (worker_of(exchange, redis_server, name, rest=False) for name in ("w1", "w2"))
    async with running(first):
        await is_live(first)
        exchange.control.push_order(order("with space"))
        await until(lambda: first.stats.received[Kind.ORDERS] == 1)
    async with running(second):
        await is_live(second)
        await eventually(lambda: notices(redis, Cause.ORDERS_UNKNOWN))
    (status,) = await notices(redis, Cause.ORDERS_UNKNOWN)
    assert "1 open order may have changed (with space)" in str(status.message)


async def test_a_first_worker_has_nothing_to_ask(exchange: SandboxExchange, redis_server: RedisServer) -> None:
    exchange.control.step_orders(20)
    worker = worker_of(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        await asked(worker)
    assert exchange.control.rest_requests == 0


async def test_no_secret_is_shown_whatever_fails(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    control, worker = exchange.control, worker_of(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        for fault in (lambda: control.refuse_rest(403), lambda: control.garble_rest(f"{KEY} {SECRET}".encode())):
            await cut(exchange, worker)
            fault()
            await mend(exchange, worker)
            await control.wait_for_rest_requests(control.rest_requests + 2)
            control.accept_rest()
            await asked(worker)
    shown = caplog.text + repr(reconciler_of(worker).rest) + repr(worker.config) + str(await log(redis, ACCOUNT))
    assert SECRET not in shown
    assert KEY not in shown
    keys = await redis.command("KEYS", "*")
    assert not [key for key in keys if KEY.encode() in key or SECRET.encode() in key]


async def test_a_new_secret_is_used_without_a_restart(exchange: SandboxExchange, redis_server: RedisServer) -> None:
    worker = worker_of(exchange, redis_server)
    before = reconciler_of(worker).rest
    (account,) = worker.config.accounts
    worker.set_accounts([replace(account, secret=SecretStr("sk_other"))])
    after = reconciler_of(worker).rest
    assert after is not None
    assert after is not before
    assert after._secrets[1].get_secret_value() == "sk_other"


async def test_what_redis_holds_is_read_in_chunks_and_junk_is_passed_over(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = worker_of(exchange, redis_server, rest=False)
    async with running(worker):
        await is_live(worker)
        for number in range(1201):
            exchange.control.push_order(order(f"o{number}"))
        await until(lambda: worker.stats.received[Kind.ORDERS] == 1201)
        await settled(worker)
    await redis.command("SET", LAYOUT.latest(ACCOUNT, "orders", "o7"), b"\xc1junk")
    await redis.command("SADD", LAYOUT.latest(ACCOUNT, "orders"), b"\xff", "nobody")
    await redis.command("SET", LAYOUT.latest(ACCOUNT, "portfolio"), b"junk")

    async def connect() -> RespStream:
        return await RespStream.connect(redis_url(redis_server.url))

    known = LastKnown(ACCOUNT, LAYOUT, connect)
    orders, portfolio = await known.load()
    assert (len(orders), portfolio) == (1200, None)
    assert [fields["order_id"] for fields in await known.orders(["o3", "o7", "x y"])] == ["o3"]
    assert await known.orders([]) == []

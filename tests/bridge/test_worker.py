"""The whole worker between a sandbox exchange and a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agentexchange import AuthenticationError
from agentexchange._urls import api_key_secret, redis_url, upstream_url
from agentexchange.candles import CandleSource
from agentexchange.redis import RespStream
from agentexchange.testing import SandboxExchange
from agentexchange.upstream import FeedOptions
from agentexchange_bridge.accounts import Account
from agentexchange_bridge.config import WorkerConfig
from agentexchange_bridge.notices import to_us
from agentexchange_bridge.worker import Worker
from agentexchange_schemas import Cause, FeedState, FeedStatus, Kind, Layout, LayoutError, Topic, account_scope
from tests._patience import PATIENCE_S
from tests.bridge._kit import LAYOUT, eventually, read_log, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from agentexchange_schemas.envelope import Envelope
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

KEY = "ak_live_worker_test_secret"
ACCOUNT = account_scope(KEY)
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def exchange() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(rate=0, api_keys=(KEY,), pairs=20, push_candles=True) as sandbox:
        yield sandbox


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(redis_server.url))
    yield stream
    stream.close()


def new_worker(exchange: SandboxExchange, server: RedisServer, worker_id: str = "w1", **changes: Any) -> Worker:
    options = {"feed_options": changes.pop("feed_options", None)}
    quick = {"beat_s": 0.1, "standby_s": 0.05, "redis_backoff_cap_s": 0.1}
    calm = {"tick_stale_after_s": 3600.0}  # most tests have an exchange that ticks only when it is told to
    one = {"accounts": (Account("default", api_key_secret(KEY)),)}
    config = WorkerConfig(
        upstream_url=upstream_url(exchange.url),
        redis_url=redis_url(server.url),
        worker_id=worker_id,
        **quick | calm | one | changes,
    )
    return Worker(config, **options)


@contextlib.asynccontextmanager
async def running(*workers: Worker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
        for worker in workers:
            worker.stop()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def is_live(worker: Worker) -> None:
    await until(lambda: worker.stats.upstream_state is FeedState.LIVE and worker.healthy)
    await until(lambda: all(scope.state is FeedState.LIVE for scope in worker.stats.scopes.values()))


async def settled(worker: Worker) -> None:
    await until(lambda: all(writer.outbox.is_empty for writer in worker._writers.values()))


async def log(redis: RespStream, scope: str) -> list[Envelope]:
    return [event for _, event in await read_log(redis, LAYOUT.log(scope))]


def told(events: list[Envelope], cause: Cause) -> list[FeedStatus]:
    statuses = [FeedStatus.from_fields(event.data) for event in events if event.topic == "status"]
    return [status for status in statuses if status.cause == cause]


async def status_of(redis: RespStream, scope: str) -> dict[str, str]:
    flat = [part.decode() for part in await redis.command("HGETALL", LAYOUT.status(scope))]
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def has_state(redis: RespStream, scope: str, state: str) -> bool:
    return (await status_of(redis, scope)).get("state") == state


async def test_every_kind_of_event_reaches_its_scope(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    candles = (Topic.candles("BTCUSDT", "1m"),)
    worker = new_worker(exchange, redis_server, topics=(Topic.ticker("all"), *candles))
    async with running(worker):
        await is_live(worker)
        await exchange.control.wait_for_subscriptions("ticker:all", "candles:BTCUSDT:1m", "orders", "portfolio")
        prices = {"open": "1", "high": "2", "low": "1", "close": "2", "volume": "9", "time": "2026-02-23T15:30:00Z"}
        exchange.control.tick(50)
        exchange.control.push_candle("BTCUSDT", "1m", prices | {"is_closed": False})
        exchange.control.push_candle("BTCUSDT", "1m", prices | {"is_closed": True})
        exchange.control.push_order({"order_id": "o 1", "status": "filled", "symbol": "BTCUSDT", "side": "buy"})
        exchange.control.push_portfolio({"total_equity": "100.0"})
        received = worker.stats.received
        await until(lambda: received[Kind.TICKER] == 50 and received[Kind.PORTFOLIO] >= 1)
        await settled(worker)
    market, account = await log(redis, "m0"), await log(redis, ACCOUNT)
    assert len([event for event in market if event.topic.startswith("ticker:")]) == 50
    (closed,) = await read_log(redis, LAYOUT.candle_log("m0"))
    assert closed[1].data["is_closed"] is True
    assert [event.topic for event in account if event.topic != "status"] == ["orders", "portfolio"]
    hashed = LAYOUT.latest(ACCOUNT, "orders", "o 1")
    assert "o 1" not in hashed
    assert await redis.command("EXISTS", hashed) == 1
    assert worker.stats.received[Kind.CANDLES] == 2
    assert sum(worker.stats.unowned.values()) == worker.stats.oversized == 0


async def test_a_blind_span_is_told_in_every_scope(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = new_worker(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        exchange.control.refuse_handshakes(503)
        exchange.control.drop()
        await until(lambda: worker.stats.upstream_state is FeedState.BLIND)
        assert not worker.healthy
        await until(lambda: all(scope.state is FeedState.BLIND for scope in worker.stats.scopes.values()))
        assert (await status_of(redis, "m0"))["state"] == "blind"
        exchange.control.accept_handshakes()
        await is_live(worker)
        assert (worker.stats.sessions, worker.stats.reconnects) == (4, 2)
    for scope in ("m0", ACCOUNT):
        events = await log(redis, scope)
        (begin,) = told(events, Cause.UPSTREAM_LOST)
        (end,) = told(events, Cause.RECONNECTED)
        assert (begin.scope, begin.until, end.since) == (scope, None, begin.since)
        assert end.until is not None
        assert end.until > begin.since


async def test_a_silent_market_is_stale_in_its_scope_until_a_tick_comes(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = new_worker(exchange, redis_server, tick_stale_after_s=0.2)
    async with running(worker):
        await is_live(worker)
        exchange.control.tick(5)
        await until(lambda: worker.stats.scopes["m0"].state is FeedState.STALE)
        await eventually(lambda: has_state(redis, "m0", "stale"))
        await until(lambda: worker.stats.reconnects >= 1 and worker.stats.scopes[ACCOUNT].state is FeedState.LIVE)
        while worker.stats.scopes["m0"].state is not FeedState.LIVE:
            exchange.control.tick(1)
            await asyncio.sleep(0.01)
    events = await log(redis, "m0")
    stale = next(status for status in told(events, Cause.UPSTREAM_SILENT) if status.state is FeedState.STALE)
    end = told(events, Cause.RECONNECTED)[0]
    last_tick_us = max(event.received_us for event in events[:7] if event.topic != "status")
    assert abs(to_us(stale.since) - last_tick_us) < 50_000
    assert (end.state, end.since) == (FeedState.LIVE, stale.since)
    assert not [status for status in told(await log(redis, ACCOUNT), Cause.UPSTREAM_SILENT) if status.state == "stale"]


async def test_a_standby_has_no_session_and_takes_over_at_once_after_a_stop(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    first, second = new_worker(exchange, redis_server), new_worker(exchange, redis_server, "w2")
    async with contextlib.AsyncExitStack() as stack:
        async with running(first):
            await is_live(first)
            await stack.enter_async_context(running(second))
            await until(lambda: second.ready)
            assert len(exchange.control.connections) == 2, "one for the market, one for the account"
            assert second.healthy, "standing by is what it is for"
            exchange.control.tick(10)
            await until(lambda: first.stats.received[Kind.TICKER] == 10)
            await eventually(lambda: registered(redis, 2))
        await is_live(second)
        exchange.control.tick(10)
        await until(lambda: second.stats.received[Kind.TICKER] == 10)
        await settled(second)
    seqs: dict[str, int] = {}
    for event in await log(redis, "m0"):
        assert event.seq == seqs.get(event.topic, 0) + 1
        seqs[event.topic] = event.seq
    assert len(told(await log(redis, "m0"), Cause.TAKEOVER)) == 2
    assert await redis.command("EXISTS", LAYOUT.workers, LAYOUT.lease("m0"), LAYOUT.lease(ACCOUNT)) == 0


async def test_a_scope_taken_over_later_than_the_others_is_blind_until_it_was_granted_and_subscribed(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    """The feed has been live for long; that says nothing about a scope that another worker had until now."""
    other = new_worker(exchange, redis_server, "w2", topics=(), follow_interest=False)
    worker = new_worker(exchange, redis_server)
    async with contextlib.AsyncExitStack() as stack:
        async with running(other):
            await is_live(other)
            await stack.enter_async_context(running(worker))
            await until(lambda: worker.stats.scopes["m0"].state is FeedState.LIVE)
            assert not worker._writers[ACCOUNT].is_owner
        await is_live(worker)
        await settled(worker)
    events = await log(redis, ACCOUNT)
    begin, end = told(events, Cause.TAKEOVER)
    granted_us = next(event.received_us for event in events if event.data.get("cause") == Cause.TAKEOVER)
    assert (begin.state, end.state, end.since) == (FeedState.BLIND, FeedState.LIVE, begin.since)
    assert end.until is not None
    assert to_us(end.until) > granted_us > to_us(begin.since)


async def registered(redis: RespStream, count: int) -> bool:
    return bool(await redis.command("ZCARD", LAYOUT.workers) == count)


class Hasty:
    """A feed's time, in which waits take none."""

    def __init__(self) -> None:
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0.001)

    def options(self) -> FeedOptions:
        return FeedOptions(clock=self.clock, sleep=self.sleep)


async def test_a_refused_key_is_told_in_the_status_and_tried_again(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    exchange.control.refuse_keys(KEY)
    worker = new_worker(exchange, redis_server, feed_options=Hasty().options())
    async with running(worker):
        await until(lambda: all(scope.state is FeedState.AUTH_FAILED for scope in worker.stats.scopes.values()))
        for scope in ("m0", ACCOUNT):
            await eventually(lambda scope=scope: has_state(redis, scope, "auth_failed"))
        exchange.control.accept_keys(KEY)
        await until(lambda: worker.stats.sessions >= 1)


async def test_a_refused_key_ends_the_worker_only_when_asked_to(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    exchange.control.refuse_keys(KEY)
    worker = new_worker(exchange, redis_server, exit_on_auth_failure=True, feed_options=Hasty().options())
    with pytest.raises(AuthenticationError) as caught:
        await asyncio.wait_for(worker.run(), 15)
    assert KEY not in str(caught.value)
    states = [(await status_of(redis, scope)).get("state") for scope in ("m0", ACCOUNT)]
    assert "auth_failed" in states, "one of its sessions heard it first"
    assert await redis.command("EXISTS", LAYOUT.lease("m0"), LAYOUT.lease(ACCOUNT)) == 0


async def test_another_layout_is_refused_in_words(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    async with running(new_worker(exchange, redis_server, partitions=2)):
        await eventually(lambda: redis.command("EXISTS", LAYOUT.meta))
        assert await redis.command("HGETALL", LAYOUT.meta) == [b"version", b"1", b"partitions", b"2"]
    with pytest.raises(LayoutError, match="2 partitions"):
        await asyncio.wait_for(new_worker(exchange, redis_server).run(), 10)
    await redis.command("HSET", LAYOUT.meta, "version", "next")
    with pytest.raises(LayoutError, match="version next"):
        await asyncio.wait_for(new_worker(exchange, redis_server, partitions=2).run(), 10)


async def test_partitions_split_the_market(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    worker = new_worker(exchange, redis_server, partitions=3, account=False)
    async with running(worker):
        await is_live(worker)
        exchange.control.tick(200)
        await until(lambda: worker.stats.received[Kind.TICKER] == 200)
        await settled(worker)
    layout, seen = Layout(partitions=3), 0
    for scope in layout.market_scopes:
        events = [event for event in await log(redis, scope) if event.topic != "status"]
        assert all(layout.market_scope(event.data["symbol"]) == scope for event in events)
        seen += len(events)
    assert seen == 200


async def test_a_topic_that_upstream_refuses_is_told_in_its_scope_only(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    topics = (Topic.ticker("all"), Topic.candles("BTCUSDT", "4h"))
    worker = new_worker(exchange, redis_server, topics=topics, candles=CandleSource.UPSTREAM)
    async with running(worker):
        await is_live(worker)
        await settled(worker)
    (refused,) = [
        FeedStatus.from_fields(event.data)
        for event in await log(redis, "m0")
        if event.data.get("state") == "unavailable"
    ]
    assert (refused.topic, refused.scope) == ("candles:BTCUSDT:4h", "m0")
    assert not [event for event in await log(redis, ACCOUNT) if event.data.get("state") == "unavailable"]


async def test_the_api_key_is_nowhere(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[Any] = []
    ears = await RespStream.connect(redis_url(redis_server.url), on_replies=heard.extend)
    ears.write(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n")
    worker = new_worker(exchange, redis_server)
    async with running(worker):
        await is_live(worker)
        exchange.control.step_orders(5)
        exchange.control.tick(5)
        exchange.control.push({"channel": "ticker", "api_key": KEY})
        await until(lambda: worker.stats.junk)
        exchange.control.refuse_keys(KEY)
        exchange.control.drop()
        await until(lambda: worker.stats.upstream_state is FeedState.BLIND)
    everything = [await redis.command("DUMP", key) + key for key in await redis.command("KEYS", "*")]
    assert len(everything) > 5
    printed = capsys.readouterr()
    texts = [*map(repr, everything), repr(heard), printed.out, printed.err, repr(worker.config), repr(worker.stats)]
    assert "lease acquired" in printed.out
    assert not [text for text in texts if KEY in text]
    ears.close()


async def test_a_worker_that_cannot_drain_leaves_after_its_deadline(
    exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    worker = new_worker(exchange, redis_server, drain_s=0.2)
    task = asyncio.create_task(worker.run())
    await is_live(worker)
    await asyncio.to_thread(redis_server.kill)
    exchange.control.tick(10)
    await until(lambda: worker.stats.received[Kind.TICKER] == 10 and not worker.ready)
    worker.stop()
    with structlog.testing.capture_logs() as logs:
        await asyncio.wait_for(task, PATIENCE_S)
    assert any(entry.get("lost", 0) >= 10 for entry in logs)


# Real processes


@pytest.fixture
def start(exchange: SandboxExchange, redis_server: RedisServer) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []

    def launch(worker_id: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.bridge._worker_process", exchange.url, redis_server.url, KEY, worker_id]
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL))
        return processes[-1]

    yield launch
    for process in processes:
        process.kill()
        process.wait(10)


async def is_held_by(redis: RespStream, worker_id: str) -> bool:
    owner = (await redis.command("GET", LAYOUT.lease("m0"))) or b""
    return owner.startswith(worker_id.encode()) and (await status_of(redis, "m0")).get("worker") == worker_id


async def writes(exchange: SandboxExchange, redis: RespStream, worker_id: str) -> int:
    """Tick until this worker writes; the epoch it writes under."""
    await eventually(lambda: is_held_by(redis, worker_id))
    epoch = int((await status_of(redis, "m0"))["epoch"])

    async def has_ticks() -> bool:
        exchange.control.tick(5)
        return any(event.epoch == epoch and event.topic != "status" for event in await log(redis, "m0"))

    await eventually(has_ticks)
    return epoch


async def test_a_killed_worker_is_followed_and_a_stopped_one_writes_nothing_under_its_old_epoch(
    exchange: SandboxExchange, redis: RespStream, start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    first = start("first")
    epochs = [await writes(exchange, redis, "first")]
    second = start("second")
    await eventually(lambda: registered(redis, 2))
    os.kill(first.pid, signal.SIGKILL)
    epochs.append(await writes(exchange, redis, "second"))
    third = start("third")
    os.kill(second.pid, signal.SIGSTOP)
    epochs.append(await writes(exchange, redis, "third"))
    os.kill(second.pid, signal.SIGCONT)
    # it comes back, finds itself fenced, and stands by
    await eventually(lambda: redis.command("ZSCORE", LAYOUT.workers, "second"))
    os.kill(third.pid, signal.SIGTERM)
    epochs.append(await writes(exchange, redis, "second"))
    assert await asyncio.to_thread(third.wait, PATIENCE_S) == 0
    events = await log(redis, "m0")
    assert [event.epoch for event in events] == sorted(event.epoch for event in events)
    assert sorted({event.epoch for event in events}) == epochs == sorted(set(epochs))
    seqs: dict[str, int] = {}
    for event in events:
        assert event.seq == seqs.get(event.topic, 0) + 1
        seqs[event.topic] = event.seq
    spans = [status for status in told(events, Cause.TAKEOVER) if status.until is not None]
    assert len(spans) == 3

"""Candles through a bridge, on a platform that pushes none: right, and none lost or doubled by a restart."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS
from agentexchange._urls import api_key_secret, redis_url, upstream_url
from agentexchange.redis import RespStream
from agentexchange.testing import SandboxExchange
from agentexchange_bridge.accounts import Account
from agentexchange_bridge.config import WorkerConfig
from agentexchange_bridge.worker import Worker
from agentexchange_schemas import Kind, Layout, Topic, envelope
from tests._candle_market import SYMBOL, CandleMarket, at, fast
from tests.integration import _system
from tests.integration._system import KEY, client, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agentexchange_bridge.candles import ScopeCandles
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

MINUTE, QUARTER, FOUR, DAY = (f"candles:{SYMBOL}:{interval}" for interval in ("1m", "15m", "4h", "1d"))
TICKER = f"ticker:{SYMBOL}"
Candles = dict[str, list[dict[str, Any]]]


def new_worker(market: CandleMarket, server: RedisServer, name: str, *topics: str) -> Worker:
    """A worker on the market's clock, quick to take over."""
    config = WorkerConfig(
        upstream_url=upstream_url(market.exchange.url),
        redis_url=redis_url(server.url),
        accounts=(Account("default", api_key_secret(KEY)),),
        worker_id=name,
        topics=tuple(map(Topic.parse, topics or (QUARTER, FOUR))),
        account=False,
        beat_s=0.1,
        lease_ttl_s=1.0,
        standby_s=0.05,
    )
    return Worker(config, feed_options=fast(market.clock))


@contextlib.asynccontextmanager
async def running(market: CandleMarket, worker: Worker, *, crashes: bool = False) -> AsyncIterator[Worker]:
    """A worker that sees the ticks; ended as by SIGTERM, or as by a crash."""
    before, task = len(market.ticks), asyncio.create_task(worker.run())
    market.arrived = lambda: before + worker.stats.received[Kind.TICKER]
    try:
        await eventually(lambda: is_looking(worker), what="candles that are built")
        yield worker
        if not crashes:
            worker.stop()
            await asyncio.wait_for(task, 10)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def of(worker: Worker) -> ScopeCandles:
    assert worker._market is not None
    return worker._market.intake.candles["m0"]


def is_looking(worker: Worker) -> bool:
    """Whether the history is read, and ticks are counted as seen."""
    return of(worker).is_restored and not of(worker)._desk._sight.waiting()


async def logged(server: RedisServer) -> Candles:
    """Every closed candle in the log, by topic."""
    stream = await RespStream.connect(redis_url(server.url))
    found: Candles = defaultdict(list)
    for _, fields in await stream.command("XRANGE", Layout().candle_log("m0"), "-", "+"):
        event = envelope.decode(fields[1])
        found[event.topic].append(event.data)
    stream.close()
    return found


async def are_heard(server: RedisServer, *topics: str) -> None:
    """Wait until somebody is subscribed to each of these."""
    stream = await RespStream.connect(redis_url(server.url))
    channels = [Layout().channel("m0", topic) for topic in topics]

    async def are() -> bool:
        counts = (await stream.command("PUBSUB", "NUMSUB", *channels))[1::2]
        return all(counts)

    await eventually(are, what="subscribers")
    stream.close()


def has(candles: list[dict[str, Any]], opened: str) -> bool:
    return any(fields["open_time"][11:16] == opened for fields in candles)


async def is_logged(server: RedisServer, topic: str, opened: str) -> bool:
    return has((await logged(server))[topic], opened)


def noting(got: Candles, *topics: str, **options: Any) -> Callable[[AgentExchangeWS], None]:
    """Handlers that note the candles of these topics."""

    def register(ws: AgentExchangeWS) -> None:
        for topic in topics:
            note = got[topic].append

            @ws.on_candles(*topic.split(":")[1:], **options)
            async def handler(data: dict[str, Any], note: Callable[[Any], None] = note) -> None:
                note(data)

    return register


def by_topic(closed: list[tuple[str, dict[str, Any]]]) -> Candles:
    found: Candles = defaultdict(list)
    for topic, fields in closed:
        found[topic].append(fields)
    return found


async def test_long_candles_are_right_across_restarts_and_say_what_was_not_seen(redis_server: RedisServer) -> None:
    start, market, got, restarts = at("11:50:00"), CandleMarket(at("11:50:00"), api_key=KEY), defaultdict(list), []
    async with market.exchange, contextlib.AsyncExitStack() as stack:
        async with running(market, new_worker(market, redis_server, "w1")):
            await stack.enter_async_context(client(redis_server.url, noting(got, QUARTER, FOUR)))
            await are_heard(redis_server, QUARTER, FOUR)
            await market.trade(at("12:40:20"))
        for name, down_s, until in (("w2", 7.0, "13:05:00.500"), ("w3", 95.0, "20:00:03")):
            down_us = market.clock.us()
            market.clock.now += down_s
            restarts.append((down_us, market.clock.us()))
            async with running(market, new_worker(market, redis_server, name)):
                await market.trade(at(until))
                await eventually(lambda until=until: is_logged(redis_server, MINUTE, minute_before(until)))
        await eventually(lambda: len(got[FOUR]) == 3)

    reference = market.reference("15m", "4h", wanted_at=start)
    for down_us, up_us in restarts:
        reference.restarted(down_us, up_us)
        reference.blind(up_us, up_us, symbol=SYMBOL)
    expected = by_topic(reference.close_due(market.clock.us()))
    assert await logged(redis_server) == expected
    assert got == {topic: expected[topic] for topic in (QUARTER, FOUR)}
    assert [fields["complete"] for fields in got[FOUR]] == [False, False, True]
    assert sum(not fields["complete"] for fields in expected[MINUTE]) == 1 + 1 + 3  # the start, and each restart
    assert sum(not fields["complete"] for fields in expected[QUARTER]) == 3


def minute_before(time: str) -> str:
    """The minute that is closed at this time of day."""
    hour, minute, second = time.split(":")
    minutes = int(hour) * 60 + int(minute) - (1 if float(second) >= 2 else 2)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


async def test_after_a_crash_the_minutes_of_the_log_are_in_the_long_candle_and_none_is_published_twice(
    redis_server: RedisServer,
) -> None:
    market = CandleMarket(at("11:59:00"), api_key=KEY)
    async with market.exchange:
        async with running(market, new_worker(market, redis_server, "w1"), crashes=True):
            await market.trade(at("12:30:30"))
            await eventually(lambda: is_logged(redis_server, MINUTE, "12:29"))
        before = (await logged(redis_server))[MINUTE]
        market.clock.now += 3
        async with running(market, new_worker(market, redis_server, "w2")):
            await market.trade(at("16:00:03"))
            await eventually(lambda: is_logged(redis_server, FOUR, "12:00"))
    found = await logged(redis_server)
    for candles in found.values():
        times = [fields["open_time"] for fields in candles]
        assert times == sorted(set(times))
    assert len(found[MINUTE]) == 1 + 240  # 11:59, and each minute from 12:00
    assert found[MINUTE][: len(before)] == before
    long = found[FOUR][-1]
    assert (long["open_time"][11:16], long["complete"]) == ("12:00", False)
    inside = [fields for fields in found[MINUTE] if fields["open_time"] >= long["open_time"]]
    assert long["trades"] == sum(fields["trades"] for fields in inside)
    assert long["open"] == inside[0]["open"]
    assert float(long["high"]) == max(float(fields["high"]) for fields in inside)
    assert [fields["complete"] for fields in inside].count(False) == 1
    assert sum(fields["complete"] for fields in found[QUARTER]) == 15


async def test_straight_and_shared_give_the_same_candles(redis_server: RedisServer) -> None:
    market, shared, straight = CandleMarket(at("11:59:10"), api_key=KEY), defaultdict(list), defaultdict(list)
    async with market.exchange:
        ws = AgentExchangeWS(KEY, market.exchange.url)
        ws._transports._options = fast(market.clock)
        noting(straight, MINUTE, QUARTER)(ws)
        async with running(market, new_worker(market, redis_server, "w1", MINUTE, QUARTER)) as worker, ws:
            await market.exchange.control.wait_for_connections(2)
            await eventually(lambda: ws._life.transport and not ws._life.transport._desk._sight.waiting())  # type: ignore[attr-defined]
            before = worker.stats.received[Kind.TICKER]
            market.arrived = lambda: min(
                worker.stats.received[Kind.TICKER] - before, int(ws.stats().transport["events"])
            )
            async with client(redis_server.url, noting(shared, MINUTE, QUARTER)):
                await are_heard(redis_server, MINUTE, QUARTER)
                await market.trade(at("12:31:00"))
                await market.trade(at("12:31:03"))
                await eventually(lambda: all(has(got[MINUTE], "12:30") for got in (shared, straight)))
    assert shared == straight
    assert [list(fields) for fields in shared[MINUTE]] == [list(fields) for fields in straight[MINUTE]]
    assert [fields["complete"] for fields in straight[QUARTER]] == [False, True, True]


async def test_candles_that_are_wanted_late_get_their_history_from_the_log(redis_server: RedisServer) -> None:
    market = CandleMarket(at("11:58:00"), api_key=KEY)
    async with market.exchange, running(market, new_worker(market, redis_server, "w1", MINUTE)) as worker:
        await market.trade(at("12:07:30"))
        assert worker._market is not None
        want = worker._market.intake.want
        want([Topic.parse(MINUTE), Topic.parse(QUARTER), Topic.candles("BTCUSDT", "1m")])
        await market.exchange.control.wait_for_subscriptions("ticker:BTCUSDT")
        await eventually(lambda: QUARTER in of(worker)._desk.published and is_looking(worker))
        await market.trade(at("12:15:03"))
        await eventually(lambda: is_logged(redis_server, QUARTER, "12:00"))
        want([Topic.parse(MINUTE)])
        await market.exchange.control.wait_for_no_subscriptions("ticker:BTCUSDT")
        await eventually(lambda: set(of(worker)._desk.published) == {MINUTE})
    found = await logged(redis_server)
    (quarter,) = [fields for fields in found[QUARTER] if fields["open_time"][11:16] == "12:00"]
    inside = [fields for fields in found[MINUTE] if fields["open_time"] >= quarter["open_time"]][:15]
    assert (quarter["complete"], quarter["trades"]) == (True, sum(fields["trades"] for fields in inside))


@pytest.mark.parametrize("bad", [("SET", b"\xff no state"), ("SADD", "a set")])
async def test_a_state_that_cannot_be_read_is_no_obstacle(redis_server: RedisServer, bad: tuple[str, str]) -> None:
    market = CandleMarket(at("12:00:10"), api_key=KEY)
    stream = await RespStream.connect(redis_url(redis_server.url))
    await stream.command(bad[0], Layout().candle_state("m0"), bad[1])
    async with market.exchange, running(market, new_worker(market, redis_server, "w1", MINUTE)):
        await market.trade(at("12:02:03"))
        await eventually(lambda: is_logged(redis_server, MINUTE, "12:01"))
    assert len(await stream.command("GET", Layout().candle_state("m0"))) > 20
    stream.close()


async def test_a_forming_candle_goes_on_in_another_process(redis_server: RedisServer, tmp_path: Path) -> None:
    got: Candles = defaultdict(list)

    def counts(trades: int) -> bool:
        return any(fields["trades"] == trades for fields in got[DAY])

    async with SandboxExchange(rate=0, pairs=3, api_keys=[KEY]) as exchange:
        args = ("--topic", DAY, "--candles", "build", *_system.TICKS_ON_DEMAND)

        async def tick_until(trades: int) -> None:
            """One tick, once it is known to be seen."""
            await exchange.control.wait_for_subscriptions(TICKER)
            exchange.control.push_tick(SYMBOL, price=f"{100 + trades}.0")
            await eventually(lambda: counts(trades), what=f"{trades} trades")

        async with client(redis_server.url, noting(got, DAY, closed_only=False)):
            await are_heard(redis_server, DAY)
            for first in (1, 3):
                with _system.worker(exchange.url, redis_server.url, log=tmp_path / "worker.log", args=args) as process:
                    await tick_until(first)
                    await tick_until(first + 1)
                    assert process.end(signal.SIGTERM) == 0
                await exchange.control.wait_for_connections(0)
    last = got[DAY][-1]
    assert [last[name] for name in ("open", "high", "low", "close", "trades")] == [
        "101.0",
        "104.0",
        "101.0",
        "104.0",
        4,
    ]
    assert (last["is_closed"], last["complete"], last["source"]) == (False, False, "built")


async def test_a_handler_is_all_it_takes(redis_server: RedisServer, tmp_path: Path) -> None:
    got: Candles = defaultdict(list)
    async with SandboxExchange(rate=0, pairs=3, api_keys=[KEY]) as exchange:
        args = ("--topic", "ticker:BTCUSDT", *_system.TICKS_ON_DEMAND)
        with _system.worker(exchange.url, redis_server.url, log=tmp_path / "worker.log", args=args):
            await exchange.control.wait_for_subscriptions("ticker:BTCUSDT")
            async with client(redis_server.url, noting(got, QUARTER, closed_only=False)):
                await exchange.control.wait_for_subscriptions(TICKER)

                def tick() -> bool:
                    exchange.control.push_tick(SYMBOL, price="7.5")
                    return bool(got[QUARTER])

                await eventually(tick, what="a candle that forms")
    assert (got[QUARTER][-1]["close"], got[QUARTER][-1]["source"]) == ("7.5", "built")

"""What Redis forgot and what the network swallowed: written once, written again, or told."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from agentexchange_bridge.stats import RedisState
from agentexchange_schemas import Cause
from tests.bridge._kit import ACCOUNT, candle, make_writer, order, ticker, until
from tests.bridge._writers import Running, assert_whole, log_of, notices
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests._servers import RedisServer

pytestmark = pytest.mark.server


async def test_answers_that_the_network_swallows_write_nothing_twice(
    redis_server: RedisServer, running: Running
) -> None:
    """Requests arrive, answers do not, then the connection is cut: the writer asks what was applied."""
    async with Proxy(redis_server.port) as link:
        writer = make_writer(f"redis://127.0.0.1:{link.port}", ACCOUNT)
        running.start(writer)
        await until(lambda: writer.outbox.is_open)
        sent = 0
        for _ in range(10):
            epoch, failures = writer.stats.epoch, writer.stats.redis_failures
            link.hold("from")
            for _ in range(20):
                writer.order(*order(str(sent)))
                writer.candle(*candle(closed=True, close=str(sent)))
                sent += 1
                await asyncio.sleep(0)
            applied = len(await log_of(redis_server, ACCOUNT))
            link.cut()
            await until(lambda failures=failures: writer.stats.redis_failures > failures)
            link.heal()
            await until(lambda: writer.outbox.is_empty and writer.is_ready)
            assert applied >= sent - 20
            assert writer.stats.epoch == epoch, "nothing was forgotten"
        await running.stop(writer)
    entries = await log_of(redis_server, ACCOUNT)
    assert_whole(entries)
    assert [event.data["order_id"] for _, event in entries if event.topic == "orders"] == [str(n) for n in range(sent)]
    closed = await log_of(redis_server, ACCOUNT, candles=True)
    assert [event.data["close"] for _, event in closed] == [str(n) for n in range(sent)]
    assert writer.stats.resent == 0


async def test_what_a_cut_append_only_file_lost_is_written_again_under_a_new_epoch_or_told(
    make_redis: Callable[..., RedisServer], running: Running
) -> None:
    server = await asyncio.to_thread(make_redis, appendonly=True)
    writer = make_writer(server.url, ACCOUNT, ttl_s=60.0)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)

    async def send(first: int, count: int) -> None:
        for number in range(first, first + count):
            writer.order(*order(str(number)))
            writer.candle(*candle(closed=True, close=str(number)))
            writer.tick(*ticker(price=str(number)))
        await until(lambda: writer.outbox.is_empty)

    await send(0, 10)
    (file,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    size = file.stat().st_size
    await send(10, 10)
    epoch, cut_us = writer.stats.epoch, time.time_ns() // 1000
    await asyncio.to_thread(server.kill)
    os.truncate(file, size)
    await until(lambda: writer.stats.redis is not RedisState.READY)
    await asyncio.to_thread(server.start)
    await until(lambda: writer.stats.resent and writer.outbox.is_empty and writer.is_ready)
    await send(20, 1)
    await running.stop(writer)
    entries = await log_of(server, ACCOUNT)
    assert_whole(entries)
    assert writer.stats.epoch > epoch, "seqs are given out again: not under the epoch of before"
    numbers = [event.data["order_id"] for _, event in entries if event.topic == "orders"]
    assert numbers == [str(number) for number in range(21)]
    closed = await log_of(server, ACCOUNT, candles=True)
    assert [event.data["close"] for _, event in closed] == [str(number) for number in range(21)]
    (told,) = notices(entries, Cause.LOG_ROLLED_BACK)
    ticks = [event for _, event in entries if event.topic.startswith("ticker:")]
    assert told.count == 21 - len(ticks) == 10
    assert told.until is not None
    assert told.since.timestamp() * 1e6 <= told.until.timestamp() * 1e6 <= cut_us

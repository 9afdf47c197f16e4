"""Somebody hostile publishes or writes in Redis: clients lose nothing of the bridge's events, and go on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from agentexchange_bridge.lease import LeaseState
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import decode
from tests.bridge._kit import candle, make_writer, order, ticker, until
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._shared_client import KEY, SharedClient, no_wait

from ._attack import COUNTED, Attack
from ._publisher import BEFORE_A_WORKER, FORGERIES, MALFORMED, OLD_NUMBER, REPAIRED, WRITES, Publisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests._servers import RedisServer
    from tests.sdk._recorder import Recorder

pytestmark = pytest.mark.server
TICKER, ORDERS, CANDLES = "ticker:BTCUSDT", "orders", "candles:BTCUSDT:1m"


@pytest.fixture(params=[TICKER, ORDERS, CANDLES, "ticker:all"])
def topic(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def by(redis_server: RedisServer, topic: str) -> Iterator[Publisher]:
    """The bridge's writer of the topic's scope, and the attacker beside it."""
    with contextlib.ExitStack() as stack:
        market = stack.enter_context(contextlib.closing(LayoutWriter(redis_server.url)))
        account = stack.enter_context(contextlib.closing(LayoutWriter(redis_server.url, account_scope(KEY))))
        market.install()
        for writer in (market, account):
            writer.lease()
        yield Publisher(account if topic == ORDERS else market, TICKER if topic == "ticker:all" else topic)


def good(by: Publisher, count: int = 3) -> int:
    """The bridge writes; the last seq."""
    for _ in range(count):
        by.writer.event(by.topic, {"price": "1", "order_id": "7"})
    return by.writer.seqs[by.topic]


def seqs(got: Recorder, by: Publisher) -> list[int | None]:
    return [event.seq for event in got.events if event.topic == by.topic]


async def arrived(got: Recorder, by: Publisher, last: int) -> None:
    await got.until(lambda got: last in seqs(got, by))


@pytest.mark.parametrize("attack", [*MALFORMED, *FORGERIES, OLD_NUMBER], ids=str)
async def test_it_costs_one_counted_error_at_most(
    by: Publisher, redis_server: RedisServer, topic: str, attack: Attack
) -> None:
    client = SharedClient(redis_server.url, topic, sleep=no_wait)
    async with client.running() as got:
        await arrived(got, by, good(by))
        first = seqs(got, by)[0]
        attack.do(by)
        await arrived(got, by, good(by))
        if attack.outcome == COUNTED and topic != "ticker:all":  # which is read from the log, not from channels
            assert client.transport.stats()["junk"] == 1
        by.writer.epoch += 1  # a takeover, and the next one: both are believed
        await arrived(got, by, good(by))
        by.writer.epoch += 1
        by.writer.heartbeat()
        last = good(by)
        await arrived(got, by, last)
        assert seqs(got, by) == list(range(first or 0, last + 1))
        assert not [event for event in got.events if "forged" in event.fields]
        assert not [status for status in got.statuses if status.topic is not None]
        assert client.transport.stats()["reconnects"] == 0


@pytest.mark.parametrize("attack", FORGERIES, ids=str)
async def test_it_is_no_better_while_a_client_joins(
    by: Publisher, redis_server: RedisServer, topic: str, attack: Attack
) -> None:
    stop = threading.Event()

    def repeat() -> None:
        with contextlib.closing(LayoutWriter(redis_server.url, by.writer.scope)) as writer:
            writer.seqs, writer.received_us = dict(by.writer.seqs), by.writer.received_us
            while not stop.is_set():
                attack.do(Publisher(writer, by.topic))

    before = good(by)
    thread = threading.Thread(target=repeat)
    thread.start()
    client = SharedClient(redis_server.url, topic, sleep=no_wait)
    try:
        async with client.running() as got:
            await asyncio.sleep(0)
            stop.set()
            await asyncio.to_thread(thread.join)
            last = good(by)
            await arrived(got, by, last)
            by.writer.epoch += 1
            last = good(by)
            await arrived(got, by, last)
            first = before + 1 if topic in (ORDERS, CANDLES) else seqs(got, by)[0]  # the others begin with the latest
            assert seqs(got, by) == list(range(first or 0, last + 1))
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("attack", WRITES, ids=str)
@pytest.mark.parametrize("when", ["before it joins", "while it runs"])
async def test_what_is_written_over_is_got_over(
    by: Publisher, redis_server: RedisServer, topic: str, attack: Attack, when: str
) -> None:
    good(by)
    if when == "before it joins":
        attack.do(by)
    client = SharedClient(redis_server.url, topic, sleep=no_wait, check_every_s=0.02)
    async with client.running() as got:
        if when == "while it runs":
            attack.do(by)
        last = good(by)
        by.writer.heartbeat()
        await arrived(got, by, last)
        by.writer.epoch += 1
        last = good(by)
        await arrived(got, by, last)
        assert {*range(last - 2, last + 1)} <= {*seqs(got, by)}
        assert len(seqs(got, by)) == len({*seqs(got, by)})
        assert not [event for event in got.events if "forged" in event.fields]


@pytest.mark.parametrize("attack", BEFORE_A_WORKER, ids=str)
async def test_a_worker_writes_on_whatever_it_finds(redis_server: RedisServer, attack: Attack) -> None:
    with contextlib.closing(LayoutWriter(redis_server.url)) as intruder:
        by = Publisher(intruder, TICKER)
        attack.do(by)
        writer = make_writer(redis_server.url)
        task = asyncio.create_task(writer.run())
        try:
            if attack.outcome == REPAIRED:
                writer.order(*order("early"))
                await until(lambda: writer.stats.redis_failures > 0 or writer.stats.lease is LeaseState.STANDBY)
                by.client.flushall()
            await until(lambda: writer.outbox.is_open)
            for number in range(20):
                writer.order(*order(str(number)))
                writer.candle(*candle(closed=True))
            writer.tick(*ticker(price="last"))
            await until(lambda: writer.outbox.is_empty)
            newest = decode(by.client.get(f"{by.base}latest:ticker:BTCUSDT"))
            assert newest.data["price"] == "last"
            assert 0 < newest.epoch < 2**53
            assert by.client.smismember(f"{by.base}latest:orders", [str(number) for number in range(20)]) == [1] * 20
        finally:
            writer.stop(time.time_ns() // 1000)
            await asyncio.wait_for(task, 10)

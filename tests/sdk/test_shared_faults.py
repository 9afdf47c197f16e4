"""A shared client while Redis dies and links are cut under load: nothing twice, nothing backwards, no silent loss."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest
import redis
from pydantic import SecretStr

from agentexchange._shared.options import SharedOptions
from agentexchange._shared.transport import SharedTransport
from agentexchange._urls import redis_url
from agentexchange_schemas import Cause, FeedState, Topic
from agentexchange_schemas.envelope import decode
from tests._patience import PATIENCE_S
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._recorder import Recorder
from tests.sdk._shared_client import SharedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentexchange_schemas import Envelope
    from tests._servers import RedisServer

pytestmark = pytest.mark.server
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
TOPICS = tuple(f"ticker:{symbol}" for symbol in SYMBOLS)


class Load:
    """Writes tickers from a thread of its own until told to stop; goes on through lost connections."""

    def __init__(self, writer: LayoutWriter) -> None:
        self.writer = writer
        self.turn = threading.Lock()
        """Held while it writes: who holds it may change the server without a write under way."""
        self._count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with self.turn:
                    self.writer.lease()
                    self.writer.heartbeat()
                    for symbol in SYMBOLS * 10:
                        self._count += 1
                        self.writer.ticker(symbol, str(self._count))
            except redis.RedisError:
                pass
            time.sleep(0.005)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


async def _quick(delay_s: float) -> None:
    await asyncio.sleep(min(delay_s, 0.05))


def check(got: Recorder, last: dict[str, int]) -> None:
    """Every seq was handed out once and in order, or lies in a gap that was told."""
    for topic in TOPICS:
        seqs = [event.seq for event in got.events if event.topic == topic]
        assert seqs == sorted(set(seqs), key=int), "twice or backwards"
        told = [status for status in got.statuses if status.topic == topic and status.count]
        missing = {seq for gap in told for seq in range(gap.first_missing or 0, (gap.last_missing or 0) + 1)}
        assert not missing & set(seqs), "told missing, yet handed out"
        first = seqs[0]
        assert first is not None
        assert set(range(first, last[topic] + 1)) == {*seqs, *missing}, "lost in silence"


@pytest.mark.parametrize("topics", [TOPICS, ("ticker:all",)], ids=["channels", "log"])
@pytest.mark.parametrize("fault", ["kill", "cut", "freeze"])
async def test_no_silent_loss(make_redis: Callable[..., RedisServer], topics: tuple[str, ...], fault: str) -> None:
    chance = random.Random(7)
    server = make_redis(appendonly=True, options={"appendfsync": "always"})
    got = Recorder()
    transport = SharedTransport(
        redis_url(server.url),
        SecretStr("ak_live_faults"),
        dispatcher=got,  # type: ignore[arg-type]
        topics=[Topic.parse(topic) for topic in topics],
        options=SharedOptions(sleep=_quick),
    )
    with contextlib.closing(LayoutWriter(server.url)) as writer, contextlib.closing(LayoutWriter(server.url)) as admin:
        writer.install()
        writer.lease()
        for topic in TOPICS:
            writer.event(topic, {"price": "0"})
        task = asyncio.create_task(transport.run())
        await got.until(lambda got: len(got.events) >= 3)
        load = Load(writer)
        with load.running():
            for _ in range(4):
                seen = len(got.events)
                await got.until(lambda got, seen=seen: len(got.events) > seen + chance.randrange(50, 400))
                await asyncio.to_thread(_strike, server, admin, fault)
        for topic in TOPICS:
            writer.event(topic, {"price": "last"})
        final = dict(writer.seqs)
        await got.until(
            lambda got: {event.topic for event in got.events if event.seq == final[event.topic]} == set(TOPICS)
        )
        transport.stop()
        await asyncio.wait_for(task, PATIENCE_S)
        logged = {(envelope.topic, envelope.seq) for envelope in in_log(admin)}
    check(got, final)
    told = [status for status in got.statuses if status.first_missing is not None]
    for gap in told:  # a write that a fault cut off in the middle
        assert (gap.topic, gap.first_missing) not in logged, "told missing, yet in the log"
    assert got.states[0] is FeedState.LIVE
    if fault != "freeze":
        assert FeedState.BLIND in got.states


def in_log(admin: LayoutWriter) -> list[Envelope]:
    return [decode(fields[b"e"]) for _, fields in admin.client.xrange("ax:{m0}:log")]


@pytest.mark.parametrize("topics", [TOPICS, ("ticker:all",)], ids=["channels", "log"])
@pytest.mark.parametrize("fault", ["wipe", "lose", "lose, same lease"])
async def test_a_log_that_lost_data_under_load_is_told_and_read_on(
    make_redis: Callable[..., RedisServer], topics: tuple[str, ...], fault: str
) -> None:
    """FLUSHALL, or a restart from an older copy: nothing twice, all of the new log, no seq of the old one trusted."""
    server = make_redis(appendonly=True, options={"auto-aof-rewrite-percentage": "0"})
    client = SharedClient(server.url, *topics, sleep=_quick)
    with contextlib.closing(LayoutWriter(server.url)) as writer, contextlib.closing(LayoutWriter(server.url)) as admin:
        writer.install()
        writer.lease()
        async with client.running() as got:
            load = Load(writer)
            with load.running():
                await got.until(lambda got: len(got.events) > 100)
                await asyncio.to_thread(_lose_data, server, writer, load, fault, lambda: len(got.events))
                lost_at = len(got.events)
                await got.until(lambda got: told_anew(got) == set(TOPICS))
                await got.until(lambda got: len(got.events) > lost_at + 100)
            for topic in TOPICS:
                writer.event(topic, {"price": "1000000"})
            await got.until(lambda got: got.prices[-3:] == ["1000000"] * 3)
            logged = in_log(admin)
    for topic in TOPICS:
        prices = [int(event.fields["price"]) for event in got.events if event.topic == topic]
        assert prices == sorted(set(prices)), "twice or backwards"
        newer = {int(entry.data["price"]) for entry in logged if entry.topic == topic} - set(prices)
        assert all(price < prices[0] for price in newer), "in the log, and not handed out"
    assert all(status.first_missing is None for status in got.statuses), "another log's numbers were compared"
    assert len([status for status in got.statuses if status.topic]) == 3, "told once per topic"


def told_anew(got: Recorder) -> set[str | None]:
    return {status.topic for status in got.statuses if status.cause == Cause.LOG_REPLACED and status.topic}


def _lose_data(server: RedisServer, writer: LayoutWriter, load: Load, fault: str, delivered: Callable[[], int]) -> None:
    files, copy = server.folder / "appendonlydir", server.folder / "copy"
    with load.turn:
        shutil.copytree(files, copy)
    seen = delivered()
    while delivered() < seen + 100:
        time.sleep(0.005)
    with load.turn:
        if fault == "wipe":
            writer.client.flushall()
            writer.log_name, writer.seqs = "log-2", {}
            writer.install()
        else:
            server.kill()
            shutil.rmtree(files)
            shutil.copytree(copy, files)
            server.start()
            writer.client.connection_pool.disconnect()
            writer.seqs = {
                name.decode(): int(seq)
                for name, seq in writer.client.hgetall("ax:{m0}:seq").items()
                if not name.startswith(b"#")
            }
        writer.epoch += fault != "lose, same lease"
        writer.lease()


def _strike(server: RedisServer, admin: LayoutWriter, fault: str) -> None:
    if fault == "kill":
        server.restart()
    elif fault == "cut":
        admin.client.client_kill_filter(_type="pubsub")
        admin.client.client_kill_filter(_type="normal", skipme=True)
    else:
        server.stop()
        time.sleep(0.3)
        server.cont()

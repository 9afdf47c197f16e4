"""A shared client while Redis dies and links are cut under load: nothing twice, nothing backwards, no silent loss."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
import redis
from pydantic import SecretStr

from agentexchange._shared import SharedTransport
from agentexchange._shared_options import SharedOptions
from agentexchange._urls import redis_url
from agentexchange_schemas import FeedState, Topic
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
TOPICS = tuple(f"ticker:{symbol}" for symbol in SYMBOLS)


class Load:
    """Writes tickers from a thread of its own until told to stop; goes on through lost connections."""

    def __init__(self, writer: LayoutWriter) -> None:
        self.writer = writer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self.writer.lease()
                self.writer.heartbeat()
                for symbol in SYMBOLS * 10:
                    self.writer.ticker(symbol, "1")
            except redis.RedisError:
                time.sleep(0.01)

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
        await asyncio.wait_for(task, 5)
    check(got, final)
    assert got.states[0] is FeedState.LIVE
    if fault != "freeze":
        assert FeedState.BLIND in got.states


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

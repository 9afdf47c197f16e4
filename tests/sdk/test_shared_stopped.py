"""A shared client whose process is stopped, or whose link goes half dead: it goes on without a silent loss."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.redis import StreamOptions
from tests.chaos.proxy import Proxy
from tests.sdk._shared_client import KEY, SharedClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server
TOPICS = [f"ticker:S{number}USDT" for number in range(5)]
PROGRAM = """
import asyncio, json, signal, sys
from agentexchange import AgentExchangeWS

url, key, path, *topics = sys.argv[1:]
notes = open(path, "a", buffering=1)
ws = AgentExchangeWS(key, url)

def note(*values):
    notes.write(json.dumps(values) + "\\n")

async def handler(data, meta):
    note("event", meta.topic, meta.seq, meta.source)

for topic in topics:
    ws.subscribe(topic, handler)

@ws.on_status()
def on_status(status):
    note("gap" if status.topic else "state", status.topic, status.cause, status.first_missing, status.last_missing,
         status.count)

ws.run_forever()
"""


class Consumer:
    """A client in a process of its own; what it was called with, line by line."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self._process = process
        self._path = path

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def notes(self, kind: str) -> list[list[Any]]:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [note[1:] for note in map(json.loads, lines) if note[0] == kind]

    async def until(self, condition: Callable[[Consumer], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition(self):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def consumer(url: str, path: Path) -> AsyncIterator[Consumer]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, url, KEY, str(path), *TOPICS)
    try:
        made = Consumer(process, path)
        await made.until(lambda made: bool(made.notes("state")))
        yield made
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("kept", [None, 1000])
async def test_a_stopped_process_goes_on_without_a_loss_or_with_one_exact_gap(
    writer: LayoutWriter, redis_server: RedisServer, tmp_path: Path, kept: int | None
) -> None:
    """Redis cuts it off, as it takes nothing any more: what it missed is read from the log, if the log still has it."""
    writer.client.config_set("client-output-buffer-limit", "pubsub 1mb 256kb 1")
    last = 5000
    async with consumer(redis_server.url, tmp_path / "notes") as made:
        writer.bulk(TOPICS, 500, channel=True)
        await made.until(lambda made: len(made.notes("event")) >= 500)
        made.send(signal.SIGSTOP)
        await asyncio.to_thread(writer.bulk, TOPICS, last * 5 - 500, channel=True, pad="x" * 400)
        async with asyncio.timeout(20):
            while len(writer.client.client_list(_type="pubsub")):  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(0.05)
        if kept:
            writer.client.xtrim("ax:{m0}:log", maxlen=kept, approximate=False)
        made.send(signal.SIGCONT)
        await made.until(lambda made: {event[0] for event in made.notes("event") if event[1] == last} == set(TOPICS))
        gaps = {gap[0]: gap for gap in made.notes("gap")}
        events = made.notes("event")
    assert len(gaps) == (5 if kept else 0)
    for topic in TOPICS:
        seqs = [seq for name, seq, _ in events if name == topic]
        assert seqs == sorted(set(seqs)), "twice or backwards"
        missing = sorted(set(range(seqs[0], last + 1)) - set(seqs))
        assert seqs[0] <= 100
        if kept:
            _, cause, first, until, count = gaps[topic]
            assert cause == "trimmed"
            assert missing == list(range(first, until + 1))
            assert (until, count) == (last - kept // 5, len(missing))
        else:
            assert missing == []


@pytest.mark.parametrize("direction", ["both", "to", "from"])
async def test_a_link_that_is_half_open_is_replaced_and_nothing_lost(
    writer: LayoutWriter, redis_server: RedisServer, direction: Any
) -> None:
    """Nobody says that the link is gone: silence does."""
    stream = StreamOptions(open_timeout_s=0.5, reply_timeout_s=0.3, idle_probe_s=0.3)
    quick = {"stream": stream, "silent_after_s": 0.2, "replace_after_s": 0.6}
    async with Proxy(redis_server.port, name="link") as link:
        client = SharedClient(f"redis://127.0.0.1:{link.port}", TOPICS[0], **quick)
        async with client.running() as got:
            writer.event(TOPICS[0], {"n": 1})
            await got.until(lambda got: len(got.events) == 1)
            link.hold(direction)
            for number in (2, 3, 4):
                writer.event(TOPICS[0], {"n": number})
            await got.until(lambda got: client.transport.stats()["reconnects"] > 0 and len(got.statuses) > 1)
            link.heal()
            await got.until(lambda got: len(got.events) == 4)
            assert [event.seq for event in got.events] == [1, 2, 3, 4]
            assert all(status.topic is None for status in got.statuses)


async def test_a_slow_link_recovers_in_smaller_pages(writer: LayoutWriter, redis_server: RedisServer) -> None:
    """A full page takes longer than a reply may take: without smaller ones it would reconnect for ever."""
    stream = StreamOptions(reply_timeout_s=2.0)
    topic = TOPICS[0]
    async with Proxy(redis_server.port, name="link") as link:
        client = SharedClient(f"redis://127.0.0.1:{link.port}", topic, stream=stream)
        async with client.running() as got:
            writer.event(topic, {"price": "1"})
            await got.until(lambda got: len(got.events) == 1)
            link.throttle(25_000, "from")
            writer.bulk(["ticker:OTHER", topic], 600, pad="x" * 100)  # 200 bytes each: a full page takes four seconds
            writer.event(topic, {"price": "302"})
            await got.until(lambda got: len(got.events) == 302)
            assert [event.seq for event in got.events] == list(range(1, 303))
            assert client.transport.stats()["reconnects"] == 0

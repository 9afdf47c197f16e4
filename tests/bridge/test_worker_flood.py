"""Upstream as fast as the worker reads, with a Redis that is idle: nothing conflates, nothing piles up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentexchange._urls import api_key_secret, redis_url, upstream_url
from agentexchange.redis import RespStream
from agentexchange_bridge.accounts import Account
from agentexchange_bridge.config import WorkerConfig
from agentexchange_bridge.outbox import OutboxLimits
from agentexchange_bridge.worker import Worker
from agentexchange_schemas import Kind
from tests._patience import PATIENCE_S
from tests.bridge._kit import LAYOUT, BufferLimits, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
FRAMES = 50_000
ROOM = 8_000
TRIES = 3  # on a busy machine Redis may be idle, and have no processor


@pytest.fixture
def blaster() -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.blaster"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=10)


async def test_a_flood_conflates_nothing_while_redis_is_idle(
    blaster: tuple[subprocess.Popen[str], int], redis_server: RedisServer
) -> None:
    process, port = blaster
    config = WorkerConfig(
        upstream_url=upstream_url(f"ws://127.0.0.1:{port}"),
        accounts=(Account("default", api_key_secret("ak_live_flood")),),
        redis_url=redis_url(redis_server.url),
        account=False,
        limits=OutboxLimits(buffer=BufferLimits(ticks=ROOM)),
    )
    worker = Worker(config)
    outbox = worker._writers["m0"].outbox
    task = asyncio.create_task(worker.run())
    received = most_waiting = 0

    def is_over() -> bool:
        nonlocal most_waiting
        most_waiting = max(most_waiting, outbox.held)
        return worker.stats.received[Kind.TICKER] == received and outbox.is_empty

    async def flood() -> int:
        """How many ticks were conflated."""
        nonlocal received
        assert process.stdin is not None
        before, received = outbox.buffer.conflated, received + FRAMES
        process.stdin.write(f"{FRAMES} 0 0\n")
        process.stdin.flush()
        await until(is_over)
        return outbox.buffer.conflated - before

    try:
        await until(lambda: worker.healthy)
        for _ in range(TRIES):
            most_waiting = 0
            if not (conflated := await flood()):
                break
    finally:
        worker.stop()
        await asyncio.wait_for(task, PATIENCE_S)
    assert (conflated, outbox.buffer.dropped) == (0, 0)
    assert 0 < most_waiting < ROOM
    redis = await RespStream.connect(redis_url(redis_server.url))
    ticks = sum(int(seq) for name, seq in await seqs(redis) if name.startswith(b"ticker:"))
    redis.close()
    assert ticks == received - outbox.buffer.conflated


async def seqs(redis: RespStream) -> list[tuple[bytes, bytes]]:
    flat = await redis.command("HGETALL", LAYOUT.seq("m0"))
    return list(zip(flat[::2], flat[1::2], strict=True))

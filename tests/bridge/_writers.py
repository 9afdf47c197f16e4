"""What the tests of a scope's writer share: tasks that always end, and the reading of logs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agentexchange._urls import redis_url
from agentexchange.redis import RespStream
from agentexchange_schemas import Cause, FeedState, FeedStatus
from tests.bridge._kit import LAYOUT, read_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange_bridge.writer import ScopeWriter
    from agentexchange_schemas.envelope import Envelope
    from tests._servers import RedisServer

__all__ = ["Running", "assert_whole", "connected", "live", "log_of", "notices"]


class Running:
    """Writers of one test, each with its task; all ended with it."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self, writer: ScopeWriter) -> asyncio.Task[None]:
        task = self._tasks[id(writer)] = asyncio.create_task(writer.run())
        return task

    async def stop(self, writer: ScopeWriter) -> None:
        writer.stop(time.time_ns() // 1000)
        await asyncio.wait_for(self._tasks[id(writer)], 10)

    async def end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@contextlib.asynccontextmanager
async def connected(server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(server.url))
    yield stream
    stream.close()


async def log_of(server: RedisServer, scope: str = "m0", *, candles: bool = False) -> list[tuple[str, Envelope]]:
    async with connected(server) as redis:
        return await read_log(redis, LAYOUT.candle_log(scope) if candles else LAYOUT.log(scope))


def live() -> FeedStatus:
    return FeedStatus(state=FeedState.LIVE, since=datetime.now(UTC))


def notices(entries: list[tuple[str, Envelope]], cause: Cause | None = None) -> list[FeedStatus]:
    told = [FeedStatus.from_fields(event.data) for _, event in entries if event.topic == "status"]
    return [status for status in told if cause is None or status.cause == cause]


def assert_whole(entries: list[tuple[str, Envelope]]) -> None:
    """Ids from r and rising, epochs never falling, and every topic's seqs without a hole."""
    seqs: dict[str, int] = {}
    for (entry_id, event), (_, before) in zip(entries, [entries[0], *entries], strict=False):
        assert entry_id == f"{event.received_us // 1000}-{event.received_us % 1000}"
        assert event.received_us >= before.received_us
        assert event.epoch >= before.epoch
        assert event.seq == seqs.get(event.topic, 0) + 1, event
        seqs[event.topic] = event.seq

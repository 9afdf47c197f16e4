"""What writing costs with other tools: ``python -m bench.publisher KIND URL EVENTS`` prints one JSON line.

Each kind does for one event what the bridge's script does: append to a stream, set the latest value, publish.
FastStream publishes only. Input is parsed beforehand; packing the envelope is part of the figure.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from agentexchange_schemas.envelope import encode
from agentexchange_schemas.upstream import EventFrame, parse

from ._frames import FRAMES, frames

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PIPELINE = 100
MAX_LOG = 1_000_000


def write(redis: Any, event: EventFrame, number: int) -> list[Any]:
    """The three commands of one event, on a client or a pipeline."""
    raw = encode(event.topic, 1, number, None, time.time_ns() // 1000, event.fields)
    return [
        redis.xadd("peer:log", {"e": raw}, maxlen=MAX_LOG, approximate=True),
        redis.set(f"peer:latest:{event.topic}", raw),
        redis.publish(f"peer:{event.topic}", raw),
    ]


async def awaits(url: str, events: list[EventFrame]) -> None:
    """Three awaited redis-py calls an event."""
    async with Redis.from_url(url) as redis:
        for number, event in enumerate(events):
            for call in write(redis, event, number):
                await call


async def pipeline(url: str, events: list[EventFrame]) -> None:
    """A redis-py pipeline of 100 events."""
    async with Redis.from_url(url) as redis:
        for start in range(0, len(events), PIPELINE):
            async with redis.pipeline(transaction=False) as pipe:
                for number, event in enumerate(events[start : start + PIPELINE], start):
                    write(pipe, event, number)
                await pipe.execute()


async def faststream(url: str, events: list[EventFrame]) -> None:
    """FastStream's publish, which is one of the three commands."""
    from faststream.redis import RedisBroker

    async with RedisBroker(url, logger=None) as broker:
        for event in events:
            await broker.publish(event.fields, channel=f"peer:{event.topic}")


KINDS: dict[str, Callable[[str, list[EventFrame]], Coroutine[Any, Any, None]]] = {
    kind.__name__: kind for kind in (awaits, pipeline, faststream)
}


async def main(kind: str, url: str, count: int) -> None:
    """Write ``count`` events and report what it cost."""
    parsed = [message for message in map(parse, frames(min(count, FRAMES))) if isinstance(message, EventFrame)]
    events = list(islice(cycle(parsed), count))
    before = time.process_time()
    await KINDS[kind](url, events)
    print(json.dumps({"cpu_us": (time.process_time() - before) / count * 1e6}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

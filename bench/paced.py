"""Bare redis-py publishing at a rate: ``python -m bench.paced URL`` takes the blaster's lines."""

from __future__ import annotations

import asyncio
import sys
import time

from redis.asyncio import Redis

from agentexchange_schemas.envelope import encode
from agentexchange_schemas.upstream import EventFrame, parse

from ._frames import frames, stamped


async def publish(redis: Redis, recorded: list[bytes], count: int, rate: int) -> None:
    """Publish ``count`` events, ``rate`` a second."""
    started = time.perf_counter()
    for number in range(count):
        event = parse(stamped(recorded[number % len(recorded)]))
        assert isinstance(event, EventFrame)
        raw = encode(event.topic, 1, number, None, time.time_ns() // 1000, event.fields)
        await redis.publish(f"ax:{{m0}}:{event.topic}", raw)
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))


async def main(url: str) -> None:
    """Serve until standard input ends."""
    recorded, loop = frames(), asyncio.get_running_loop()
    async with Redis.from_url(url) as redis:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            count, rate, _ = map(int, line.split())
            await publish(redis, recorded, count, rate)
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

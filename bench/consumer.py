"""One consumer in a process of its own: ``python -m bench.consumer KIND URL EVENTS``.

Prints ``ready`` once it is subscribed and has read a first event, then, EVENTS later, one JSON line with the CPU
seconds of those events and, where the input carries the time of sending, the latency of each percentile.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import msgpack
from websockets.asyncio.client import connect

from agentexchange import AgentExchangeWS

from ._frames import symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

WARM_UP = 1_000
KEY = "ak_live_bench"
CHANNELS = "ax:{m0}:ticker:*"


class Meter:
    """Counts events; knows what the process spent on them."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._seen = 0
        self._cpu = 0.0
        self._latencies: list[int] = []
        self.done = asyncio.Event()

    def event(self, fields: dict[str, Any]) -> None:
        """Take one event, as a handler gets it."""
        if not self._seen:
            print("ready", flush=True)
            self._cpu = time.process_time()
        self._seen += 1
        # the first ones may be latest values, older than their delivery
        if self._seen > WARM_UP and (sent := fields.get("sent_ns")) is not None:
            self._latencies.append(time.time_ns() - sent)
        if self._seen == self._wanted:
            self._cpu = time.process_time() - self._cpu
            self.done.set()

    def report(self) -> dict[str, float]:
        """CPU in µs per event; latency in ms."""
        result = {"cpu_us": self._cpu / self._wanted * 1e6}
        ordered = sorted(self._latencies)
        for percent in (50, 99) if ordered else ():
            result[f"p{percent}_ms"] = ordered[len(ordered) * percent // 100] / 1e6
        return result


async def sdk_600(url: str, meter: Meter) -> None:
    """The SDK with a handler for each of 600 symbols: so many that it reads the log."""
    await _sdk_singles(url, meter, symbols())


async def sdk_400(url: str, meter: Meter) -> None:
    """The SDK with a handler for each of the 400 busiest symbols: pub/sub channels."""
    await _sdk_singles(url, meter, symbols()[:400])


async def _sdk_singles(url: str, meter: Meter, names: list[str]) -> None:
    client = AgentExchangeWS(api_key=KEY, base_url=url)

    async def handle(data: dict[str, Any]) -> None:
        meter.event(data)

    for symbol in names:
        client.on_ticker(symbol)(handle)
    await client.connect()


async def sdk_sessions_1(url: str, meter: Meter) -> None:
    """The SDK straight with a handler for each of 600 symbols, over one session: ``ticker:all``."""
    await _sdk_sessions(url, meter, 1)


async def sdk_sessions_60(url: str, meter: Meter) -> None:
    """The same, one by one over 60 sessions."""
    await _sdk_sessions(url, meter, 60)


async def _sdk_sessions(url: str, meter: Meter, sessions: int) -> None:
    client = AgentExchangeWS(
        api_key=KEY, base_url=url, max_sessions=sessions, ticker_all_from=None if sessions > 1 else 100
    )
    task = asyncio.create_task(client.connect())

    async def handle(data: dict[str, Any]) -> None:
        if is_complete:
            meter.event(data)

    is_complete = False
    for symbol in symbols():
        client.on_ticker(symbol)(handle)
    while client.stats().transport.get("sessions_open", 0) < sessions:  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # the last one's subscriptions
    is_complete = True
    await task


async def sdk_all(url: str, meter: Meter) -> None:
    """The SDK with one handler for everything."""
    client = AgentExchangeWS(api_key=KEY, base_url=url)

    @client.on_ticker("all")
    async def handle(data: dict[str, Any]) -> None:
        meter.event(data)

    await client.connect()


async def redis_py(url: str, meter: Meter) -> None:
    """redis-py: listen and unpack, nothing else."""
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe(CHANNELS)
        async for message in pubsub.listen():
            if message["type"] == "pmessage":
                meter.event(msgpack.unpackb(message["data"])["d"])


async def redis_py_stream(url: str, meter: Meter) -> None:
    """redis-py: XREAD of 500 and unpack, nothing else."""
    from redis.asyncio import Redis

    async with Redis.from_url(url) as client:
        last: Any = "$"
        while True:
            for _, entries in await client.xread({"ax:{m0}:log": last}, count=500, block=1000):
                for last, entry in entries:  # noqa: B007 - the last id is where the next read begins
                    meter.event(msgpack.unpackb(entry[b"e"])["d"])


async def faststream(url: str, meter: Meter) -> None:
    """FastStream: a subscriber on the same channels, the same unpacking as its decoder."""
    from faststream.redis import PubSub, RedisBroker

    async def unpack(message: Any) -> Any:
        return msgpack.unpackb(message.raw_message["data"])["d"]

    broker = RedisBroker(url, logger=None)

    @broker.subscriber(channel=PubSub(CHANNELS, pattern=True), decoder=unpack)
    async def handle(data: dict[str, Any]) -> None:
        meter.event(data)

    async with broker:
        await broker.start()
        await meter.done.wait()


async def websockets(url: str, meter: Meter) -> None:
    """Bare websockets and json.loads."""
    async with connect(f"{url}/ws/v1?api_key={KEY}", compression=None) as connection:
        await connection.send('{"action":"subscribe","channel":"ticker_all"}')
        async for message in connection:
            frame = json.loads(message)
            if frame.get("channel") == "ticker" and "data" in frame:
                meter.event(frame["data"])


KINDS: dict[str, Callable[[str, Meter], Coroutine[Any, Any, None]]] = {
    kind.__name__: kind
    for kind in (
        sdk_400,
        sdk_600,
        sdk_all,
        sdk_sessions_1,
        sdk_sessions_60,
        redis_py,
        redis_py_stream,
        faststream,
        websockets,
    )
}


async def main(kind: str, url: str, events: int) -> None:
    """Run one consumer until it has its events."""
    meter = Meter(events)
    task = asyncio.create_task(KINDS[kind](url, meter))
    done = asyncio.create_task(meter.done.wait())
    await asyncio.wait({task, done}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    print(json.dumps(meter.report()) if done.done() else f"{kind} ended early: {task}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

"""An upstream that costs next to nothing: plays the recorded frames at any rate to one client, over all its sessions.

Run as ``python -m bench.blaster``; prints its port; reads ``COUNT RATE STAMPED`` lines (rate 0 = as fast as the
client reads) and plays that many frames, then prints ``done``. Ends at the end of its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
import time
from collections import defaultdict
from itertools import cycle, islice
from typing import TYPE_CHECKING

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from ._frames import frames, stamped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BURST = 64
ALL = b"all"
SUBSCRIPTION_KEYS = ("channel", "symbol", "interval")


def wire(payload: bytes) -> bytes:
    """One unmasked WebSocket text frame (RFC 6455, 5.2)."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + struct.pack("!H", size)  # noqa: PLR2004 - RFC 6455
    return head + payload


def symbol_of(frame: bytes) -> bytes:
    """The symbol of a recorded frame: the fourth string in it."""
    return frame.split(b'"', 8)[7]


class Blaster:
    """Acknowledges what a client subscribes and plays each frame to the newest session that subscribed its symbol.

    A frame of a symbol that nobody subscribed goes to the newest session of all.
    """

    def __init__(self) -> None:
        self._client: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
        self._holders: dict[bytes, ServerConnection] = {}
        self._recorded: Iterator[tuple[bytes, bytes]] = cycle([(symbol_of(frame), frame) for frame in frames()])

    async def handle(self, connection: ServerConnection) -> None:
        """Answer subscriptions for as long as the client stays."""
        with contextlib.suppress(ConnectionClosed):
            await self._acknowledge(connection)

    async def _acknowledge(self, connection: ServerConnection) -> None:
        async for text in connection:
            request = json.loads(text)
            if request.get("action") == "subscribe":
                name = "ticker:all" if request["channel"] == "ticker_all" else ":".join(
                    request[key] for key in SUBSCRIPTION_KEYS if key in request
                )  # fmt: skip
                await connection.send(json.dumps({"type": "subscribed", "channel": name}))
                if request["channel"] in ("orders", "portfolio"):
                    continue
                self._holders[name.removeprefix("ticker:").encode()] = connection
                if self._client.done():
                    self._client = asyncio.get_running_loop().create_future()
                self._client.set_result(connection)

    def _shares(
        self, chunk: list[tuple[bytes, bytes]], newest: ServerConnection
    ) -> Iterable[tuple[ServerConnection, list[bytes]]]:
        """Which session gets which frames."""
        rest = self._holders.get(ALL, newest)
        shares: dict[ServerConnection, list[bytes]] = defaultdict(list)
        for symbol, frame in chunk:
            shares[self._holders.get(symbol, rest)].append(frame)
        return shares.items()

    async def play(self, count: int, rate: int, *, stamp: bool) -> None:
        """Send ``count`` frames, ``rate`` a second, in bursts as small as the rate allows."""
        connection = await self._client
        burst = 1 if stamp else BURST
        started, sent = time.perf_counter(), 0
        while sent < count:
            if connection.transport.is_closing():
                return
            chunk = list(islice(self._recorded, min(burst, count - sent)))
            for session, share in self._shares(chunk, connection):
                session.transport.write(b"".join(wire(stamped(frame) if stamp else frame) for frame in share))
                await session.drain()
            sent += len(chunk)
            if rate:
                await asyncio.sleep(max(0.0, started + sent / rate - time.perf_counter()))


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    blaster = Blaster()
    async with serve(blaster.handle, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            count, rate, stamp = map(int, line.split())
            await blaster.play(count, rate, stamp=bool(stamp))
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())

"""A TCP proxy for one link, and the faults of a network: delay, cut, half-open, throttle, refusal."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final, Literal, Self

__all__ = ["Direction", "Proxy"]

Direction = Literal["both", "to", "from"]
"""``to``: from the client towards the server. ``from``: from the server towards the client."""

CHUNK_BYTES: Final = 64 * 1024
MAX_QUEUED: Final = 64
"""Chunks of one direction on their way: a delay keeps at most this many, then reading waits (as a full pipe would)."""
THROTTLE_SLICE_S: Final = 0.02
_RESET: Final = struct.pack("ii", 1, 0)


class _Lane:
    """One direction of all connections of a link: its gate, its delay, its rate."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.delay_s = 0.0
        self.rate: float | None = None
        self.bytes = 0


class _Pump:
    """Carries one direction of one connection."""

    def __init__(self, lane: _Lane, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lane = lane
        self._reader = reader
        self._writer = writer
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_QUEUED)

    async def run(self) -> None:
        """Until the sender closes its side; passes that on, as TCP does."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    async def _read(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._lane.open.wait()
            data = await self._reader.read(CHUNK_BYTES)
            await self._queue.put((clock() + self._lane.delay_s, data))
            if not data:
                return

    async def _write(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await self._queue.get()
            if (wait := due - clock()) > 0:
                await asyncio.sleep(wait)
            await self._lane.open.wait()
            if not data:
                self._writer.write_eof()
                return
            await self._send(data)

    async def _send(self, data: bytes) -> None:
        while data:
            rate = self._lane.rate
            size = len(data) if rate is None else max(1, int(rate * THROTTLE_SLICE_S))
            piece, data = data[:size], data[size:]
            self._writer.write(piece)
            await self._writer.drain()
            self._lane.bytes += len(piece)
            if rate is not None:
                await asyncio.sleep(len(piece) / rate)
            await self._lane.open.wait()


class Proxy:
    """Listens on a free loopback port and forwards to ``target_port``; ``async with`` starts and stops it.

    The setters act at once on every open connection and on later ones.
    """

    def __init__(self, target_port: int, *, name: str = "link") -> None:
        self.name = name
        self._target_port = target_port
        self._to, self._from = _Lane(), _Lane()
        self._is_refusing = False
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._connections)
        self.cut()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes forwarded to the server and from it."""
        return self._to.bytes, self._from.bytes

    def heal(self) -> None:
        """Pass everything again, from where it stopped; open connections stay."""
        self._is_refusing = False
        for lane in self._lanes("both"):
            lane.delay_s, lane.rate = 0.0, None
            lane.open.set()

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Hand on every byte that comes from now on ``seconds`` late."""
        for lane in self._lanes(direction):
            lane.delay_s = seconds

    def throttle(self, bytes_per_s: float, direction: Direction = "both") -> None:
        """Pass at most so many bytes per second, per connection."""
        for lane in self._lanes(direction):
            lane.rate = bytes_per_s

    def hold(self, direction: Direction = "both") -> None:
        """Stop forwarding; connections stay, also when an end closes its side. `heal` goes on, `cut` ends them."""
        for lane in self._lanes(direction):
            lane.open.clear()

    def refuse(self) -> None:
        """Reset new connections at once."""
        self._is_refusing = True

    def cut(self) -> int:
        """Reset every open connection; what is on its way is lost. Returns how many there were."""
        for task, writers in self._connections.items():
            for writer in writers:
                _reset(writer)
            task.cancel()
        return len(self._connections)

    def _lanes(self, direction: Direction) -> list[_Lane]:
        return {"to": [self._to], "from": [self._from], "both": [self._to, self._from]}[direction]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._is_refusing:
            _reset(writer)
            return
        writers = [writer]
        task = asyncio.get_running_loop().create_task(self._attend(reader, writer, writers))
        self._connections[task] = writers
        task.add_done_callback(self._connections.pop)

    async def _attend(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writers: list[asyncio.StreamWriter]
    ) -> None:
        try:
            await self._carry(reader, writer, writers)
        except* OSError:
            pass  # an end went away: so does the other
        finally:
            for each in writers:
                _reset(each)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, writers: list[asyncio.StreamWriter]
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        writers.append(far_writer)
        async with asyncio.TaskGroup() as group:
            group.create_task(_Pump(self._to, reader, far_writer).run())
            group.create_task(_Pump(self._from, far_reader, writer).run())


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST rather than FIN: what a killed machine or a firewall leaves behind."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()

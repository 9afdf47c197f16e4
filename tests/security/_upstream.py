"""A hostile platform: a server of bytes, so that it can break every rule of HTTP, WebSocket, JSON and the protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

from ._attack import COUNTED, RECONNECT, Attack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["HANDSHAKES", "IGNORED", "SESSIONS", "HostileServer", "Peer"]

IGNORED = "ignored"
TEXT, BINARY, CONTINUED, CLOSE, PING = 1, 2, 0, 8, 9
MEGABYTES = 10 * 2**20
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(data: bytes, *, opcode: int = TEXT, fin: bool = True, rsv: int = 0, length: int | None = None) -> bytes:
    """A server's frame; ``length`` is what it claims."""
    size = len(data) if length is None else length
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if size < 126:
        return bytes((first, size)) + data
    if size < 2**16:
        return struct.pack("!BBH", first, 126, size) + data
    return struct.pack("!BBQ", first, 127, size) + data


def tick(price: int | str, symbol: str = "BTCUSDT") -> bytes:
    data = {"price": str(price), "timestamp": "2026-02-23T15:30:45.123Z", "quantity": "1", "is_buyer_maker": False}
    return json.dumps({"channel": "ticker", "symbol": symbol, "data": data}).encode()


class Peer:
    """One connection of the client under attack."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def shake_hands(self) -> None:
        self.request = await self.reader.readuntil(b"\r\n\r\n")
        await self.send(self.switching())

    def switching(self, *more: bytes) -> bytes:
        """The answer that a client accepts."""
        key = next(line for line in self.request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key.partition(b":")[2].strip() + GUID).digest())  # noqa: S324 - RFC 6455
        lines = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade", *more]
        return b"\r\n".join([*lines, b"Sec-WebSocket-Accept: " + accept, b"", b""])

    async def message(self) -> dict[str, Any]:
        """The client's next message: masked, short."""
        first, size = await self.reader.readexactly(2)
        size &= 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
        return json.loads(text) if first & 0x0F == TEXT else {}

    async def acknowledge(self, errors: int = 0) -> None:
        """Wait for the one subscription, and accept it, after errors that are about something else."""
        asked: dict[str, Any] = {}
        while asked.get("action") != "subscribe":
            asked = await self.message()
        await self.send(error("INTERNAL") * errors)
        await self.send(frame(json.dumps({"type": "subscribed", "channel": "ticker:BTCUSDT"}).encode()))


class HostileServer:
    """Connections are good, but for what ``handshake`` does on the second, or ``session`` in the midst of the first.

    A good session sends three ticks, whose prices count on from session to session; and three more after an attack
    that it ``is_survived``.
    """

    def __init__(
        self,
        *,
        handshake: Callable[[Peer], Awaitable[None]] | None = None,
        session: Callable[[Peer], Awaitable[None]] | None = None,
        is_survived: bool = False,
        stray_errors: int = 0,
    ) -> None:
        self._handshake = handshake
        self._session = session
        self._is_survived = is_survived
        self._stray_errors = stray_errors
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.sent: list[str] = []
        self.asked: list[dict[str, Any]] = []
        """Messages of the client behind its first."""
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[HostileServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        peer = Peer(reader, writer)
        try:
            await self._play(peer, self.connections)
        except (OSError, EOFError):
            pass  # the client has seen enough
        finally:
            writer.transport.abort()

    async def _play(self, peer: Peer, number: int) -> None:
        if self._handshake is not None and number == 2:
            peer.request = await peer.reader.readuntil(b"\r\n\r\n")
            await self._handshake(peer)
            return
        await peer.shake_hands()
        await peer.acknowledge(self._stray_errors)
        await self._ticks(peer)
        if number == 1 and self._handshake is not None:
            return
        if number == 1 and self._session is not None:
            await self._session(peer)
            if self._is_survived:
                await self._ticks(peer)
        while True:
            self.asked.append(await peer.message())

    async def _ticks(self, peer: Peer) -> None:
        for _ in range(3):
            self.sent.append(str(len(self.sent)))
            await peer.send(frame(tick(self.sent[-1])))


# Once a session is open


def sends(*frames: bytes) -> Callable[[Peer], Awaitable[None]]:
    return lambda peer: peer.send(b"".join(frames))


def junk(name: str, data: bytes, outcome: str = COUNTED) -> Attack:
    return Attack(name, sends(frame(data)), outcome)


def with_data(**data: Any) -> bytes:
    return json.dumps({"channel": "ticker", "symbol": "BTCUSDT", "data": {"price": "1", **data}}).encode()


def with_symbol(symbol: Any) -> bytes:
    return json.dumps({"channel": "ticker", "symbol": symbol, "data": {"price": "1"}}).encode()


def order(**data: Any) -> bytes:
    return json.dumps({"channel": "orders", "data": {"order_id": "1", "status": "filled", **data}}).encode()


async def endless_fragments(peer: Peer, size: int) -> None:
    await peer.send(frame(b'{"', fin=False))
    part = frame(b"x" * size, opcode=CONTINUED, fin=False)
    part *= max(1, 65_536 // len(part))
    while True:
        await peer.send(part)


async def endless_pings(peer: Peer) -> None:
    """And a tick now and then, so that the session looks alive."""
    while True:
        await peer.send(controls(PING, b"p" * 125) * 500 + frame(b'{"type":"ping"}'))


async def unfinished_and_silent(peer: Peer) -> None:
    await peer.send(frame(b'{"', fin=False))
    await peer.reader.read()


async def endless_frame(peer: Peer) -> None:
    """It claims to be short enough, and comes a byte at a time, for ever."""
    await peer.send(frame(b"", length=2**20))
    while True:
        await peer.send(b"x")
        await asyncio.sleep(0.05)


def controls(opcode: int, data: bytes) -> bytes:
    return frame(data, opcode=opcode)


def error(code: str) -> bytes:
    return frame(json.dumps({"type": "error", "code": code, "message": "m" * 100}).encode())


def acks(*channels: str) -> bytes:
    kinds = ("subscribed", "unsubscribed")
    return b"".join(frame(json.dumps({"type": k, "channel": c}).encode()) for k in kinds for c in channels)


def symbol_flood(count: int) -> bytes:
    return b"".join(frame(with_symbol(f"{{X{number}}}")) for number in range(count))


DEFLATED_BOMB = base64.b64decode(b"7cEBDQAAAMKg909tDjegAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")

SESSIONS = [
    junk("text that is not UTF-8", b'{"channel":"ticker","symbol":"\xff\xfe"}'),
    junk("no JSON", b"hello"),
    junk("an empty frame", b""),
    Attack("a binary frame", sends(frame(b"\x00\x01\x02\xff", opcode=BINARY)), COUNTED),
    junk("JSON that is no object", b"[1,2,3]"),
    junk("100,000 brackets", b"[" * 100_000),
    junk("100,000 objects within each other", b'{"a":' * 100_000),
    junk("a field nested 100 deep", with_data(x="@").replace(b'"@"', b"[" * 100 + b"]" * 100)),
    junk("a number of 100,000 digits for a price", with_data(price="@").replace(b'"@"', b"9" * 100_000 + b"e")),
    junk("NaN for a price", with_data(price=float("nan"))),
    junk("infinity for a price", with_data(price=float("inf"))),
    junk("an object for a price", with_data(price={"$gt": ""})),
    junk("a list of fields", b'{"channel":"ticker","symbol":"BTCUSDT","data":[1]}'),
    junk("a channel that is an object", b'{"channel":{"a":1},"data":{}}'),
    junk("a channel nobody knows", b'{"channel":"admin","data":{}}'),
    junk("a frame of 900 KB without a meaning", json.dumps({"x": "y" * 900_000}).encode()),
    junk("a symbol with braces", with_symbol("{m0}")),
    junk("a symbol with a newline", with_symbol("BTC\nUSDT")),
    junk("a symbol with a space", with_symbol("BTC USDT")),
    junk("a symbol with a colon", with_symbol("BTC:USDT")),
    junk("a symbol with a zero byte", with_symbol("BTC\x00USDT")),
    junk("a symbol of 100,000 characters", with_symbol("A" * 100_000)),
    junk("a symbol that is a number", with_symbol(17)),
    junk("a symbol that is a list", with_symbol(["BTCUSDT"])),
    junk("the wildcard's name as a symbol", with_symbol("all")),
    junk("look-alike letters in a symbol", with_symbol("ВТСUSDТ")),
    junk("an order id of 100,000 characters", order(order_id="1" * 100_000)),
    junk("an order id that is an object", order(order_id={"$ne": 1})),
    junk("an order without a status", order(status=None)),
    junk("an answer without a channel", b'{"type":"subscribed"}'),
    junk("an answer about a list", b'{"type":"error","code":["x"]}'),
    Attack("1,000 answers to what was never asked", sends(acks("ticker:NEVER", "orders", "x") * 167), IGNORED),
    Attack("1,000 error frames", sends(error("INTERNAL") * 1000), IGNORED),
    Attack("10,000 heartbeats", sends(frame(b'{"type":"ping"}') * 10_000), IGNORED),
    Attack("10,000 WebSocket pings", sends(controls(PING, b"p" * 125) * 10_000), IGNORED),
    Attack("a frame of 10 MB", sends(frame(b"x" * MEGABYTES)), RECONNECT),
    Attack("a frame that claims to be of 2^63 bytes", sends(frame(b"x", length=2**63 - 1)), RECONNECT),
    Attack("10 MB in fragments", lambda peer: endless_fragments(peer, 65_000), RECONNECT),
    Attack("endless fragments of one byte", lambda peer: endless_fragments(peer, 1), RECONNECT),
    Attack("endless fragments of nothing", lambda peer: endless_fragments(peer, 0), RECONNECT),
    Attack("WebSocket pings without end, whose answers nobody reads", endless_pings, RECONNECT),
    Attack("a fragmented message that never goes on", unfinished_and_silent, RECONNECT),
    Attack("a frame that comes a byte at a time, for ever", endless_frame, RECONNECT),
    Attack("a compressed frame that was not negotiated", sends(frame(DEFLATED_BOMB, rsv=4)), RECONNECT),
    Attack("a frame of an unknown kind", sends(frame(b"", opcode=3)), RECONNECT),
    Attack("a continuation of nothing", sends(frame(b"x", opcode=CONTINUED)), RECONNECT),
    Attack("a masked frame", sends(b"\x81\x81\x00\x00\x00\x00x"), RECONNECT),
    Attack("a ping of 1,000 bytes", sends(frame(b"p" * 1000, opcode=PING)), RECONNECT),
    Attack("a close code that is none", sends(frame(struct.pack("!H", 1005), opcode=CLOSE)), RECONNECT),
    Attack("a close reason that is not UTF-8", sends(frame(b"\x03\xe8\xff\xfe", opcode=CLOSE)), RECONNECT),
    Attack("bytes that are no WebSocket", sends(b"HTTP/1.1 500 Oops\r\n\r\n" * 100), RECONNECT),
]


# While it is to be opened


def answers(*lines: bytes) -> Callable[[Peer], Awaitable[None]]:
    return lambda peer: peer.send(b"\r\n".join([*lines, b"", b""]))


async def drip(peer: Peer) -> None:
    for byte in peer.switching(b"X-Slow: " + b"x" * 8000):
        await peer.send(bytes((byte,)))
        await asyncio.sleep(0.02)


async def silence(peer: Peer) -> None:
    await peer.reader.read()


async def endless_header(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nX-Long: ")
    while True:
        await peer.send(b"x" * 65_536)


async def endless_headers(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        await peer.send(b"X-Many: x\r\n" * 1000)


async def endless_body(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


HANDSHAKES = [
    Attack("an answer that comes a byte at a time, for ever", drip, RECONNECT),
    Attack("no answer at all", silence, RECONNECT),
    Attack("a header without end", endless_header, RECONNECT),
    Attack("headers without end", endless_headers, RECONNECT),
    Attack("a refusal with a body without end", endless_body, RECONNECT),
    Attack("an answer that is no HTTP", sends(b"\x00\x01\x02\xff" * 1000), RECONNECT),
    Attack("an answer with a key that is not the client's", answers(
        b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: bm8=",
    ), RECONNECT),
    Attack("compression that nobody offered", lambda peer: peer.send(
        peer.switching(b"Sec-WebSocket-Extensions: permessage-deflate")
    ), RECONNECT),
    Attack("another status", answers(b"HTTP/1.1 418 I'm a teapot", b"Content-Length: 0"), RECONNECT),
]  # fmt: skip

"""One client connection: its subscriptions, its heartbeat, and its bounded way out."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from socket import SO_SNDBUF, SOL_SOCKET
from typing import TYPE_CHECKING, NamedTuple

from websockets.protocol import State

from agentexchange.testing._frames import json_bytes, payload_of, text_frame
from agentexchange.testing._observe import ConnectionInfo

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from websockets.asyncio.server import ServerConnection

    from agentexchange.testing._observe import Observations

__all__ = ["ABORT", "IDLE", "RESTART", "UNAUTHORIZED", "JournalEntry", "Session"]

ABORT = 0  # cut the TCP connection, no close frame
IDLE = 1000  # the live platform closes with it for an unanswered ping and for a message it cannot read
RESTART = 1012
UNAUTHORIZED = 4401
_PING = text_frame(b'{"type":"ping"}')


class JournalEntry(NamedTuple):
    """One event that was sent.

    ``kind`` is tick, candle, order, portfolio or pushed; ``topic`` the topic it belongs to (empty for a
    pushed frame); ``payload`` the frame's bytes; ``connections`` the ids of those it went to, once for each copy.
    """

    kind: str
    topic: str
    payload: bytes
    connections: tuple[int, ...]


class Session:
    """An accepted connection. Frames go straight to its transport; nothing here waits.

    Args:
        number: id of the connection, counted from 1.
        key: the API key it came with.
        account: the account whose private events it gets.
        connection: the accepted WebSocket.
        seen: where its doings are counted.
        max_buffer: unsent bytes above which it gets no more ticks; at twice that it is cut off.
    """

    def __init__(
        self,
        number: int,
        key: str,
        connection: ServerConnection,
        *,
        account: str,
        seen: Observations,
        max_buffer: int,
    ) -> None:
        self.number = number
        self.key = key
        self.account = account
        self.connection = connection
        self.topics: set[str] = set()
        self.symbols: set[str] = set()  # of the topics that are single tickers
        self.ended: asyncio.Future[int] = connection.loop.create_future()
        self.requests = 0
        self.pongs = 0
        self.ticks_dropped = 0
        self.sent: Counter[str] = Counter()
        self._seen = seen
        self._max_buffer = max_buffer
        self._reads = 0  # how often it was waited for and read on
        self._compressed = bool(connection.protocol.extensions)
        self._next_ping: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Whether frames still go out."""
        return not self.ended.done() and self.connection.protocol.state is State.OPEN

    @property
    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return self.connection.transport.get_write_buffer_size()

    @property
    def slow(self) -> bool:
        """Whether the client takes less than it is sent."""
        return self.unsent > self._max_buffer

    def end(self, code: int) -> None:
        """Let the owner close the connection with ``code`` (``ABORT`` cuts it). The first code counts."""
        if not self.ended.done():
            self.ended.set_result(code)
        self._stop_timers()

    def info(self) -> ConnectionInfo:
        """What a test may see of it."""
        return ConnectionInfo(
            id=self.number,
            api_key=self.key,
            subscriptions=frozenset(self.topics),
            requests=self.requests,
            pongs=self.pongs,
            frames_sent=dict(self.sent),
            ticks_dropped=self.ticks_dropped,
        )

    # For a sender that waits

    def hold_ahead(self, size: int) -> None:
        """Let this machine hold about ``size`` unread bytes at most, beside what the transport does."""
        socket = self.connection.transport.get_extra_info("socket")
        with suppress(OSError):  # it may be gone already
            socket.setsockopt(SOL_SOCKET, SO_SNDBUF, size)

    async def drained(self) -> None:
        """Wait until the client has taken most of what it was sent, or is gone."""
        before = self.unsent
        with suppress(OSError):
            await self.connection.drain()
        self._reads += self.unsent < before

    # Going out

    def send(self, kind: str, frames: Sequence[bytes], joined: bytes | None = None) -> bool:
        """Send whole text frames at once; ``joined`` is them in one piece, if the caller has it.

        Returns:
            False when the connection is closed, or was cut now because it reads nothing.
        """
        if not self.open:
            return False
        if self.unsent > 2 * self._max_buffer:
            self.end(ABORT)
            return False
        if self._compressed:
            self._send_compressed(frames)
        else:
            self.connection.transport.write(b"".join(frames) if joined is None else joined)
        self.sent[kind] += len(frames)
        self._seen.frames_sent[kind] += len(frames)
        return True

    def _send_compressed(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self.connection.protocol.send_text(payload_of(frame))
        self.connection.send_data()

    def send_message(self, kind: str, message: object) -> bool:
        """Send one JSON message."""
        return self.send(kind, [text_frame(json_bytes(message))])

    def send_raw(self, data: bytes, *, binary: bool) -> bool:
        """Send any bytes in one text or binary frame, also such as are no text."""
        if not self.open:
            return False
        send = self.connection.protocol.send_binary if binary else self.connection.protocol.send_text
        send(data)
        self.connection.send_data()
        self.sent["pushed"] += 1
        self._seen.frames_sent["pushed"] += 1
        return True

    def drop_ticks(self, count: int) -> None:
        """Count ticks that the client was too slow for."""
        self.ticks_dropped += count
        self._seen.ticks_dropped += count

    # Heartbeat

    def beat(self, interval: float, pong_timeout: float) -> None:
        """Ping every ``interval`` seconds from now on; end when an answer takes ``pong_timeout`` seconds."""
        if self._next_ping is not None:
            self._next_ping.cancel()
        if self.open:
            self._next_ping = self.connection.loop.call_later(interval, self._on_time, interval, pong_timeout)

    def _on_time(self, interval: float, pong_timeout: float) -> None:
        self.ping(pong_timeout)
        self.beat(interval, pong_timeout)
        self._seen.changed()

    def ping(self, pong_timeout: float) -> None:
        """Send a heartbeat; an older one that still waits for its answer keeps its deadline."""
        if self.send("ping", [_PING]) and self._deadline is None:
            self._await_pong(pong_timeout)

    def _await_pong(self, pong_timeout: float) -> None:
        self._deadline = self.connection.loop.call_later(pong_timeout, self._on_deadline, pong_timeout, self._reads)

    def _on_deadline(self, pong_timeout: float, reads: int) -> None:
        """No answer came; who was waited for and has read on may not have come to the ping yet."""
        if self._reads > reads:
            self._await_pong(pong_timeout)
        else:
            self.end(IDLE)

    def on_pong(self) -> None:
        """A valid answer came."""
        self.pongs += 1
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def mute(self) -> None:
        """No more pings until ``beat``; a deadline that runs goes on."""
        if self._next_ping is not None:
            self._next_ping.cancel()
            self._next_ping = None

    def _stop_timers(self) -> None:
        self.mute()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

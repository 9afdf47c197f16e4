"""One raw connection to Redis: bytes out, whole batches of replies in.

RESP2 on purpose: replies are plain lists and bytes (no push type to build and test for), AUTH, SELECT and the rest
go out in one write with no HELLO round trip, and every server, proxy and sharded channel speaks it. A connection that
subscribes does nothing else, so the one thing RESP3 adds, commands beside pushes, is of no use here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import hiredis

from ._connect import SETNAME, handshake_of, open_link
from ._errors import LinkClosedError, NotRedisError, ReplyError
from ._pack import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange._urls import RedisUrl

__all__ = ["MAX_REPLY_BYTES", "RespStream", "StreamOptions"]

MAX_REPLY_BYTES: Final = 192 * 1024 * 1024
"""A reply that grows beyond this ends the connection: 500 log entries of the largest envelope fit."""

_WRITE_HIGH_BYTES: Final = 1024 * 1024  # unsent bytes at which `drain` begins to wait
_PING: Final = pack("PING")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """Limits of one connection.

    Attributes:
        open_timeout_s: for connecting, TLS and the handshake together.
        reply_timeout_s: how long the oldest request may wait for its replies before the connection is given up.
        idle_probe_s: after so long without a byte received a PING is sent; None for never.
        max_reply_bytes: bound of one incomplete reply.
    """

    open_timeout_s: float = 5.0
    reply_timeout_s: float = 10.0
    idle_probe_s: float | None = 10.0
    max_reply_bytes: int = MAX_REPLY_BYTES


class _Pending:
    """One request under way: how many replies are missing, and who waits."""

    __slots__ = ("deadline", "future", "missing", "replies")

    def __init__(self, future: asyncio.Future[list[Any]], missing: int, deadline: float) -> None:
        self.future = future
        self.missing = missing
        self.deadline = deadline
        self.replies: list[Any] = []


class RespStream(asyncio.Protocol):
    """A connection to Redis. Make one with `connect`; asyncio and uvloop alike, one loop, not thread-safe.

    With ``on_replies`` it is a subscriber: every batch of replies that one read from the socket completed is handed
    over as one list, synchronously, on the loop. Without, replies are matched to `send` in order.

    Error replies are `ReplyError` objects inside the lists; `command` raises them.
    """

    def __init__(
        self, url: RedisUrl, *, name: str, on_replies: Callable[[list[Any]], None] | None, options: StreamOptions
    ) -> None:
        self._url = url
        self._name = name
        self._address = str(url)
        self._on_replies = on_replies
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._reader = _new_reader()
        self._incomplete = 0
        self._pending: deque[_Pending] = deque()
        self._is_open = False
        self._closing: LinkClosedError | None = None
        self._closed: asyncio.Future[LinkClosedError] = self._loop.create_future()
        self._can_write = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._last_received = self._loop.time()
        self._probed = False
        self._reply_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self.bytes_received = 0

    @classmethod
    async def connect(
        cls,
        url: RedisUrl,
        *,
        name: str = "agentexchange",
        on_replies: Callable[[list[Any]], None] | None = None,
        options: StreamOptions = StreamOptions(),
    ) -> RespStream:
        """Connect, log in, select the database, name the connection; ready for commands when it returns.

        Raises:
            ReplyError: the server refused a step (wrong password, loading, …).
            NotRedisError: bad certificate, or no Redis server there.
            LinkClosedError: everything else, the deadline included. See `judge` for what to retry.
        """
        stream = cls(url, name=name, on_replies=on_replies, options=options)
        await stream._open()
        return stream

    async def _open(self) -> None:
        wait = self._options.open_timeout_s
        try:
            async with asyncio.timeout(wait):
                await open_link(self._url, lambda: self)
                await self._handshake()
        except TimeoutError:
            raise LinkClosedError(f"{self._address} did not answer within {wait:g} s") from None
        finally:
            if not self._is_open:
                self.close("not opened")
        self._watch_idle()

    async def _handshake(self) -> None:
        steps = handshake_of(self._url, self._name)
        replies = await self.send(b"".join(packed for _, packed in steps), replies=len(steps))
        for (step, _), reply in zip(steps, replies, strict=True):
            # A name is a convenience: a rule that forbids it does not stop the feed.
            if isinstance(reply, ReplyError) and step != SETNAME:
                raise reply
        self._is_open = True

    # Sending

    def write(self, packed: bytes) -> None:
        """Send packed commands of a subscriber: what is answered comes through ``on_replies``.

        Raises:
            LinkClosedError: the connection is gone.
        """
        if self._closing is not None:
            raise LinkClosedError(self._closing.reason)
        assert self._transport is not None  # noqa: S101 - `connect` returns connected streams only
        self._transport.write(packed)

    def send(self, packed: bytes, *, replies: int = 1, timeout_s: float | None = None) -> asyncio.Future[list[Any]]:
        """Send packed commands now; the future gives their ``replies`` in order.

        Requests may be sent while others are under way: answers come in the order of sending. A request whose answer
        does not come within ``timeout_s`` (default: the options') ends the connection, and with it every other.
        The future fails with `LinkClosedError` and with nothing else. Cancelling it
        abandons the answer, not the request.

        Raises:
            LinkClosedError: the connection is gone.
        """
        self.write(packed)
        wait = self._options.reply_timeout_s if timeout_s is None else timeout_s
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        self._pending.append(_Pending(future, replies, self._loop.time() + wait))
        if self._reply_timer is None:
            self._reply_timer = self._loop.call_later(wait, self._check_deadline)
        return future

    async def command(self, *args: str | bytes | int, timeout_s: float | None = None) -> Any:
        """One command, its one reply.

        Raises:
            ReplyError: the server answered with an error.
            LinkClosedError: the connection is gone, or the answer did not come in time.
        """
        reply = (await self.send(pack(*args), timeout_s=timeout_s))[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written.

        Raises:
            LinkClosedError: the connection is gone.
        """
        await self._can_write.wait()
        if self._closing is not None:
            raise LinkClosedError(self._closing.reason)

    # Ending

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone or going."""
        return self._closing is not None

    def close(self, reason: str = "closed") -> None:
        """End the connection now: unsent bytes are dropped, everybody who waits gets `LinkClosedError`. Idempotent."""
        self._fail(LinkClosedError(reason))

    async def wait_closed(self) -> LinkClosedError:
        """Wait for the end; the error says why it came."""
        return await asyncio.shield(self._closed)

    def _fail(self, error: LinkClosedError) -> None:
        if self._closing is not None:
            return
        self._closing = error
        for timer in (self._reply_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            # abort, not close: close would wait for a peer that takes nothing any more
            self._transport.abort()
        self._can_write.set()
        pending, self._pending = self._pending, deque()
        for request in pending:
            if not request.future.done():
                request.future.set_exception(LinkClosedError(error.reason) if self._is_open else error)
                request.future.exception()  # a pipelined request that nobody awaits any more is no news
        self._closed.set_result(error)

    # Protocol callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: the socket is connected."""
        self._transport = link = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        link.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        self._can_write.set()
        if self._closing is not None:
            link.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio: the socket is gone."""
        self._fail(LinkClosedError(f"{self._address} closed the connection" + (f": {exc}" if exc else "")))

    def pause_writing(self) -> None:
        """Asyncio: more than a mebibyte waits to be sent."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Asyncio: the peer takes bytes again."""
        self._can_write.set()

    def data_received(self, data: bytes) -> None:
        """Asyncio: bytes came. Parses every complete reply and hands them over in one go."""
        if self._closing is not None:
            return
        self._last_received = self._loop.time()
        self._probed = False
        self.bytes_received += len(data)
        replies: list[Any] = []
        add, gets = replies.append, self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not False:
                add(reply)
        except (hiredis.ProtocolError, MemoryError) as exc:
            self._fail(self._protocol_error(exc))
            return
        if replies:
            self._incomplete = self._reader.len()
            self._hand_over(replies)
        else:
            self._incomplete += len(data)
        if self._incomplete > self._options.max_reply_bytes:
            self._fail(LinkClosedError(f"{self._address} sent a reply above {self._options.max_reply_bytes} bytes"))

    def _hand_over(self, replies: list[Any]) -> None:
        if self._on_replies is not None and self._is_open:
            self._on_replies(replies)
        else:
            self._match(replies)

    def _match(self, replies: list[Any]) -> None:
        """Give replies to the requests that wait, oldest first."""
        at = 0
        while at < len(replies):
            if not self._pending:
                self._fail(NotRedisError(f"{self._address} sent a reply that nothing asked for"))
                return
            request = self._pending[0]
            taken = replies[at : at + request.missing]
            at += len(taken)
            request.missing -= len(taken)
            request.replies.extend(taken)
            if not request.missing:
                self._pending.popleft()
                if not request.future.done():
                    request.future.set_result(request.replies)

    def _protocol_error(self, exc: Exception) -> LinkClosedError:
        """Junk before the handshake means another kind of server; later, a broken connection."""
        kind = LinkClosedError if self._is_open else NotRedisError
        return kind(f"{self._address} does not speak the Redis protocol: {exc}")

    # Deadlines

    def _check_deadline(self) -> None:
        """The oldest request's time may be up. Armed once for many requests: a timer each would cost more than it."""
        self._reply_timer = None
        if not self._pending:
            return
        left = self._pending[0].deadline - self._loop.time()
        if left <= 0:
            self._fail(LinkClosedError(f"{self._address} did not answer in time"))
        else:
            self._reply_timer = self._loop.call_later(left, self._check_deadline)

    def _watch_idle(self) -> None:
        if self._options.idle_probe_s is not None:
            self._idle_timer = self._loop.call_later(self._options.idle_probe_s, self._probe)

    def _probe(self) -> None:
        """Ask a silent peer for a sign of life; a second silence in a row ends the connection."""
        assert self._options.idle_probe_s is not None  # noqa: S101 - the timer is armed only then
        wait = self._options.idle_probe_s - (self._loop.time() - self._last_received)
        if wait <= 0:
            if self._probed:
                self._fail(LinkClosedError(f"{self._address} has been silent for too long"))
                return
            self._send_probe()
            wait = self._options.idle_probe_s
        self._idle_timer = self._loop.call_later(wait, self._probe)

    def _send_probe(self) -> None:
        if self._on_replies is not None:
            self.write(_PING)
            self._probed = True
        elif not self._pending:  # else the oldest request's own deadline judges
            self.send(_PING)


def _new_reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=hiredis.ProtocolError, replyError=ReplyError)

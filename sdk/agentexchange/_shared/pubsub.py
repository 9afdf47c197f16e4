"""The one pub/sub connection of a shared client: subscriptions that are known to stand."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agentexchange.redis import LinkClosedError, ReplyError, RespStream, pack
from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentexchange._urls import RedisUrl

    from .options import SharedOptions

__all__ = ["PubSub"]

_CHUNK: Final = 500  # channels of one command
_MAX_MESSAGE_BYTES: Final = 4 * MAX_ENVELOPE_BYTES  # of what has come and is not whole: no bridge sends the like


class PubSub:
    """Subscribes and unsubscribes; answers are matched in order, messages go to the callback given to `connect`."""

    def __init__(self, options: SharedOptions) -> None:
        self._timeout_s = options.stream.reply_timeout_s
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._stream: RespStream | None = None

    async def connect(
        self, url: RedisUrl, name: str, options: SharedOptions, on_replies: Callable[[list[Any]], None]
    ) -> RespStream:
        """Connect; raises what `RespStream.connect` raises."""
        most = min(_MAX_MESSAGE_BYTES, options.stream.max_reply_bytes)
        limits = replace(options.stream, max_reply_bytes=most)
        self._stream = await RespStream.connect(url, name=name, on_replies=on_replies, options=limits)
        return self._stream

    async def subscribe(self, channels: Iterable[str]) -> None:
        """Subscribe; when it returns, everything published from now on comes.

        Raises:
            ReplyError: the server refuses a channel.
            LinkClosedError: the connection is gone, or does not answer.
        """
        await self._send("SUBSCRIBE", sorted(channels))

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Unsubscribe; when it returns, nothing of them comes any more."""
        await self._send("UNSUBSCRIBE", sorted(channels))

    async def barrier(self) -> None:
        """When it returns, everything published before the call has been handed over."""
        await self._settle([self._expect("PING", ["barrier"], 1)])

    def on_control(self, reply: Any) -> None:
        """Take a reply that is no message."""
        match reply:
            case ReplyError() if self._waiting:
                self._finish(reply)
            case [b"subscribe" | b"unsubscribe", _, _] | [b"pong", b"barrier"]:
                self._count()

    def _count(self) -> None:
        if not self._waiting:
            return
        future, missing = self._waiting[0]
        if missing > 1:
            self._waiting[0] = (future, missing - 1)
        else:
            self._finish(None)

    def _finish(self, error: ReplyError | None) -> None:
        future, _ = self._waiting.popleft()
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    async def _send(self, command: str, channels: list[str]) -> None:
        parts = [channels[at : at + _CHUNK] for at in range(0, len(channels), _CHUNK)]
        await self._settle([self._expect(command, part, len(part)) for part in parts])

    def _expect(self, command: str, arguments: list[str], answers: int) -> asyncio.Future[None]:
        assert self._stream is not None  # noqa: S101 - connect comes first
        self._stream.write(pack(command, *arguments))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, answers))
        return future

    async def _settle(self, futures: list[asyncio.Future[None]]) -> None:
        if not futures:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.gather(*futures)
        except TimeoutError:
            raise LinkClosedError("the subscription was not confirmed in time") from None

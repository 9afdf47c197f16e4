"""The connection that logs are read over: where that is asked for, made anew for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange.redis import RedisLinkError, RespStream, StreamOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange._urls import RedisUrl

__all__ = ["Link"]

_log: Final = logging.getLogger("agentexchange.replay")
_NAME: Final = "agentexchange-replay"
_PATIENT: Final = StreamOptions(reply_timeout_s=60.0)  # a handler that blocks the loop is no fault of Redis


class Link:
    """Asks Redis, and where it `waits`, asks again over a new connection until there is an answer: only reads go by it.

    Args:
        url: of the server.
        waits: whether a lost connection is made anew, with the delays of any client of this SDK.
        sleep: waits so many seconds.
        clock: steady seconds.

    Attributes:
        connections: that were made: after another one the server may be another, too.
        is_away: whether the last question has no answer yet, as the server is away.
    """

    def __init__(
        self,
        url: RedisUrl,
        *,
        waits: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connections = 0
        self.is_away = False
        self._url = url
        self._waits = waits
        self._sleep = sleep
        self._clock = clock
        self._stream: RespStream | None = None
        self._making = asyncio.Lock()
        self._delays = backoff()
        self._away_since = 0.0

    async def open(self) -> None:
        """Connect.

        Raises:
            RedisLinkError: Redis does not answer, or refuses.
        """
        self._stream = await RespStream.connect(self._url, name=_NAME, options=_PATIENT)
        self.connections += 1

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        if self._stream is not None:
            self._stream.close()
            await self._stream.wait_closed()

    @property
    def stream(self) -> RespStream:
        """The present connection.

        Raises:
            RuntimeError: not opened.
        """
        if self._stream is None:
            raise RuntimeError("RedisSource is used within async with")
        return self._stream

    async def command(self, *args: str | bytes | int) -> Any:
        """The reply to one command.

        Raises:
            RedisLinkError: Redis is away, or refuses; not where it `waits`.
        """
        while True:
            stream = self.stream
            try:
                reply = await stream.command(*args)
            except RedisLinkError as fault:
                if not self._waits:
                    raise
                await self._make_anew(stream, fault)
            else:
                if self.is_away:
                    self._back()
                return reply

    async def _make_anew(self, lost: RespStream, fault: RedisLinkError) -> None:
        async with self._making:
            if self._stream is not lost:  # somebody else who asked has done so
                return
            lost.close("lost")
            self._lost(fault)
            while self._stream is lost:
                await self._sleep(next(self._delays))
                try:
                    await self.open()
                except RedisLinkError as exc:
                    _log.debug("Redis is still away: %s", exc)

    def _lost(self, fault: RedisLinkError) -> None:
        """Said once per outage."""
        if not self.is_away:
            _log.warning("Redis is away, the replay waits for it: %s", fault)
            self.is_away, self._away_since = True, self._clock()

    def _back(self) -> None:
        """An answer came: the connection is good."""
        self.is_away, self._delays = False, backoff()
        _log.warning("Redis is back after %.1f s, the replay goes on", self._clock() - self._away_since)

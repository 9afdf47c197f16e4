"""The connection that reads every log as it grows, always from a concrete id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentexchange._shared.commands import START
from agentexchange.redis import ReplyError, RespStream, StreamOptions, pack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import Lane

__all__ = ["LogReader", "ReadOptions"]

_NAME: Final = "agentexchange-inspector-logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How logs are read.

    Attributes:
        count: entries of one log in one answer at most.
        block_s: how long the server waits for the first.
        gather_s: how long a short answer lets the next events gather: fewer, larger answers cost less.
        stream: limits of the connection.
    """

    count: int = 500
    block_s: float = 2.0
    gather_s: float = 0.025
    stream: StreamOptions = field(default_factory=StreamOptions)


class LogReader:
    """Reads on from cursors, which outlive connections.

    Args:
        url: the server.
        keys: the log's key of each lane.
        on_entries: called with a lane and its next entries.
        sleep: waits for seconds.
        options: how.
    """

    def __init__(
        self,
        url: RedisUrl,
        keys: Mapping[Lane, str],
        *,
        on_entries: Callable[[Lane, list[Any]], None],
        sleep: Callable[[float], Awaitable[None]],
        options: ReadOptions,
    ) -> None:
        self._url = url
        self._lanes = {key.encode(): lane for lane, key in keys.items()}
        self._cursors = dict.fromkeys(self._lanes, START)
        self._on_entries = on_entries
        self._sleep = sleep
        self._options = options

    def move(self, cursors: Mapping[str, bytes]) -> None:
        """Read on after these entries, given by the log's key."""
        self._cursors |= {key.encode(): entry_id for key, entry_id in cursors.items()}

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            RedisLinkError: the connection is gone, or the server refuses.
        """
        stream = await RespStream.connect(self._url, name=_NAME, options=self._options.stream)
        try:
            while True:
                reply = await self._read(stream)
                read = sum(self._hand_over(key, entries) for key, entries in reply or ())
                if 0 < read < self._options.count:
                    await self._sleep(self._options.gather_s)
        finally:
            stream.close()

    async def _read(self, stream: RespStream) -> Any:
        options = self._options
        block_ms = int(options.block_s * 1000)
        cursors = self._cursors.values()
        packed = pack("XREAD", "COUNT", options.count, "BLOCK", block_ms, "STREAMS", *self._cursors, *cursors)
        reply = (await stream.send(packed, timeout_s=options.block_s + options.stream.reply_timeout_s))[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def _hand_over(self, key: bytes, entries: list[Any]) -> int:
        self._cursors[key] = entries[-1][0]
        self._on_entries(self._lanes[key], entries)
        return len(entries)

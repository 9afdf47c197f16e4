"""Recording over one connection: from the first look at the logs to the first fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange.recording import sentences_of
from agentexchange.redis import ReplyError, pack

from ._tell import notice_of, recorder_lane

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from agentexchange.recording import Hole
    from agentexchange.redis import RespStream

    from ._options import RecorderOptions, RecorderStats
    from ._source import LogSource

__all__ = ["RecorderSession"]

_REPLY_S: Final = 10.0  # beyond the wait of a blocking read


class RecorderSession:
    """Reads every log from its cursor on, for as long as the connection lives; ``on_read`` hears of each answer."""

    def __init__(
        self,
        stream: RespStream,
        sources: Iterable[LogSource],
        options: RecorderOptions,
        stats: RecorderStats,
        *,
        on_read: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._sources = {source.key.encode(): source for source in sources}
        self._options = options
        self._writer = options.writer
        self._stats = stats
        self._on_read = on_read
        self._look_at = options.clock() + options.look_every_s

    async def run(self, stop: asyncio.Event) -> None:
        """Read until ``stop`` is set.

        Raises:
            RedisLinkError: the connection is gone, or the server refuses.
            OSError: the recording cannot be written.
        """
        for source in self._sources.values():
            self._tell(source, await source.look(self._stream))
        while not stop.is_set():
            read = await self._read()
            self._writer.tick()
            if 0 < read < self._options.count:
                await self._options.sleep(self._options.gather_s)

    async def _read(self) -> int:
        """One read of all logs; how many entries it gave at most of one."""
        await self._look_again()
        reply = (await self._stream.send(self._command(), timeout_s=self._options.block_s + _REPLY_S))[0]
        if isinstance(reply, ReplyError):
            raise reply
        self._on_read()
        read = 0
        for key, entries in reply or ():
            await self._take(self._sources[key], entries)
            read = max(read, len(entries))
        for source in self._sources.values():
            self._tell(source, source.tails())
        return read

    def _command(self) -> bytes:
        options = self._options
        cursors = [source.cursor or b"0-0" for source in self._sources.values()]
        block_ms = max(1, int(options.block_s * 1000))
        return pack("XREAD", "COUNT", options.count, "BLOCK", block_ms, "STREAMS", *self._sources, *cursors)

    async def _look_again(self) -> None:
        """Once in a while: a log that was replaced by one whose ids are lower would seem quiet for ever."""
        if self._options.clock() < self._look_at:
            return
        self._look_at = self._options.clock() + self._options.look_every_s
        for source in self._sources.values():
            self._tell(source, await source.learn(self._stream))

    async def _take(self, source: LogSource, entries: list[Any]) -> None:
        had_junk = source.watch.junk > 0
        raws, holes = source.watch.take([entry[1][1] for entry in entries])
        if any(hole.first is None for hole in holes):  # numbers that begin anew: perhaps of another log
            replaced = await source.learn(self._stream)
            if replaced:
                self._tell(source, replaced)
                return
        self._tell(source, holes)
        if source.watch.junk and not had_junk:
            self._options.tell(f"{source.key}: entries that are no envelopes, or out of order, are left out")
        self._writer.add(source.lane, raws)
        source.cursor = entries[-1][0]

    def _tell(self, source: LogSource, holes: list[Hole]) -> None:
        for hole in holes:
            lane = recorder_lane(source.scope)
            self._writer.add(lane, [notice_of(source.scope, hole, after_us=self._writer.last_us(lane) or 0)])
            self._stats.holes += 1
            self._stats.missing += hole.missing or 0
        for sentence in sentences_of(source.scope, holes):
            self._options.tell(sentence)

"""One log that is being recorded: how far, under which name, and the commands that ask for its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange._shared.commands import START, id_of, place_of
from agentexchange.recording import Hole, Lane, LogWatch
from agentexchange_schemas import Cause
from agentexchange_schemas.layout import LOG_ID_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

    from ._options import LogSink

__all__ = ["LogSource"]


class LogSource:
    """Outlives connections.

    Args:
        layout: the names.
        scope: whose log.
        key: the log's key.
        writer: where it is recorded to: what is there already is gone on from.
        wants: which topics are recorded.
        start_us: where a log begins that was never recorded; None for its present end.

    Attributes:
        cursor: id of the last entry that was read.
    """

    def __init__(
        self,
        layout: Layout,
        scope: str,
        key: str,
        *,
        writer: LogSink,
        wants: Callable[[str], bool],
        start_us: int | None,
    ) -> None:
        self.scope = scope
        self.key = key
        self._short = key.removeprefix(layout.base(scope))
        self._seq_key = layout.seq(scope)
        self._writer = writer
        self._start_us = start_us
        self._name: str | None = None
        self._end: bytes | None = None
        self._counters: dict[str, int] = {}
        self._left = self._newest_lane()
        self.cursor: bytes | None = None
        self.watch = LogWatch(wants, 0 if self._left is None else writer.last_us(self._left) or 0)

    @property
    def lane(self) -> Lane:
        """Where its events go."""
        return Lane(self.scope, self._short, self._name or "")

    async def look(self, stream: RespStream) -> list[Hole]:
        """Find the place to read on from, on a new connection; the holes that are before it."""
        holes = await self.learn(stream)
        if self.cursor is None:
            self.cursor = await self._first_cursor(stream)
        oldest_us = await self._oldest_us(stream)
        if self.cursor != START and oldest_us > place_of(self.cursor):
            holes += await self._not_whole(stream, oldest_us)
        return holes

    async def learn(self, stream: RespStream) -> list[Hole]:
        """Ask for the log's own name: another one is another log, read from its first entry on."""
        answer = await stream.command("HGET", self._seq_key, LOG_ID_FIELD)
        known, self._name = self._known_name, answer.decode(errors="replace") if answer else self._known_name
        if not known or self._name == known:
            return []
        since_us = self.watch.last_us
        self.watch.begin_anew()
        self.cursor, self._left = START, None
        return [Hole(None, Cause.LOG_REPLACED, since_us, max(since_us, await self._oldest_us(stream)))]

    def tails(self) -> list[Hole]:
        """What was trimmed while this was away and no later event has told: once all of the log has been read."""
        if self._end is None or self.cursor is None or place_of(self.cursor) < place_of(self._end):
            return []
        self._end = None
        return self.watch.trimmed_tails(self._counters, place_of(self.cursor))

    async def _first_cursor(self, stream: RespStream) -> bytes:
        if self._left is not None:
            return id_of(self._writer.last_us(self._left) or 0)
        if self._start_us is not None:
            return id_of(max(0, self._start_us - 1))
        return await self._last_id(stream)

    async def _not_whole(self, stream: RespStream, oldest_us: int) -> list[Hole]:
        """The entry after the cursor may be gone. Which topics lack what shows as their next events come."""
        if not self.watch.has_topics:
            return [] if self._left is None else [Hole(None, Cause.TRIMMED, self.watch.last_us, oldest_us)]
        reply = await stream.command("HGETALL", self._seq_key)
        texts = [part.decode(errors="replace") for part in reply]
        pairs = zip(texts[::2], texts[1::2], strict=True)
        self._counters = {topic: int(seq) for topic, seq in pairs if not topic.startswith("#")}
        self._end = await self._last_id(stream)
        return []

    async def _last_id(self, stream: RespStream) -> bytes:
        found = await stream.command("XREVRANGE", self.key, "+", "-", "COUNT", 1)
        return bytes(found[0][0]) if found else START

    async def _oldest_us(self, stream: RespStream) -> int:
        found = await stream.command("XRANGE", self.key, "-", "+", "COUNT", 1)
        return place_of(found[0][0]) if found else 0

    @property
    def _known_name(self) -> str:
        if self._name is None:
            return "" if self._left is None else self._left.log_id
        return self._name

    def _newest_lane(self) -> Lane | None:
        """The lane of this log that was recorded last."""
        lanes = [lane for lane in self._writer.lanes if (lane.scope, lane.log) == (self.scope, self._short)]
        return max(lanes, key=lambda lane: self._writer.last_us(lane) or 0, default=None)

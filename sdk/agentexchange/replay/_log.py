"""One log in Redis, read page by page from an id to an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange._shared.commands import START, id_of, place_of
from agentexchange.recording import Lane, received_of
from agentexchange.recording import place_of as envelope_place
from agentexchange.recording._merge import OpenRun
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.layout import LOG_FIELD, LOG_ID_FIELD

if TYPE_CHECKING:
    from agentexchange.recording import Hole, LogWatch
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["PAGE", "Log", "LogReader", "look_at", "page_of"]

PAGE: Final = 500
"""Log entries of one read: as many of the largest envelopes as a reply may hold."""

_FIELD: Final = LOG_FIELD.encode()


class Log(NamedTuple):
    """A log that holds something.

    Attributes:
        lane: what its events go by.
        key: its key.
        first_us: the place of its first entry.
        last_us: the place of its last entry when it was looked at: nothing behind it is read.
        end: the id of that entry.
        is_trimmed: whether entries before the first one are gone, as far as the first one's number tells.
    """

    lane: Lane
    key: str
    first_us: int
    last_us: int
    end: bytes
    is_trimmed: bool


async def look_at(stream: RespStream, layout: Layout, scope: str, key: str) -> Log | None:
    """What is known of a log before it is read; None where it is empty."""
    first = await stream.command("XRANGE", key, "-", "+", "COUNT", 1)
    last = await stream.command("XREVRANGE", key, "+", "-", "COUNT", 1)
    if not first or not last:
        return None
    name = await stream.command("HGET", layout.seq(scope), LOG_ID_FIELD)
    lane = Lane(scope, key.removeprefix(layout.base(scope)), "" if name is None else name.decode(errors="replace"))
    end = last[0][0]
    return Log(lane, key, place_of(first[0][0]), place_of(end), end, is_trimmed=_seq_of(first[0]) > 1)


async def page_of(stream: RespStream, key: str, after: bytes, end: bytes, count: int = PAGE) -> list[Any]:
    """Entries behind ``after``, up to ``end`` and with it."""
    page: list[Any] = await stream.command("XRANGE", key, b"(" + after, end, "COUNT", count)
    return page


class LogReader:
    """Reads one log, and takes out what comes before other logs' events.

    Args:
        stream: the connection.
        log: which log.
        watch: what is wanted of it; sees what is missing in between.
        start_us: the first ``r`` wanted; None for the beginning.
        end_us: the first ``r`` no longer wanted; None for the end.

    Attributes:
        holes: what was missing so far.
    """

    def __init__(self, stream: RespStream, log: Log, watch: LogWatch, start_us: int | None, end_us: int | None) -> None:
        self.log = log
        self.watch = watch
        self.holes: list[Hole] = []
        self._stream = stream
        self._after = id_of(start_us - 1) if start_us else START
        is_cut = end_us is not None and end_us <= log.last_us
        self._end = b"(" + id_of(end_us or 0) if is_cut else log.end
        self._run: OpenRun | None = None

    @property
    def front(self) -> int:
        """``r`` of the next event."""
        return 0 if self._run is None else self._run.front

    @property
    def is_empty(self) -> bool:
        """Whether what was read has been taken."""
        return self._run is None or self._run.is_empty

    def take(self, bound: int | None) -> list[bytes]:
        """What comes before ``bound``, the next event of another log."""
        return [] if self._run is None else self._run.take(bound)

    async def fill(self) -> bool:
        """Read on until there is something that is wanted; whether there is."""
        self._run = None
        while self._run is None:
            entries = await page_of(self._stream, self.log.key, self._after, self._end)
            if not entries:
                return False
            self._after = entries[-1][0]
            raws, holes = self.watch.take([raw for entry in entries if (raw := raw_of(entry)) is not None])
            self.holes += holes
            if raws:
                self._run = OpenRun(raws, received_of(raws[0]), received_of(raws[-1]))
        return True


def raw_of(entry: Any) -> bytes | None:
    """The envelope of a log entry; None for an entry that is none of a bridge's."""
    fields = entry[1]
    if not fields or fields[0] != _FIELD:
        return None
    raw: bytes = fields[1]
    return raw


def _seq_of(entry: Any) -> int:
    raw = raw_of(entry)
    try:
        return 0 if raw is None else envelope_place(raw).seq or 0
    except EnvelopeError:
        return 0

"""One log in Redis, read page by page from an id to an id, and what is missing in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange._shared.commands import START, id_of, place_of
from agentexchange.recording import Hole, Lane, received_of
from agentexchange.recording import place_of as envelope_place
from agentexchange.recording._merge import OpenRun
from agentexchange_schemas import Cause, EnvelopeError, Kind
from agentexchange_schemas.envelope import STATUS_TOPIC
from agentexchange_schemas.layout import LOG_FIELD, LOG_ID_FIELD, count_of

from ._gaps import with_gaps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentexchange.recording import LogWatch
    from agentexchange_schemas import Layout

    from ._link import Link

__all__ = ["PAGE", "Log", "LogReader", "look_at", "page_of", "raw_of"]

PAGE: Final = 500
"""Log entries of one read: as many of the largest envelopes as a reply may hold."""

_FIELD: Final = LOG_FIELD.encode()


class Log(NamedTuple):
    """A log that holds something.

    Attributes:
        lane: what its events go by.
        key: its key.
        names: the key of the hash with its name.
        first_us: the place of its first entry.
        last_us: the place of its last entry when it was looked at: nothing behind it is read.
        end: the id of that entry.
        counters: each of its topics with the last seq that was counted, all of them up to ``end``; none where nobody
            has counted.
        is_trimmed: whether entries before the first one are gone, as far as the first one's number tells.
    """

    lane: Lane
    key: str
    names: str
    first_us: int
    last_us: int
    end: bytes
    counters: Mapping[str, int]
    is_trimmed: bool


async def look_at(link: Link, layout: Layout, scope: str, key: str, counted: Mapping[str, str]) -> Log | None:
    """What is known of a log before it is read; None where it is empty.

    ``counted`` is the scope's seq hash, read before: so every event that it counts lies before the end found here.
    """
    first = await link.command("XRANGE", key, "-", "+", "COUNT", 1)
    last = await link.command("XREVRANGE", key, "+", "-", "COUNT", 1)
    if not first or not last:
        return None
    lane = Lane(scope, key.removeprefix(layout.base(scope)), counted.get(LOG_ID_FIELD, ""))
    has_candles = key == layout.candle_log(scope) if scope.startswith("m") else None
    return Log(
        lane=lane,
        key=key,
        names=layout.seq(scope),
        first_us=place_of(first[0][0]),
        last_us=place_of(last[0][0]),
        end=last[0][0],
        counters={
            topic: count_of(seq)
            for topic, seq in counted.items()
            if not topic.startswith("#") and has_candles in (None, topic.startswith(f"{Kind.CANDLES}:"))
        },
        is_trimmed=_seq_of(first[0]) > 1,
    )


async def page_of(link: Link, key: str, after: bytes, end: bytes, count: int = PAGE) -> list[Any]:
    """Entries behind ``after``, up to ``end`` and with it."""
    page: list[Any] = await link.command("XRANGE", key, b"(" + after, end, "COUNT", count)
    return page


class LogReader:
    """Reads one log, and takes out what comes before other logs' events.

    Each page begins with the last entry of the one before: where that is gone, entries behind it may be as well. Then,
    and after another connection, the log's own name shows whether it is the same log at all: of another one nothing is
    read. That something may be missing is told at once, and for each topic what is, as soon as its seqs show it.

    Args:
        link: asks Redis.
        log: which log.
        watch: what is wanted of it; sees what is missing in between.
        start_us: the first ``r`` wanted; None for the beginning.
        end_us: the first ``r`` no longer wanted; None for the end.
        has_notices: whether what is missing is told by notices among the events.

    Attributes:
        holes: what was missing so far.
    """

    def __init__(
        self, link: Link, log: Log, watch: LogWatch, start_us: int | None, end_us: int | None, *, has_notices: bool
    ) -> None:
        self.log = log
        self.watch = watch
        self.holes: list[Hole] = []
        self._link = link
        self._connections = link.connections
        self._has_notices = has_notices
        self._after = id_of(start_us - 1) if start_us else START
        self._begin_us = max(start_us or 0, log.first_us)
        self._last: bytes | None = None  # id of the last entry that was read
        self._is_cut = end_us is not None and end_us <= log.last_us
        self._end = b"(" + id_of(end_us or 0) if self._is_cut else log.end
        self._until_us = min(log.last_us, log.last_us if end_us is None else end_us)
        self._cause: Cause | None = None  # why something is missing, once something may be
        self._lost_us = 0  # and from where on
        self._is_over = self._begin_us > self._until_us
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
        while self._run is None and not self._is_over:
            raws = await self._read()
            if raws:
                self._run = OpenRun(raws, received_of(raws[0]), received_of(raws[-1]))
        return self._run is not None

    async def _read(self) -> list[bytes]:
        """The next page's events that are wanted; in their places, notices of what is missing."""
        entries = await self._link.command("XRANGE", self.log.key, self._begin, self._end, "COUNT", PAGE)
        is_whole = bool(entries) and entries[0][0] == self._last
        if is_whole:
            del entries[0]
        holes = []
        if not is_whole or self._link.connections != self._connections:
            holes = await self._look_again(entries, is_whole=is_whole)
        raws, missed = self.watch.take([raw for entry in entries if (raw := raw_of(entry)) is not None])
        holes += missed
        if entries:
            self._last = entries[-1][0]
        else:
            self._is_over = True
            holes += self._tails()
        self.holes += holes
        if holes and self._has_notices:
            return with_gaps(self.log.lane.scope, raws, holes, behind_us=self._read_us)
        return raws

    @property
    def _begin(self) -> bytes:
        return b"(" + self._after if self._last is None else self._last

    # What is missing

    async def _look_again(self, entries: list[Any], *, is_whole: bool) -> list[Hole]:
        """Is it the same log, and does it still hold all that was wanted? ``entries`` of another one are removed."""
        self._connections = self._link.connections
        name = await self._link.command("HGET", self.log.names, LOG_ID_FIELD)
        if ("" if name is None else name.decode(errors="replace")) != self.log.lane.log_id:
            entries.clear()
            return self._lost(Cause.LOG_REPLACED, entries)
        if is_whole:
            return []
        oldest = await self._link.command("XRANGE", self.log.key, "-", "+", "COUNT", 1)
        oldest_us = place_of(oldest[0][0]) if oldest else 0
        if self._last is None and 0 < oldest_us <= self._begin_us:
            return []
        return self._lost(Cause.LOG_ROLLED_BACK if 0 < oldest_us <= self._read_us else Cause.TRIMMED, entries)

    @property
    def _read_us(self) -> int:
        """Up to where it was read."""
        return self._begin_us if self._last is None else place_of(self._last)

    def _lost(self, cause: Cause, entries: list[Any]) -> list[Hole]:
        """Entries are gone. Of which topics, and how many, shows with the next event of each, or at the end."""
        self._lost_us = self._read_us if self._cause is None else self._lost_us
        self._cause = cause
        if not entries and self._counts_all:
            return []
        until_us = place_of(entries[0][0]) if entries else self._until_us
        return [Hole(None, cause, self._read_us, until_us)]

    @property
    def _counts_all(self) -> bool:
        """Whether what is missing up to the end can be counted of every topic that is wanted. Notices are too rare."""
        counters, watch = self.log.counters, self.watch
        wanted = [topic for topic in counters if topic != STATUS_TOPIC and watch.wants(topic)]
        return bool(wanted) and not self._is_cut and all(map(watch.has_seen, wanted))

    def _tails(self) -> list[Hole]:
        """Of topics whose last events are gone."""
        if self._cause is None or self._is_cut:
            return []
        tails = self.watch.trimmed_tails(self.log.counters, self.log.last_us)
        return [hole._replace(cause=self._cause, since_us=self._lost_us) for hole in tails]


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

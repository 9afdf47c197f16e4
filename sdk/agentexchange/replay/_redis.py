"""The logs in Redis as a source: read up to where they ended when they were opened."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from agentexchange._shared.commands import Commands
from agentexchange._shared.read import pairs, utc_of
from agentexchange.recording import LaneRun, LogWatch, sentences_of
from agentexchange.redis import RedisLinkError, final_error
from agentexchange_schemas import Kind, Topic
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._back import notices_back
from ._bisect import locate
from ._held import held_candles
from ._link import Link
from ._log import Log, LogReader, look_at
from ._states import in_force

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import EventName, Hole, TopicChoice
    from agentexchange_schemas import FeedStatus, Layout

__all__ = ["RedisSource"]

_logger: Final = logging.getLogger("agentexchange.replay")
_CANDLES: Final = f"{Kind.CANDLES}:"
_CANDLE_LOG: Final = "log:candles"


class RedisSource:
    """What the logs in Redis hold. See `Source`. Needs the extra ``agentexchange[redis]``.

    Args:
        url: of the server, with the prefix of the names.
        scopes: only these; None for every market scope.
        accounts: account scopes beside ``scopes``.
        tell: is given a sentence about each thing that is missing; by default it is logged.
        is_replayed: for a replay, which a lost Redis shall not end, and which tells what is missing in its place: a
            connection that is lost is made anew for as long as it takes, and notices of what the logs lack stand among
            the events, under epoch 0.

    Attributes:
        name: of what is read, for people.
    """

    name = "the logs in Redis"

    def __init__(
        self,
        url: RedisUrl,
        *,
        scopes: Sequence[str] | None = None,
        accounts: Sequence[str] = (),
        tell: Callable[[str], None] = _logger.warning,
        is_replayed: bool = False,
    ) -> None:
        self._url = url
        self._scopes = scopes
        self._accounts = accounts
        self._tell = tell
        self._is_replayed = is_replayed
        self._link = Link(url, waits=is_replayed)
        self._layout: Layout | None = None
        self._logs: list[Log] = []
        self._told: set[str] = set()

    @property
    def first_us(self) -> int | None:
        """``r`` of the oldest event that the logs held when this was opened; None where there was none."""
        return min((log.first_us for log in self._logs), default=None)

    @property
    def last_us(self) -> int | None:
        """``r`` of the newest event."""
        return max((log.last_us for log in self._logs), default=None)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes whose logs hold anything."""
        return tuple(dict.fromkeys(log.lane.scope for log in self._logs))

    @property
    def is_away(self) -> bool:
        """Whether Redis is away, and waited for."""
        return self._link.is_away

    def ticks_since_us(self, scope: str) -> int | None:
        """``r`` of the oldest event in the scope's log of ticks; None where that holds none."""
        return next((log.first_us for log in self._main_logs([scope])), None)

    async def __aenter__(self) -> Self:
        """Connect and look at the logs.

        Raises:
            ConnectionError: Redis does not answer, refuses, or holds another layout.
        """
        with self._public_errors():
            await self._link.open()
            try:
                await self._look()
            except BaseException:
                await self._link.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.close()

    async def runs(
        self,
        start_us: int | None = None,
        end_us: int | None = None,
        *,
        topics: TopicChoice,
        scopes: Sequence[str] | None = None,
    ) -> AsyncIterator[LaneRun]:
        """The events in the recorded order; see `Source.runs`."""
        logs = [log for log in self._logs if scopes is None or log.lane.scope in scopes]
        if start_us is not None:
            self._tell_trimmed(logs, start_us)
        readers = [self._reader(log, topics, start_us, end_us) for log in logs]
        with self._public_errors():
            opened = [reader for reader in readers if await reader.fill()]
            while opened:
                head = min(opened, key=lambda reader: reader.front)  # of several with the same r, the first
                bound = min((other.front for other in opened if other is not head), default=None)
                yield LaneRun(head.log.lane, head.take(bound))
                if head.is_empty and not await head.fill():
                    opened.remove(head)
        for reader in readers:
            self._tell_faults(reader)

    async def locate(self, name: EventName) -> int | None:
        """The ``r`` of an event; see `Source.locate`. Takes a few dozen reads, more for a topic that is rare."""
        log_name = _CANDLE_LOG if name.topic.startswith(_CANDLES) else "log"
        logs = [log for log in self._logs if log.lane.log == log_name and _may_hold(log.lane.scope, name.topic)]
        with self._public_errors():
            found = [place for log in logs if (place := await locate(self._link, log, name)) is not None]
        newest = max(found, key=lambda place: (place.epoch, place.received_us), default=None)
        return None if newest is None else newest.received_us

    async def places(self) -> set[tuple[str, str]] | None:
        """Every scope with the topics of its logs: those that a bridge has counted; see `Source.places`.

        A candle topic whose newest candle is older than all that its log holds is none of them: it is not wanted any
        more, and has been trimmed.
        """
        counted = [(log, topic) for log in self._logs for topic in log.counters]
        if len({log.lane.scope for log, _ in counted}) < len(self.scopes):
            return None
        with self._public_errors():
            held = {(log.lane.scope, topic) for log, topic in counted if not topic.startswith(_CANDLES)}
            for log in self._logs:
                if self._layout is not None and log.lane.log == _CANDLE_LOG:
                    held |= {(log.lane.scope, topic) for topic in await held_candles(self._link, self._layout, log)}
        return held

    async def states_at(self, at_us: int, scopes: Sequence[str]) -> list[FeedStatus]:
        """How these scopes were, as far as a notice in the last entries before tells; see `Source.states_at`."""
        logs = self._main_logs(scopes)
        told: list[FeedStatus] = []
        with self._public_errors():
            for log in logs:
                told += in_force(log.lane.scope, await notices_back(self._link, log, at_us, share=len(logs)))
        return told

    # Within

    async def _look(self) -> None:
        layout = self._layout = await Commands(self._link.stream, self._url.prefix).layout()
        if layout is None:
            self._tell(f"no bridge has written under the prefix '{self._url.prefix}'")
            return
        scopes = dict.fromkeys((*(layout.market_scopes if self._scopes is None else self._scopes), *self._accounts))
        counted = {scope: pairs(await self._link.command("HGETALL", layout.seq(scope))) for scope in scopes}
        keys = [(scope, layout.log(scope)) for scope in scopes]
        keys += [(scope, layout.candle_log(scope)) for scope in scopes if scope.startswith("m")]
        for scope, key in keys:
            log = await look_at(self._link, layout, scope, key, counted[scope])
            if log is not None:
                self._logs.append(log)

    def _main_logs(self, scopes: Iterable[str]) -> list[Log]:
        """Those that hold all but candles."""
        return [log for log in self._logs if log.lane.scope in scopes and log.lane.log != _CANDLE_LOG]

    def _reader(self, log: Log, topics: TopicChoice, start_us: int | None, end_us: int | None) -> LogReader:
        watch = LogWatch(topics.wants)
        return LogReader(self._link, log, watch, start_us, end_us, has_notices=self._is_replayed)

    def _tell_trimmed(self, logs: Sequence[Log], start_us: int) -> None:
        for log in logs:
            if log.is_trimmed and start_us < log.first_us and log.key not in self._told:
                self._told.add(log.key)
                begins = utc_of(log.first_us).isoformat(timespec="milliseconds")
                self._tell(f"{log.lane.scope} {log.lane.log}: begins at {begins}; what came before was trimmed")

    def _tell_faults(self, reader: LogReader) -> None:
        holes: list[Hole] = reader.holes
        for sentence in sentences_of(reader.log.lane.scope, holes):
            self._tell(sentence)
        if reader.watch.junk:
            self._tell(f"{reader.log.key}: {reader.watch.junk} entries are no envelopes, or out of order: left out")

    @contextmanager
    def _public_errors(self) -> Iterator[None]:
        try:
            yield
        except RedisLinkError as fault:
            raise final_error(fault, self._url) from fault


def _may_hold(scope: str, topic: str) -> bool:
    is_private = topic != STATUS_TOPIC and Topic.parse(topic).is_private
    return topic == STATUS_TOPIC or is_private is not scope.startswith("m")

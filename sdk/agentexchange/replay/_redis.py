"""The logs in Redis as a source: read up to where they ended when they were opened."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from agentexchange._shared.commands import Commands
from agentexchange._shared.read import utc_of
from agentexchange.recording import LaneRun, LogWatch, sentences_of
from agentexchange.redis import RedisLinkError, RespStream, StreamOptions, final_error
from agentexchange_schemas import Kind, Topic
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._bisect import locate
from ._log import Log, LogReader, look_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import EventName, Hole, TopicChoice
    from agentexchange_schemas import Layout

__all__ = ["RedisSource"]

_logger: Final = logging.getLogger("agentexchange.replay")
_PATIENT: Final = StreamOptions(reply_timeout_s=60.0)  # a handler that blocks the loop is no fault of Redis


class RedisSource:
    """What the logs in Redis hold. See `Source`. Needs the extra ``agentexchange[redis]``.

    Args:
        url: of the server, with the prefix of the names.
        scopes: only these; None for every market scope.
        accounts: account scopes beside ``scopes``.
        tell: is given a sentence about each thing that is missing; by default it is logged.
    """

    def __init__(
        self,
        url: RedisUrl,
        *,
        scopes: Sequence[str] | None = None,
        accounts: Sequence[str] = (),
        tell: Callable[[str], None] = _logger.warning,
    ) -> None:
        self._url = url
        self._scopes = scopes
        self._accounts = accounts
        self._tell = tell
        self._stream: RespStream | None = None
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

    async def __aenter__(self) -> Self:
        """Connect and look at the logs.

        Raises:
            ConnectionError: Redis does not answer, refuses, or holds another layout.
        """
        with self._public_errors():
            self._stream = await RespStream.connect(self._url, name="agentexchange-replay", options=_PATIENT)
            try:
                await self._look(self._stream)
            except BaseException:
                self._stream.close()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            await self._stream.wait_closed()

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
        readers = [LogReader(self._link, log, LogWatch(topics.wants), start_us, end_us) for log in logs]
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
        log_name = "log:candles" if name.topic.startswith(f"{Kind.CANDLES}:") else "log"
        logs = [log for log in self._logs if log.lane.log == log_name and _may_hold(log.lane.scope, name.topic)]
        with self._public_errors():
            found = [place for log in logs if (place := await locate(self._link, log, name)) is not None]
        newest = max(found, key=lambda place: (place.epoch, place.received_us), default=None)
        return None if newest is None else newest.received_us

    # Within

    @property
    def _link(self) -> RespStream:
        if self._stream is None:
            raise RuntimeError("RedisSource is used within async with")
        return self._stream

    async def _look(self, stream: RespStream) -> None:
        layout = await Commands(stream, self._url.prefix).layout()
        if layout is None:
            self._tell(f"no bridge has written under the prefix '{self._url.prefix}'")
            return
        for scope, key in self._keys(layout):
            log = await look_at(stream, layout, scope, key)
            if log is not None:
                self._logs.append(log)

    def _keys(self, layout: Layout) -> Iterable[tuple[str, str]]:
        scopes = dict.fromkeys((*(layout.market_scopes if self._scopes is None else self._scopes), *self._accounts))
        yield from ((scope, layout.log(scope)) for scope in scopes)
        yield from ((scope, layout.candle_log(scope)) for scope in scopes if scope.startswith("m"))

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

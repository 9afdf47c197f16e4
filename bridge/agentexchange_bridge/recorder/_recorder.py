"""Records logs for as long as it is let: connects, reads, connects again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from agentexchange._backoff import backoff
from agentexchange._shared.read import layout_of, pairs
from agentexchange.redis import RedisLinkError, RespStream, Verdict, final_error, judge

from ._options import RecorderOptions, RecorderStats
from ._session import RecorderSession
from ._source import LogSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentexchange_schemas import Layout

__all__ = ["Recorder"]

_NAME: Final = "agentexchange-recorder"
_FIRST_RETRY_S: Final = 0.1
_LAST_RETRY_S: Final = 5.0


class Recorder:
    """Reads logs of Redis into a recording. Redis may go and come back; each log is read on from where it was left.

    Attributes:
        stats: what happened.
    """

    def __init__(self, options: RecorderOptions) -> None:
        self._options = options
        self._sources: list[LogSource] = []
        self._has_worked = False
        self._has_waited = False
        self._delays = _new_delays()
        self.stats = RecorderStats()

    async def run(self, stop: asyncio.Event) -> None:
        """Record until ``stop`` is set. The writer is not closed.

        Raises:
            ConnectionError: Redis refuses for good, or holds a layout that this release does not read.
            OSError: the recording cannot be written.
        """
        while not stop.is_set():
            try:
                await self._connect(stop)
            except RedisLinkError as exc:
                if judge(exc, has_worked=self._has_worked) is Verdict.FINAL:
                    raise final_error(exc, self._options.url) from exc
                self._lost(exc)
                await _pause(next(self._delays), stop)

    async def _connect(self, stop: asyncio.Event) -> None:
        stream = await RespStream.connect(self._options.url, name=_NAME, options=self._options.stream)
        try:
            layout = await self._layout(stream, stop)
            if layout is None:
                return
            self._sources = self._sources or self._new_sources(layout)
            session = RecorderSession(stream, self._sources, self._options, self.stats, on_read=self._worked)
            await session.run(stop)
        finally:
            stream.close("the session is over")

    async def _layout(self, stream: RespStream, stop: asyncio.Event) -> Layout | None:
        """What the bridge has written here; waits for it. None where ``stop`` was set first."""
        prefix = self._options.url.prefix
        is_told = False
        while not stop.is_set():
            layout = layout_of(pairs(await stream.command("HGETALL", f"{prefix}:meta")), prefix)
            if layout is not None:
                return layout
            if not is_told:
                self._options.tell(f"no bridge has written under the prefix '{prefix}' yet: waiting for one")
                is_told = self._has_waited = True
            await _pause(self._options.look_every_s, stop)
        return None

    def _new_sources(self, layout: Layout) -> list[LogSource]:
        options = self._options
        market = layout.market_scopes if options.scopes is None else options.scopes
        scopes = dict.fromkeys((*market, *options.accounts))
        logs = [(scope, layout.log(scope)) for scope in scopes]
        logs += [(scope, layout.candle_log(scope)) for scope in scopes if scope.startswith("m")]
        start_us = self._resumed_us() if options.start_us is None else options.start_us
        return [
            LogSource(layout, scope, key, writer=options.writer, wants=options.topics.wants, start_us=start_us)
            for scope, key in logs
        ]

    def _resumed_us(self) -> int | None:
        """Up to when an earlier recorder had read every log: a log it had nothing of begins there.

        Without one, all of logs that began while this one waited; None for what comes next in logs that were there.
        """
        writer = self._options.writer
        return max((writer.last_us(lane) or 0 for lane in writer.lanes), default=0 if self._has_waited else None)

    def _worked(self) -> None:
        """A read was answered: the connection is good."""
        if self.stats.is_away:
            self._options.tell("Redis is back: reading on from where the logs were left")
        self.stats.is_away = False
        self._has_worked = True
        self._delays = _new_delays()

    def _lost(self, exc: RedisLinkError) -> None:
        """Said once per outage."""
        if not self.stats.is_away:
            self.stats.outages += 1
            self._options.tell(f"Redis is away, trying again: {exc}")
        self.stats.is_away = True


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def _new_delays() -> Iterator[float]:
    return backoff(first=_FIRST_RETRY_S, cap=_LAST_RETRY_S)

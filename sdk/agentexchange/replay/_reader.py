"""Reads ahead: events of a source as decoded parts, while those before are being handled."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange._tasks import end
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.recording import LaneRun
    from agentexchange_schemas import Envelope

__all__ = ["Part", "Reader"]

_log: Final = logging.getLogger("agentexchange.replay")
_AHEAD_BYTES: Final = 4 * 1024 * 1024  # that are read before they are wanted: 20,000 ticks
_PART: Final = 128  # events that are decoded together: a tenth of a millisecond or two


class Part(NamedTuple):
    """Events of one scope that follow each other."""

    scope: str
    envelopes: list[Envelope]


class Reader:
    """Reads ``runs`` on a task of its own, as far ahead as `_AHEAD_BYTES`. Close one that is not needed any more."""

    def __init__(self, runs: AsyncIterator[LaneRun]) -> None:
        self._has_junk = False
        self._runs = runs
        self._read: deque[LaneRun] = deque()
        self._ahead = 0  # bytes
        self._changed = asyncio.Event()
        self._run: LaneRun | None = None
        self._at = 0
        self._task = asyncio.create_task(self._read_ahead(), name="agentexchange:replay-reader")
        self._task.add_done_callback(lambda _: self._changed.set())

    async def next(self) -> Part | None:
        """The next events; None at the end. Cancelled, it has taken nothing.

        Raises:
            RecordingError: damaged here; everything before was handed out.
            ConnectionError: Redis does not answer any more.
            OSError: the file cannot be read.
        """
        while self._run is None or self._at >= len(self._run.raws):
            self._run, self._at = await self._next_run(), 0
            if self._run is None:
                return None
        raws = self._run.raws[self._at : self._at + _PART]
        self._at += len(raws)
        self._ahead -= sum(map(len, raws))
        if self._ahead < _AHEAD_BYTES:
            self._changed.set()
        return Part(self._run.lane.scope, self._decoded(raws))

    @property
    def is_ready(self) -> bool:
        """Whether `next` will not wait."""
        return (self._run is not None and self._at < len(self._run.raws)) or bool(self._read) or self._task.done()

    async def close(self) -> None:
        """Stop reading. Idempotent."""
        await end((self._task,))

    async def _next_run(self) -> LaneRun | None:
        while not self._read:
            if self._task.done():
                self._task.result()
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._read.popleft()

    def _decoded(self, raws: list[bytes]) -> list[Envelope]:
        try:
            return list(map(decode, raws))
        except EnvelopeError:
            return [envelope for raw in raws if (envelope := self._readable(raw)) is not None]

    def _readable(self, raw: bytes) -> Envelope | None:
        try:
            return decode(raw)
        except EnvelopeError as exc:
            if not self._has_junk:
                _log.warning("an event that is no envelope is left out, and so are others like it: %s", exc)
            self._has_junk = True
            return None

    async def _read_ahead(self) -> None:
        try:
            async for run in self._runs:
                self._read.append(run)
                self._ahead += sum(map(len, run.raws))
                self._changed.set()
                while self._ahead >= _AHEAD_BYTES:
                    self._changed.clear()
                    await self._changed.wait()
        finally:
            if isinstance(self._runs, AsyncGenerator):
                await self._runs.aclose()

"""What all viewers share: of a Redis server, or of a recording."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Self

from agentexchange._shared.read import layout_of, pairs
from agentexchange._tasks import end
from agentexchange.errors import ConnectionError as PublicConnectionError
from agentexchange.redis import RedisLinkError, Verdict, final_error, judge
from agentexchange.replay import RedisSource

from ._link import Link
from .board import Notices
from .letters import Letters
from .live import LiveFeed, LiveOptions
from .past import FileHistory, TimeLines, TravelFeed, TravelOptions, notices_before

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import EventName, Lane

    from .feed import Feed
    from .views import DeadLetterRow, TimeLine, Window

__all__ = ["FileInspection", "RedisInspection"]

_NAME: Final = "agentexchange-inspector"
_NOTICE_PAGE: Final = 5_000  # about a block's events
_MAX_NOTICE_PAGES: Final = 200
_LOOK_S: Final = 1.0

_log = logging.getLogger("agentexchange_bridge")


class RedisInspection:
    """An `Inspection` of a Redis server, live and back as far as its logs reach.

    Args:
        url: the server.
        accounts: account scopes that may be shown.
        live: of the live feed.
        travel: of those who travel.
    """

    def __init__(
        self,
        url: RedisUrl,
        accounts: Sequence[str],
        *,
        live: LiveOptions | None = None,
        travel: TravelOptions | None = None,
    ) -> None:
        self._link = Link(url, name=_NAME)
        self._feed = LiveFeed(self._link, accounts, options=live or LiveOptions())
        self._travel_options = travel or TravelOptions()
        self._task: asyncio.Task[None] | None = None
        self._lines: TimeLines | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ConnectionError: the server refuses for good, or holds another layout. One that is away is waited for.
        """
        try:
            await self._look()
        except BaseException:
            await self._close()
            raise
        self._task = asyncio.create_task(self._feed.run(), name="inspector")
        self._task.add_done_callback(_tell_end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end([self._task])
        await self._close()

    async def _look(self) -> None:
        """See that there is nothing to be shown, or what can be shown."""
        try:
            meta = await self._link.command("HGETALL", self._feed.layout.meta)
        except RedisLinkError as exc:
            if judge(exc) is Verdict.FINAL:
                raise final_error(exc, self._link.url) from exc
        else:
            layout_of(pairs(meta), self._link.url.prefix)

    async def _close(self) -> None:
        self._link.close()
        await asyncio.sleep(0)  # the socket is closed in the loop's next turn

    @property
    def live(self) -> Feed:
        """See `Inspection`."""
        return self._feed

    @property
    def grows(self) -> bool:
        """See `Inspection`: always."""
        return True

    async def timeline(self, buckets: int = 240, window: Window | None = None) -> TimeLine:
        """See `Inspection`: rates are estimated where many events came.

        Raises:
            ConnectionError: Redis is away; so does each method here.
        """
        if self._lines is None or self._lines.history is not self._feed.history:
            self._lines = TimeLines(self._feed.history, self._feed.notices)
        return await self._lines.timeline(buckets, window)

    async def locate(self, name: EventName) -> int | None:
        """See `Inspection`: over a connection of its own, as a replay does."""
        scopes = dict.fromkeys(lane.scope for lane in self._feed.history.lanes)
        async with RedisSource(self._link.url, scopes=tuple(scopes), tell=_log.debug) as source:
            return await source.locate(name)

    async def travel(self, at_us: int | None = None) -> TravelFeed:
        """See `Inspection`."""
        source = str(self._link.url)
        travel = TravelFeed(self._feed.history, self._feed.notices, source=source, options=self._travel_options)
        await travel.go(self._feed.at_us if at_us is None else at_us)
        return travel

    async def dead_letters(self) -> list[DeadLetterRow]:
        """See `Inspection`."""
        return await Letters(self._link, self._feed.history).rows()

    async def retry(self, letter: DeadLetterRow) -> bool:
        """See `Inspection`."""
        return await Letters(self._link, self._feed.history).retry(letter)

    async def drop(self, letter: DeadLetterRow) -> bool:
        """See `Inspection`."""
        return await Letters(self._link, self._feed.history).drop(letter)


class FileInspection:
    """An `Inspection` of a recording: it has a past alone, and no dead letters.

    Args:
        path: the file.
        accounts: account scopes that may be shown.
        travel: of those who travel.
        clock: monotonic seconds.
    """

    live: None = None

    def __init__(
        self,
        path: Path,
        accounts: Sequence[str],
        *,
        travel: TravelOptions | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._accounts = frozenset(accounts)
        self._travel_options = travel or TravelOptions()
        self._notices = Notices()
        self._history: FileHistory | None = None
        self._clock = clock
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Open the file.

        Raises:
            RecordingError: foreign, or of a later version.
            OSError: it cannot be read.
        """
        self._history = await asyncio.to_thread(FileHistory, self._path, self._accounts)
        await self._find_notices(self._history, {})
        self._lines = TimeLines(self._history, self._notices)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._history is not None:
            await asyncio.to_thread(self._history.close)

    @property
    def grows(self) -> bool:
        """See `Inspection`."""
        return self._open.grows

    async def timeline(self, buckets: int = 240, window: Window | None = None) -> TimeLine:
        """See `Inspection`: with what has been written since; however many ask, that is looked for once a second.

        Raises:
            ConnectionError: the file cannot be read; so do `travel` and `locate`.
        """
        async with self._looking:
            if self.grows and self._clock() - self._looked_at >= _LOOK_S:
                await self._look(self._open)
                self._looked_at = self._clock()
        return await self._lines.timeline(buckets, window)

    async def locate(self, name: EventName) -> int | None:
        """See `Inspection`."""
        return await self._open.locate(name)

    async def travel(self, at_us: int | None = None) -> TravelFeed:
        """See `Inspection`."""
        history = self._open
        travel = TravelFeed(history, self._notices, source=self._path.name, options=self._travel_options)
        await travel.go(history.end_us() if at_us is None else at_us)
        return travel

    async def dead_letters(self) -> list[DeadLetterRow]:
        """See `Inspection`: none are recorded."""
        return []

    async def retry(self, letter: DeadLetterRow) -> bool:
        """Refuse: a recording is never changed.

        Raises:
            ConnectionError: always.
        """
        raise PublicConnectionError(f"a recording has no dead letters to retry or drop ({letter.id})")

    drop = retry

    async def _look(self, history: FileHistory) -> None:
        """Take in what its recorder has written; events of a lane may be older than the last ones of another."""
        ends_us = {span.lane: span.last_us or 0 for span in await history.spans()}
        if await history.refresh():
            await self._find_notices(history, ends_us)
            self._lines = TimeLines(history, self._notices)

    async def _find_notices(self, history: FileHistory, known_us: Mapping[Lane, int]) -> None:
        """Those that there are, behind the moment up to which they are known in a lane; of very many the newest."""
        for lane in history.lanes:
            left = _MAX_NOTICE_PAGES
            async with aclosing(notices_before(history, lane, history.end_us() + 1, page=_NOTICE_PAGE)) as pages:
                async for told, edge_us in pages:
                    for notice in told:
                        self._notices.add(*notice)
                    if not (left := left - 1) or edge_us < known_us.get(lane, 0):
                        break

    @property
    def _open(self) -> FileHistory:
        if self._history is None:
            raise RuntimeError("FileInspection is used within async with")
        return self._history


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("inspector: the live feed has ended", exc_info=task.exception())

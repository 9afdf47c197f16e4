"""LiveFeed: the feed as it is now, read once for all viewers."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange._shared.commands import START, place_of
from agentexchange._shared.read import layout_of, pairs, utc_of
from agentexchange.errors import ConnectionError as PublicConnectionError
from agentexchange.freshness import ServerClock
from agentexchange.redis import RedisLinkError
from agentexchange_bridge.inspector.board import MAX_BARS, Board, Notices
from agentexchange_bridge.inspector.past import (
    MAIN_LOG,
    EventChoice,
    RedisHistory,
    bars_before,
    board_at,
    candle_topic,
    detail_of,
    raws_of,
    rows_before,
)
from agentexchange_schemas import Cause, EnvelopeError, FeedState, Layout, ScopeStates, TopicState
from agentexchange_schemas.envelope import decode

from ._clients import find_listeners
from ._forming import Forming
from ._look import Look, Question
from ._overview import overview_of
from ._reader import LogReader, ReadOptions
from ._recent import Recent
from ._survey import Survey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector._link import Link
    from agentexchange_bridge.inspector.views import (
        AccountView,
        Bar,
        ClientRow,
        EventDetail,
        EventKey,
        EventRow,
        GapRow,
        Overview,
        PriceRow,
    )

__all__ = ["LiveFeed", "LiveOptions"]

_SIZES_EVERY: Final = 10  # looks
_CLIENTS_EVERY: Final = 5
_LAGS_PER_BATCH: Final = 4
_MAX_ROWS: Final = 1_000

_log = logging.getLogger("agentexchange_bridge")


def wall_us() -> int:
    """This machine's time, µs since the Unix epoch."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """Times and limits.

    Attributes:
        look_every_s: between two looks at leases, statuses and logs.
        read: how logs are read.
        wall: this machine's time, µs since the Unix epoch.
        clock: monotonic seconds.
        sleep: waits for seconds.
    """

    look_every_s: float = 1.0
    read: ReadOptions = field(default_factory=ReadOptions)
    wall: Callable[[], int] = wall_us
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class LiveFeed:
    """A `Feed` of the market and of ``accounts``; `run` keeps it up to date, and lives through outages of Redis.

    Args:
        link: the connection for questions.
        accounts: account scopes that may be shown.
        options: times and limits.
    """

    def __init__(self, link: Link, accounts: Sequence[str], *, options: LiveOptions = LiveOptions()) -> None:
        self._link = link
        self._accounts = tuple(accounts)
        self._options = options
        self._clock = ServerClock()
        self._recent = Recent()
        self._clients: tuple[ClientRow, ...] = ()
        self._away: TopicState | None = None
        self._delays = _new_delays()
        self.notices = Notices()
        self._survey = Survey(self.notices, options.sleep)
        self._seen: dict[Lane, int] = {}
        self._board = Board()
        self._install(Layout(link.url.prefix))

    def _install(self, layout: Layout) -> None:
        """Begin with an empty board for this layout."""
        self.layout = layout
        scopes = (*layout.market_scopes, *self._accounts)
        self.history = RedisHistory(self._link, layout, scopes, wall=self._options.wall)
        self._board = Board(scopes, version=self._board.version, notices=self.notices)
        self._look = Look()
        keys = {lane: self.history.key(lane) for lane in self.history.lanes}
        self._question = Question(layout, keys, scopes)
        self._reader = LogReader(
            self._link.url, keys, on_entries=self._take, sleep=self._options.sleep, options=self._options.read
        )
        self._forming = Forming(
            self._link.url,
            layout,
            take=self._board.charts.take,
            options=self._options.read.stream,
        )

    # The feed

    @property
    def at_us(self) -> int:
        """Now."""
        return self._options.wall()

    def overview(self) -> Overview:
        """See `Feed.overview`; while Redis is away every scope is ``blind`` and says so."""
        return overview_of(
            self._look,
            self._board,
            at_us=self.at_us,
            source=str(self._link.url),
            clients=self._clients,
            keys={lane: self.history.key(lane) for lane in self.history.lanes},
            away=self._away,
        )

    def prices(self, since: int = 0) -> tuple[int, list[PriceRow]]:
        """See `Feed.prices`."""
        return self._board.prices(since, self.at_us)

    async def candles(self, symbol: str, interval: str, limit: int = 200) -> list[Bar]:
        """See `Feed.candles`."""
        topic = candle_topic(symbol, interval)
        charts = self._board.charts
        chart = charts.of(topic)
        if chart is None:
            chart = charts.open(topic)
            try:
                chart.take(await bars_before(self.history, topic, self.at_us, MAX_BARS))
            except PublicConnectionError:
                charts.drop(topic)
                raise
        return chart.newest(limit)

    def symbols(self) -> Sequence[str]:
        """See `Feed.symbols`."""
        return self._board.symbols()

    def accounts(self) -> Sequence[str]:
        """See `Feed.accounts`."""
        return self._accounts

    def account(self, scope: str) -> AccountView:
        """See `Feed.account`."""
        return self._board.account(scope)

    async def events(
        self, *, filter_text: str = "", kinds: Sequence[str] = (), before: EventKey | None = None, limit: int = 200
    ) -> list[EventRow]:
        """See `Feed.events`; fewer rows than asked for mean that no more were found among 40,000 events before."""
        choice = EventChoice(filter_text, kinds)
        limit = max(1, min(limit, _MAX_ROWS))
        if before is not None:
            until_us = before.received_us + 1
            return await rows_before(self.history, choice, until_us, limit=limit, after=before)
        standing = await self._recent.standing(choice)
        if not standing.is_complete and len(standing.newest(limit)) < limit and self._away is None:
            standing.begin_with(await rows_before(self.history, choice, self._recent.floor_us + 1, limit=_MAX_ROWS))
        return standing.newest(limit)

    async def event(self, key: EventKey) -> EventDetail | None:
        """See `Feed.event`."""
        return await detail_of(self.history, key)

    def gaps(self) -> list[GapRow]:
        """See `Feed.gaps`."""
        return self.notices.gaps()

    # Keeping up

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                try:
                    await self._session()
                except* (RedisLinkError, PublicConnectionError) as group:
                    self._lost(group.exceptions[0])
                await self._options.sleep(next(self._delays))
        finally:
            self._forming.close()

    async def _session(self) -> None:
        """From a new look at the layout until the connection goes."""
        layout = await self._wait_for_layout()
        if layout != self.layout:
            self._forming.close()
            self._install(layout)
        await self._fill()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reader.run(), name="inspector logs")
            group.create_task(self._watch(), name="inspector look")
            group.create_task(self._survey.run(self.history), name="inspector survey")

    async def _wait_for_layout(self) -> Layout:
        prefix = self._link.url.prefix
        while True:
            layout = layout_of(pairs(await self._link.command("HGETALL", self.layout.meta)), prefix)
            if layout is not None:
                return layout
            self._show(self._question.read(await self._link.ask(self._question.commands), []))
            await self._options.sleep(self._options.look_every_s)

    async def _fill(self) -> None:
        """Begin at the logs' ends: what was before is read backwards, as far as it is needed."""
        lanes = self.history.lanes
        keys = [self.history.key(lane) for lane in lanes]
        ends = await self._link.ask([("XREVRANGE", key, "+", "-", "COUNT", 1) for key in keys])
        cursors = {
            key: end[0][0] if isinstance(end, list) and end else START for key, end in zip(keys, ends, strict=True)
        }
        self._reader.move(cursors)
        self._expect_notices(cursors)
        floor_us = max(map(place_of, cursors.values()))
        self._recent.clear(floor_us)
        self._board.charts.clear()
        await board_at(self.history, self._board, max(floor_us, self.at_us))
        for meter in self._board.meters.values():
            meter.restart()

    def _expect_notices(self, cursors: Mapping[str, bytes]) -> None:
        """What came between the last entry that was read and the present end is looked through in its own time."""
        for lane in self.history.lanes:
            end_us = place_of(cursors[self.history.key(lane)])
            if lane.log == MAIN_LOG:
                self._survey.expect(lane, self._seen.get(lane, 0), end_us + 1)
            self._seen[lane] = end_us

    def _take(self, lane: Lane, entries: list[Any]) -> None:
        """The hot path: the next entries of a log."""
        scope, take = lane.scope, self._board.take
        raws = raws_of(entries)
        self._seen[lane] = last_us = place_of(entries[-1][0])
        self._recent.add(scope, raws, last_us)
        for raw in raws:
            try:
                envelope = decode(raw)
            except EnvelopeError:
                continue
            take(scope, envelope)
        self._note_lags(scope, entries)

    def _note_lags(self, scope: str, entries: list[Any]) -> None:
        meter, now_us = self._board.meters[scope], self.at_us - self._ahead_us(scope)
        for entry in entries[:: 1 + len(entries) // _LAGS_PER_BATCH]:
            meter.lag(max(0, now_us - place_of(entry[0])) / 1_000)

    def _ahead_us(self, scope: str) -> int:
        """How far this machine's clock is ahead of that of the scope's bridge, where that is known."""
        look, server = self._look.scopes.get(scope), self._clock.ahead_us
        if look is None or look.clock_offset_us is None or server is None:
            return 0
        return look.clock_offset_us - server

    # Looking

    async def _watch(self) -> None:
        """Look at the installation, every second; at what costs more, every few seconds."""
        sizes: list[Any] = []
        turn = 0
        while True:
            if turn % _SIZES_EVERY == 0:
                sizes = await self._link.ask(self._question.sizes)
            if turn % _CLIENTS_EVERY == 0:
                self._clients = await find_listeners(await self._link.stream(), self.layout, self.at_us)
            asked_us = self.at_us
            answers = await self._link.ask(self._question.commands)
            look = self._question.read(answers, sizes)
            self._clock.answered(asked_us, look.server_us, self.at_us)
            if self._is_replaced(look):
                await self._fill()
            self._show(look)
            await self._forming.keep(self._board.charts.topics())
            turn += 1
            await self._options.sleep(self._options.look_every_s)

    def _show(self, look: Look) -> None:
        self._look = look
        clock = self._options.clock()
        for scope, found in look.scopes.items():
            self._board.take_states(scope, found.states)
            self._board.meters[scope].mark(clock)
        if self._away is not None:
            _log.info("inspector: Redis is back")
        self._away, self._delays = None, _new_delays()

    def _is_replaced(self, look: Look) -> bool:
        """Whether a log has another name than before: then what is read on from is no place in it."""
        known = self._look.scopes
        return any(
            scope in known and known[scope].log_id is not None and found.log_id != known[scope].log_id
            for scope, found in look.scopes.items()
        )

    def _lost(self, fault: BaseException) -> None:
        """Redis is away; said once."""
        if self._away is None:
            _log.warning("inspector: Redis is away, trying again: %s", fault)
            since = utc_of(self.at_us)
            self._away = TopicState(FeedState.BLIND, since, Cause.REDIS_LOST, f"Redis is away: {fault}")
        for scope in self._board.meters:
            self._board.take_states(scope, ScopeStates(self._away))
            self._board.meters[scope].restart()


def _new_delays() -> Iterator[float]:
    return backoff(first=0.2, cap=5.0)

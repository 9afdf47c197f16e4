"""Keeper: reads logs and statuses for as long as it is let, and lives through outages of Redis."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange._shared.commands import START, place_of
from agentexchange._shared.read import layout_of, pairs, utc_of
from agentexchange.errors import ConnectionError as PublicConnectionError
from agentexchange.freshness import ServerClock
from agentexchange.redis import RedisLinkError, ReplyError
from agentexchange_bridge.inspector.past import MAIN_LOG, board_at, raws_of
from agentexchange_schemas import Cause, EnvelopeError, FeedState, ScopeStates, TopicState
from agentexchange_schemas.envelope import decode

from ._clients import find_listeners
from ._forming import Forming
from ._look import Question
from ._reader import LogReader
from ._survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector._link import Link
    from agentexchange_schemas import Layout

    from ._look import Look
    from ._state import LiveOptions, LiveState

__all__ = ["Keeper"]

_SIZES_EVERY: Final = 10  # looks
_CLIENTS_EVERY: Final = 5
_PROVEN: Final = 3  # looks without a fault: what comes later is another outage
_LAGS_PER_BATCH: Final = 4

_log = logging.getLogger("agentexchange_bridge")


class Keeper:
    """Keeps a `LiveState` up to date.

    Args:
        link: the connection for questions.
        state: what it keeps.
        options: times and limits.
    """

    def __init__(self, link: Link, state: LiveState, options: LiveOptions) -> None:
        self._link = link
        self._state = state
        self._options = options
        self._clock = ServerClock()
        self._delays = _new_delays()
        self._is_told = False
        self._survey = Survey(state.notices, options.sleep)
        self._seen: dict[Lane, int] = {}
        self._prepare()

    def _prepare(self) -> None:
        """Make what depends on the layout."""
        state, options = self._state, self._options
        self._question = Question(state.layout, state.keys, state.scopes)
        self._reader = LogReader(
            self._link.url, state.keys, on_entries=self._take, sleep=options.sleep, options=options.read
        )
        self._forming = Forming(self._link.url, state.layout, take=state.board.charts.take, options=options.read.stream)

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
        if layout != self._state.layout:
            self._forming.close()
            self._state.install(layout)
            self._prepare()
        await self._fill()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._reader.run(), name="inspector logs")
            group.create_task(self._watch(), name="inspector look")
            group.create_task(self._survey.run(self._state.history), name="inspector survey")

    async def _wait_for_layout(self) -> Layout:
        prefix = self._link.url.prefix
        while True:
            layout = layout_of(pairs(await self._link.command("HGETALL", self._state.layout.meta)), prefix)
            if layout is not None:
                return layout
            self._show(self._question.read(await self._link.ask(self._question.commands), []))
            await self._options.sleep(self._options.look_every_s)

    def _lost(self, fault: BaseException) -> None:
        """Redis is away, or refuses; said once."""
        state = self._state
        if not self._is_told:
            _log.warning("inspector: Redis is away, trying again: %s", fault)
            self._is_told = True
        if state.away is None:
            since = utc_of(self._options.wall())
            what = "Redis refuses" if isinstance(fault, ReplyError) else "Redis is away"
            state.away = TopicState(FeedState.BLIND, since, Cause.REDIS_LOST, f"{what}: {fault}")
        for scope, meter in state.board.meters.items():
            state.board.take_states(scope, ScopeStates(state.away))
            meter.restart()

    def _proven(self) -> None:
        """It has gone well for some time."""
        if self._is_told:
            _log.info("inspector: Redis is back")
            self._is_told = False
        self._delays = _new_delays()

    # Logs

    async def _fill(self) -> None:
        """Begin at the logs' ends: what was before is read backwards, as far as it is needed."""
        state = self._state
        ends = await self._link.ask([("XREVRANGE", key, "+", "-", "COUNT", 1) for key in state.keys.values()])
        found = zip(state.keys.values(), ends, strict=True)
        cursors = {key: end[0][0] if isinstance(end, list) and end else START for key, end in found}
        self._reader.move(cursors)
        self._expect_notices(cursors)
        floor_us = max(map(place_of, cursors.values()))
        state.events.recent.clear(floor_us)
        state.board.charts.clear()
        await board_at(state.history, state.board, max(floor_us, state.now_us()))
        state.away = None
        for meter in state.board.meters.values():
            meter.restart()

    def _expect_notices(self, cursors: Mapping[str, bytes]) -> None:
        """What came between the last entry that was read and the present end is looked through in its own time."""
        for lane, key in self._state.keys.items():
            end_us = place_of(cursors[key])
            if lane.log == MAIN_LOG:
                self._survey.expect(lane, self._seen.get(lane, 0), end_us + 1)
            self._seen[lane] = end_us

    def _take(self, lane: Lane, entries: list[Any]) -> None:
        """The hot path: the next entries of a log."""
        scope, take = lane.scope, self._state.board.take
        raws = raws_of(entries)
        self._seen[lane] = last_us = place_of(entries[-1][0])
        self._state.events.recent.add(scope, raws, last_us)
        for raw in raws:
            try:
                envelope = decode(raw)
            except EnvelopeError:
                continue
            take(scope, envelope)
        self._note_lags(scope, entries)

    def _note_lags(self, scope: str, entries: list[Any]) -> None:
        meter, now_us = self._state.board.meters[scope], self._options.wall() - self._ahead_us(scope)
        for entry in entries[:: 1 + len(entries) // _LAGS_PER_BATCH]:
            meter.lag(max(0, now_us - place_of(entry[0])) / 1_000)

    def _ahead_us(self, scope: str) -> int:
        """How far this machine's clock is ahead of that of the scope's bridge, where that is known."""
        look, server = self._state.look.scopes.get(scope), self._clock.ahead_us
        if look is None or look.clock_offset_us is None or server is None:
            return 0
        return look.clock_offset_us - server

    # Leases and statuses

    async def _watch(self) -> None:
        """Look at the installation every second; at what costs more, every few seconds."""
        state, wall = self._state, self._options.wall
        sizes: list[Any] = []
        turn = 0
        while True:
            if turn % _SIZES_EVERY == 0:
                sizes = await self._link.ask(self._question.sizes)
            if turn % _CLIENTS_EVERY == 0:
                state.clients = await find_listeners(await self._link.stream(), state.layout, state.now_us())
            asked_us = wall()
            look = self._question.read(await self._link.ask(self._question.commands), sizes)
            self._clock.answered(asked_us, look.server_us, wall())
            if self._is_replaced(look):
                await self._fill()
            self._show(look)
            await self._forming.keep(state.board.charts.topics())
            turn += 1
            if turn == _PROVEN:
                self._proven()
            await self._options.sleep(self._options.look_every_s)

    def _show(self, look: Look) -> None:
        self._state.look, self._state.away = look, None
        self._state.ahead_us = self._ahead_us(self._state.scopes[0])
        board, clock = self._state.board, self._options.clock()
        for scope, found in look.scopes.items():
            board.take_states(scope, found.states)
            board.meters[scope].mark(clock)

    def _is_replaced(self, look: Look) -> bool:
        """Whether a log has another name than before: then what is read on from is no place in it."""
        known = self._state.look.scopes
        return any(
            scope in known and known[scope].log_id is not None and found.log_id != known[scope].log_id
            for scope, found in look.scopes.items()
        )


def _new_delays() -> Iterator[float]:
    return backoff(first=0.2, cap=5.0)

"""TravelFeed: what one viewer sees of the past."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange._tasks import end
from agentexchange.errors import ConnectionError as PublicConnectionError
from agentexchange_bridge.inspector.board import Board
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import decode

from ._bars import chart_of
from ._events import EventList
from ._history import MAX_US
from ._moment import MomentOptions, board_at
from ._overview import overview_at, overview_of_history
from ._search import detail_of
from ._states import show_states
from ._walk import walk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from agentexchange_bridge.inspector.board import Notices
    from agentexchange_bridge.inspector.views import (
        AccountView,
        Bar,
        EventDetail,
        EventKey,
        EventRow,
        GapRow,
        Overview,
        PriceRow,
    )

    from ._history import History
    from ._walk import Placed

__all__ = ["TravelFeed", "TravelOptions"]

_RECENT: Final = 10_000  # events that are at hand, of one viewer
_MAX_STEPS: Final = 1_000
_SPEEDS: Final = (0.1, 1_000.0)
_REST: Final = 3  # times as long as a frame took


@dataclass(frozen=True, slots=True, kw_only=True)
class TravelOptions:
    """How time passes.

    Attributes:
        frame_s: between two steps of a playing clock.
        frame_events: taken in one frame at most; what is beyond is jumped over, as `TravelFeed.go` does.
        moment: what is read to show a moment.
        clock: monotonic seconds.
        sleep: waits for seconds.
    """

    frame_s: float = 0.1
    frame_events: int = 4_000
    moment: MomentOptions = field(default_factory=MomentOptions)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class TravelFeed:
    """A `Travel`. What it shows is built anew by `go`; from there on events are read in their order.

    Args:
        history: what it reads.
        notices: of the whole history, as far as they are known.
        source: what is shown as the overview's source.
        options: how time passes.
    """

    def __init__(
        self, history: History, notices: Notices, *, source: str, options: TravelOptions = TravelOptions()
    ) -> None:
        self._history = history
        self._notices = notices
        self._source = source
        self._options = options
        self._board = Board(self._scopes)
        self._events = EventList(most=_RECENT)
        self._at_us = 0
        self._speed = 1.0
        self._player: asyncio.Task[None] | None = None
        self._ahead: AsyncGenerator[list[Placed]] | None = None
        self._next: list[Placed] = []
        self._overview: Overview | None = None
        self._moving = asyncio.Lock()
        self._wanted_us = 0

    # The feed

    @property
    def _scopes(self) -> tuple[str, ...]:
        """Of a recording that is being written there may come more."""
        return tuple(dict.fromkeys(lane.scope for lane in self._history.lanes))

    @property
    def at_us(self) -> int:
        """The moment shown: every event up to it has happened."""
        return self._at_us

    @property
    def is_playing(self) -> bool:
        """See `Travel`."""
        return self._player is not None and not self._player.done()

    @property
    def speed(self) -> float:
        """See `Travel`."""
        return self._speed

    def overview(self) -> Overview:
        """See `Feed.overview`: who worked and listened then is in no log, so that is left empty."""
        assert self._overview is not None  # noqa: S101 - `go` comes before a viewer gets this
        return overview_at(self._overview, self._board, self._at_us)

    def prices(self, since: int = 0) -> tuple[int, list[PriceRow]]:
        """See `Feed.prices`."""
        return self._board.prices(since, self._at_us)

    async def candles(self, symbol: str, interval: str, limit: int = 200) -> list[Bar]:
        """See `Feed.candles`."""
        return await chart_of(self._history, self._board, symbol, interval, until_us=self._at_us, limit=limit)

    def symbols(self) -> Sequence[str]:
        """See `Feed.symbols`."""
        return self._board.symbols()

    def accounts(self) -> Sequence[str]:
        """See `Feed.accounts`."""
        return tuple(scope for scope in self._scopes if scope.startswith("a-"))

    def account(self, scope: str) -> AccountView:
        """See `Feed.account`."""
        return self._board.account(scope)

    async def events(
        self, *, filter_text: str = "", kinds: Sequence[str] = (), before: EventKey | None = None, limit: int = 200
    ) -> list[EventRow]:
        """See `Feed.events` and `EventList.rows`."""
        return await self._events.rows(self._history, filter_text=filter_text, kinds=kinds, before=before, limit=limit)

    async def event(self, key: EventKey) -> EventDetail | None:
        """See `Feed.event`."""
        return await detail_of(self._history, key)

    def gaps(self) -> list[GapRow]:
        """See `Feed.gaps`."""
        return self._notices.gaps(self._at_us)

    # Moving

    async def go(self, at_us: int) -> None:
        """See `Travel`.

        Raises:
            ConnectionError: what is read from is away.
        """
        self._wanted_us = at_us
        async with self._moving:
            if self._wanted_us != at_us:
                return  # whoever moves a slider wants to see where it is now
            await self._show(min(max(0, at_us), MAX_US))
        if self.is_playing:
            self.play(self._speed)

    def play(self, speed: float) -> None:
        """See `Travel`."""
        self.pause()
        self._speed = min(max(speed, _SPEEDS[0]), _SPEEDS[1])
        self._player = asyncio.get_running_loop().create_task(self._play(), name="inspector play")

    def pause(self) -> None:
        """See `Travel`."""
        if self._player is not None:
            self._player.cancel()
            self._player = None

    async def step(self, count: int = 1) -> None:
        """See `Travel`: further steps the same way for a higher count; events of the very same ``r`` are one step.

        Raises:
            ConnectionError: what is read from is away.
        """
        self.pause()
        async with self._moving:
            if count > 0:
                await self._step_on(min(count, _MAX_STEPS))
            elif count < 0:
                await self._step_back(min(-count, _MAX_STEPS))

    async def refresh(self) -> None:
        """See `Travel`.

        Raises:
            ConnectionError: what is read from is away.
        """
        self._overview = await overview_of_history(self._history, self._source)

    async def close(self) -> None:
        """See `Travel`."""
        player, self._player = self._player, None
        if player is not None:
            await end([player])
        await self._look_away()

    # Within

    async def _show(self, at_us: int) -> None:
        """Build the board as of a moment."""
        board = Board(self._scopes, version=self._board.version + 1)
        await board_at(self._history, board, at_us, self._options.moment)
        show_states(board, self._notices, at_us)
        self._overview = await overview_of_history(self._history, self._source)
        await self._look_away()
        self._board, self._at_us = board, at_us
        self._events.recent.clear(at_us)

    async def _step_on(self, count: int) -> None:
        for _ in range(count):
            if not await self._look_ahead():
                return
            await self._take_until(self._next[-1].received_us, self._options.frame_events)
            show_states(self._board, self._notices, self._at_us)

    async def _step_back(self, count: int) -> None:
        """To just after the event before the one shown last."""
        places: list[int] = []
        async with aclosing(walk(self._history, self._history.lanes, self._at_us + 1, back=True)) as runs:
            async for run in runs:
                places += [event.received_us for event in run]
                if len(set(places)) > count:
                    break
        earlier = sorted(set(places), reverse=True)
        if earlier:
            await self._show(earlier[min(count, len(earlier) - 1)])

    async def _play(self) -> None:
        """Let time pass, up to the end of what is held. A rest follows each frame, so that the loop stays free."""
        options = self._options
        began, from_us = options.clock(), self._at_us
        rest_s = options.frame_s
        with contextlib.suppress(PublicConnectionError):  # stands still: whoever looks on may try again
            while self._at_us < self._history.end_us():
                await options.sleep(rest_s)
                frame_began = options.clock()
                until_us = from_us + round((frame_began - began) * self._speed * 1_000_000)
                async with self._moving:
                    await self._move_to(min(until_us, self._history.end_us()))
                rest_s = max(options.frame_s, _REST * (options.clock() - frame_began))

    async def _move_to(self, until_us: int) -> None:
        """Show a later moment: event by event, unless these are too many to be seen anyway."""
        most = self._options.frame_events
        expected = sum(meter.rate for meter in self._board.meters.values()) * (until_us - self._at_us) / 1_000_000
        if expected > most or not await self._take_until(until_us, most):
            await self._jump_to(until_us)
        self._at_us = max(self._at_us, until_us)
        show_states(self._board, self._notices, self._at_us)
        for meter in self._board.meters.values():
            meter.mark(self._at_us / 1_000_000)

    async def _jump_to(self, until_us: int) -> None:
        """Take the newest of what lies between; a symbol without any keeps what it has."""
        await board_at(self._history, self._board, until_us, self._options.moment)
        self._board.charts.clear()
        self._events.recent.clear(until_us)
        await self._look_away()

    async def _take_until(self, until_us: int, most: int) -> bool:
        """Take events up to a moment; False where there are more than may be taken at once."""
        while await self._look_ahead() and self._next[-1].received_us <= until_us:
            if most <= 0:
                return False
            run: list[Placed] = []
            while self._next and self._next[-1].received_us <= until_us and len(run) < most:
                run.append(self._next.pop())
            most -= len(run)
            self._take(run)
        return True

    def _take(self, run: list[Placed]) -> None:
        """Events of one lane, in their order."""
        scope = run[0].lane.scope
        for event in run:
            with contextlib.suppress(EnvelopeError):
                self._board.take(scope, decode(event.raw))
        self._at_us = run[-1].received_us
        self._events.recent.add(scope, [event.raw for event in run], self._at_us)

    async def _look_ahead(self) -> bool:
        """Have the next events at hand, the first one last; False where there are none."""
        if self._ahead is None:
            self._ahead = walk(self._history, self._history.lanes, self._at_us, back=False)
        if not self._next:
            try:
                self._next = (await anext(self._ahead, []))[::-1]
            except BaseException:
                self._ahead = None  # it is over, as after a pause in the middle of a read
                raise
            if not self._next:  # a log may grow: the next look begins anew
                self._ahead = None
        return bool(self._next)

    async def _look_away(self) -> None:
        self._next = []
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            await ahead.aclose()

"""One position in the recording: plays it to one hub, at its pace, and never faster than its clients read."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agentexchange.errors import RecordingError
from agentexchange.recording import received_of, topic_of
from agentexchange.replay._pace import Pace
from agentexchange.testing._frames import text_frame
from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import STATUS_TOPIC, decode

from ._ahead import Ahead
from ._books import PlayedBooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange.testing._dialect import Dialect
    from agentexchange.testing._hub import Batch, Hub

    from ._program import Program

__all__ = ["Played", "Player", "Timing"]

_TICKER: Final = "ticker:"
_CANDLES: Final = "candles:"
_PRIVATE: Final = {"orders": "order", "portfolio": "portfolio"}

_BATCH_EVENTS: Final = 256
_BATCH_BYTES: Final = 256 * 1024
"""Of events between two looks at whether the clients keep up."""
_LOOK_S: Final = 0.05
"""Seconds after which a wait looks whether the speed was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time as the players see it.

    Attributes:
        clock: monotonic seconds.
        sleep: waits for seconds.
        least_s: the shortest wait: where events are due in closer order, those of a moment are sent together.
        settle_s: the position begins when nothing was subscribed for so long: clients ask for topic after topic.
        settle_most_s: but so long after the first subscription at the latest.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    least_s: float = 0.001
    settle_s: float = 0.1
    settle_most_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How a position came to its end.

    Attributes:
        events: that somebody got.
        seconds: that it took.
        damage: what cut it short, None where nothing did.
    """

    events: int
    seconds: float
    damage: str | None = None


class Player:
    """Plays a program once.

    Args:
        program: what.
        accounts: whose private events, too.
        hub: to whom; its subscriptions say what.
        dialect: how events look.
        candles: whether recorded candles are pushed.
        speed: recorded seconds in a second, 0 for no waiting.
        timing: time.

    Attributes:
        books: what the accounts have come to.
        events: events so far that somebody got.
    """

    def __init__(
        self,
        program: Program,
        *,
        accounts: frozenset[str],
        hub: Hub,
        dialect: Dialect,
        candles: bool,
        speed: float,
        timing: Timing,
    ) -> None:
        self.hub = hub
        self.accounts = accounts
        self.books = PlayedBooks()
        self.events = 0
        self._next_us = program.start_us
        self._pace = Pace(program.start_us, timing.clock(), speed=speed)
        self._program = program
        self._dialect = dialect
        self._candles = candles
        self._timing = timing
        self._asked_s = timing.clock()
        self._ticks: Batch = []
        self._looked_at = 0
        self._bytes = 0

    def asked(self) -> None:
        """A client subscribed to something: before the position has begun, it waits for more."""
        self._asked_s = self._timing.clock()

    @property
    def position_us(self) -> int:
        """The moment that it has come to, µs since the Unix epoch."""
        if not self._pace.speed:
            return self._next_us
        return min(self._next_us, int(self._pace.position_us(self._timing.clock())))

    def set_speed(self, speed: float) -> None:
        """Go on at another speed."""
        now = self._timing.clock()
        if not self._pace.speed:
            self._pace.move(self._next_us, now)
        self._pace.set_speed(speed, now)

    def pause(self) -> None:
        """Stand still. Idempotent."""
        self._pace.pause(self._timing.clock())

    def resume(self) -> None:
        """Go on. Idempotent."""
        self._pace.resume(self._timing.clock())

    async def play(self) -> Played:
        """Play from the beginning to the end of the program."""
        began_s, events_before = self._timing.clock(), self.events
        damage = None
        try:
            async with Ahead(self._program.runs(self.accounts)) as runs:
                await self._settle()
                began_s = self._timing.clock()
                self._pace.move(self._program.start_us, began_s)
                async for lane, raws in runs:
                    await self._play(lane.scope, raws)
        except (RecordingError, EnvelopeError, OSError) as exc:
            damage = str(exc)
        await self._flush()
        return Played(events=self.events - events_before, seconds=self._timing.clock() - began_s, damage=damage)

    async def _settle(self) -> None:
        timing = self._timing
        most_s = timing.clock() + timing.settle_most_s
        while (rest_s := min(self._asked_s + timing.settle_s, most_s) - timing.clock()) > 0:
            await timing.sleep(rest_s)

    async def _play(self, scope: str, raws: list[bytes]) -> None:
        wait_s, clock = self._pace.wait_s, self._timing.clock
        for raw in raws:
            self._next_us = received_us = received_of(raw)
            if wait_s(received_us, clock()) > 0:
                await self._flush()
                await self._until(received_us)
            self._take(scope, raw, received_us)
            self._looked_at += 1
            self._bytes += len(raw)
            if self._looked_at >= _BATCH_EVENTS or self._bytes >= _BATCH_BYTES:
                await self._flush()
                await asyncio.sleep(0)  # nothing else may have waited: let the others have their turn

    async def _until(self, event_us: int) -> None:
        while (rest_s := self._pace.wait_s(event_us, self._timing.clock())) > 0:
            await self._timing.sleep(max(min(rest_s, _LOOK_S), self._timing.least_s))

    async def _flush(self) -> None:
        """Send what is due, and wait for those that read slowly."""
        self._send_ticks()
        self._looked_at = self._bytes = 0
        for session in tuple(self.hub.sessions.values()):
            await session.drained()

    # One event

    def _take(self, scope: str, raw: bytes, received_us: int) -> None:
        topic = topic_of(raw)
        if topic.startswith(_TICKER):
            wanted, symbol = self.hub.wanted_symbols(), topic[len(_TICKER) :]
            if wanted is None or symbol in wanted:
                self.events += 1
                self._ticks.append((symbol, text_frame(self._dialect.recorded(topic, decode(raw).data))))
        elif topic in _PRIVATE:
            self._take_private(scope, topic, decode(raw).data, received_us)
        elif topic != STATUS_TOPIC and self._candles and self.hub.subscribers(topic):
            self._take_candle(topic, decode(raw).data)

    def _take_candle(self, topic: str, fields: dict[str, Any]) -> None:
        if fields.get("is_closed") is False and not self._dialect.forming_candles:
            return
        self.events += 1
        self._send_ticks()
        self.hub.send_candle(topic, self._dialect.recorded(topic, fields))

    def _take_private(self, account: str, topic: str, fields: dict[str, Any], received_us: int) -> None:
        self.books.record(account, topic, fields, received_us)
        self._send_ticks()
        if self.hub.send_private(_PRIVATE[topic], topic, account, self._dialect.recorded(topic, fields)):
            self.events += 1

    def _send_ticks(self) -> None:
        if self._ticks:
            self.hub.send_ticks(self._ticks)
            self._ticks = []

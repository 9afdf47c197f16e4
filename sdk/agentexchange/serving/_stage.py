"""Who sees which position: each connection one of its own, or all of them the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agentexchange.testing._hub import Hub
from agentexchange.testing._ledger import Ledger
from agentexchange.testing._session import IDLE

from ._player import Player
from ._program import utc

if TYPE_CHECKING:
    from datetime import datetime

    from agentexchange.testing._observe import Observations
    from agentexchange.testing._session import Session

    from ._options import RecordedOptions
    from ._player import Played, Timing
    from ._program import Program

__all__ = ["ServedProgress", "Stage"]

_EVERYBODY: Final = 0
_BETWEEN_ROUNDS_S: Final = 1.0
_AHEAD_BYTES: Final = 64 * 1024
"""How far a position may be ahead of its reader; the kernel takes twice of it."""


@dataclass(frozen=True, slots=True)
class ServedProgress:
    """How far a served recording is.

    Attributes:
        clients: open connections.
        positions: that have begun, and have not come to the end.
        share: of the span that lies behind the last of them, 0 to 1.
        time: the recorded time (UTC) that it has come to; None while there is none.
        events: that were sent since the start, by all positions together.
    """

    clients: int = 0
    positions: int = 0
    share: float = 0.0
    time: datetime | None = None
    events: int = 0


@dataclass(slots=True)
class _Act:
    """A position that has begun, and the task that moves it."""

    player: Player
    task: asyncio.Task[None]


class Stage:
    """The `Floor` of a served recording: begins a position at a first subscription. Also the `Books` of REST.

    Args:
        options: of the exchange.
        seen: what is counted.
        timing: time.

    Attributes:
        house: all open sessions.
        program: what is played; to be set before clients come.
        damaged: whether a position met what cannot be read.
        ended: how many positions have come to the end.
    """

    def __init__(self, options: RecordedOptions, *, seen: Observations, timing: Timing) -> None:
        self.program: Program | None = None
        self.damaged = False
        self.ended = 0
        self._options = options
        self._seen = seen
        self._timing = timing
        self.house = self._new_hub()
        self._speed = options.speed
        self._is_paused = False
        self._group: asyncio.TaskGroup | None = None
        self._acts: dict[int, _Act] = {}
        self._events_gone = 0  # of positions whose connection has gone

    async def run(self) -> None:
        """Own the positions until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None  # whoever still subscribes to something sees no more of it

    def _new_hub(self) -> Hub:
        # players wait for those that read slowly: nobody ever has so much unsent that the hub would act
        return Hub(dialect=self._options.rules, seen=self._seen, slow_client="disconnect", journal=None)

    # Floor

    def add(self, session: Session) -> None:
        """A connection came; its position begins with its first subscription."""
        self.house.add(session)
        session.hold_ahead(_AHEAD_BYTES)

    def remove(self, session: Session) -> None:
        """A connection went, and its own position with it."""
        self.house.remove(session)
        act = self._acts.pop(session.number, None)
        if act is not None:
            self._events_gone += act.player.events
            act.task.cancel()

    def subscribe(self, session: Session, topic: str) -> None:
        """From now on ``session`` gets ``topic``."""
        self.house.subscribe(session, topic)
        act = self._acts.get(self._place(session)) or self._begin(session)
        if act is not None:
            act.player.hub.subscribe(session, topic)
            act.player.asked()

    def unsubscribe(self, session: Session, topic: str) -> None:
        """The reverse of ``subscribe``."""
        self.house.unsubscribe(session, topic)
        act = self._acts.get(self._place(session))
        if act is not None:
            act.player.hub.unsubscribe(session, topic)

    # Books

    def ledger(self, account: str) -> Ledger:
        """The orders of an account at its newest position."""
        player = self._player_of(account)
        return Ledger() if player is None else player.books.ledger(account)

    def portfolio_fields(self, account: str) -> dict[str, Any] | None:
        """The portfolio of an account at its newest position; None before its first."""
        player = self._player_of(account)
        return None if player is None else player.books.portfolio_fields(account)

    def _player_of(self, account: str) -> Player | None:
        players = [act.player for act in self._acts.values() if account in act.player.accounts]
        return players[-1] if players else None

    # For the control object

    def set_speed(self, speed: float) -> None:
        """Change the speed of every position, and of those to come."""
        self._speed = speed
        for act in self._acts.values():
            act.player.set_speed(speed)

    def pause(self) -> None:
        """Hold every position where it is, and those to come at their beginning."""
        self._is_paused = True
        for act in self._acts.values():
            act.player.pause()

    def resume(self) -> None:
        """End `pause`."""
        self._is_paused = False
        for act in self._acts.values():
            act.player.resume()

    def positions(self) -> dict[int, int]:
        """Where the open connections are, ``r`` in µs; without those that have asked for nothing."""
        acts = {number: self._acts.get(self._place(session)) for number, session in self.house.sessions.items()}
        return {number: act.player.position_us for number, act in acts.items() if act is not None}

    def progress(self) -> ServedProgress:
        """How far it is."""
        acts = self._acts.values()
        places = [act.player.position_us for act in acts if not act.task.done()]
        last_us, program = min(places, default=None), self.program
        return ServedProgress(
            clients=len(self.house.sessions),
            positions=len(places),
            share=0.0 if last_us is None or program is None else program.share(last_us),
            time=None if last_us is None else utc(last_us),
            events=self._events_gone + sum(act.player.events for act in acts),
        )

    # Positions

    def _place(self, session: Session) -> int:
        return _EVERYBODY if self._options.shared_clock else session.number

    def _begin(self, session: Session) -> _Act | None:
        """A new position; None while the exchange stops."""
        if self._group is None or self.program is None:
            return None
        is_shared = self._options.shared_clock
        hub = self.house
        if not is_shared:
            hub = self._new_hub()
            hub.add(session)
        player = Player(
            self.program,
            accounts=self.program.accounts if is_shared else self.program.accounts & {session.account},
            hub=hub,
            dialect=self._options.rules,
            candles=self._options.candles,
            speed=self._speed,
            timing=self._timing,
        )
        if self._is_paused:
            player.pause()
        place = self._place(session)
        name = "all clients" if is_shared else f"client {place}"
        act = self._acts[place] = _Act(player, self._group.create_task(self._play(player, name), name=name))
        return act

    async def _play(self, player: Player, name: str) -> None:
        while True:
            self._tell(name, await player.play())
            if self._options.at_end != "loop":
                break
            await self._timing.sleep(_BETWEEN_ROUNDS_S)
        if self._options.at_end == "close":
            for session in tuple(player.hub.sessions.values()):
                session.end(IDLE)

    def _tell(self, name: str, played: Played) -> None:
        self.ended += 1
        what = f"{played.events:,} events in {played.seconds:,.1f} s"
        if played.damage is None:
            self._options.tell(f"{name}: the recording has ended, {what}")
        else:
            self.damaged = True
            self._options.warn(f"{name}: the recording cannot be read on after {what}: {played.damage}")
        self._seen.changed()

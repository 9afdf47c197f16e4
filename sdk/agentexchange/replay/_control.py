"""The handle on a replay: steer it from any thread, and see how far it is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from agentexchange.errors import UsageError
from agentexchange.recording import moment_of

from ._pace import checked_speed

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ._source import Moment

__all__ = ["ReplayControl", "ReplayProgress", "Steered", "Wish"]


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """How far a replay is.

    Attributes:
        share: of the span's time that lies behind, 0 to 1.
        time: when the event in hand was received (UTC); None before the first.
        events: that were delivered, each once however many handlers it has.
        events_per_s: how many lately, in real time.
        behind_s: how late the event in hand is, in real seconds, because handlers are slower than the speed asks for.
        is_paused: whether it waits for `ReplayControl.resume` or `ReplayControl.step`.
        is_away: whether Redis is away, and waited for; what was read ahead is delivered meanwhile.
    """

    share: float = 0.0
    time: datetime | None = None
    events: int = 0
    events_per_s: float = 0.0
    behind_s: float = 0.0
    is_paused: bool = False
    is_away: bool = False


class Steered(Protocol):
    """What a control steers: one run of a replay. Its methods are called on the event loop, between events."""

    @property
    def progress(self) -> ReplayProgress:
        """Read on any thread."""

    def wake(self) -> None:
        """Look for wishes now. Called on any thread."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def step(self, count: int) -> None: ...
    def set_speed(self, speed: float) -> None: ...
    async def seek(self, moment: Moment) -> None: ...
    def choose_anew(self) -> None: ...
    def stop(self) -> None: ...


Wish: TypeAlias = "Callable[[Steered], object]"
"""Something to be done with the replay between two events."""


class ReplayControl:
    """Steers a replay; every method may be called from any thread, handlers included, before it begins as well.

    What is asked for takes place between two events: an event that is being handled goes to all of its handlers first.
    Between two runs of `connect`, it holds for the next one.
    """

    def __init__(self, *, speed: float, stop: Callable[[], None], is_handler: Callable[[], bool]) -> None:
        self.has_wishes = False
        self._speed = speed
        self._stop = stop
        self._is_handler = is_handler
        self._lock = threading.Lock()
        self._wishes: deque[Wish] = deque()
        self._steered: Steered | None = None
        self._progress = ReplayProgress()
        self._done: concurrent.futures.Future[None] = concurrent.futures.Future()

    def __repr__(self) -> str:
        return f"<ReplayControl speed={self._speed:g} {self.progress.share:.0%}>"

    def pause(self) -> None:
        """Let recorded time stand still. Idempotent."""
        self.wish(lambda steered: steered.pause())

    def resume(self) -> None:
        """Go on from where it stands. Idempotent."""
        self.wish(lambda steered: steered.resume())

    def step(self, count: int = 1) -> None:
        """Deliver the next ``count`` events without waiting, and stand still after them; pauses a replay that runs.

        Raises:
            ValueError: not a number from 1 on.
        """
        if not (type(count) is int and count >= 1):
            raise ValueError(f"count must be a whole number from 1 on, not {count!r}")
        self.wish(lambda steered: steered.step(count))

    def seek(self, moment: Moment) -> None:
        """Go on from another moment, earlier or later, within the span that is replayed.

        A moment is what `AgentExchangeWS.replay` takes. An event that was not recorded is logged, and nothing changes.

        Raises:
            ValueError: not a moment.
        """
        moment_of(moment, now_us=0)
        self.wish(lambda steered: steered.seek(moment))

    def stop(self) -> None:
        """End the replay, as `AgentExchangeWS.stop` does; before it has begun, end it as it begins."""
        self._stop()
        with self._lock:
            if self._steered is None and not self._done.done():
                self._done.set_result(None)

    @property
    def speed(self) -> float:
        """Recorded seconds per real second; 0: as fast as handlers take it. May be set at any time.

        Raises:
            ValueError: set to anything but a number from 0 on.
        """
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._speed = checked = checked_speed(speed)
        self.wish(lambda steered: steered.set_speed(checked))

    @property
    def progress(self) -> ReplayProgress:
        """How far it is now; after its end, how far it got."""
        steered = self._steered
        return self._progress if steered is None else steered.progress

    async def finished(self) -> None:
        """Wait until the replay has ended: the run under way, else the next one; after its end, return at once.

        Raises:
            UsageError: called by a handler, for which the end waits.
        """
        if self._is_handler():
            raise UsageError("a handler cannot wait for the end of its own replay: await finished() elsewhere")
        await asyncio.shield(asyncio.wrap_future(self._done))

    # For the replay

    def began(self, steered: Steered) -> None:
        """A run begins: what was wished for before is wished of it."""
        with self._lock:
            self._steered = steered
            if self._done.done():
                self._done = concurrent.futures.Future()
            self.has_wishes = bool(self._wishes)

    def ended(self) -> None:
        """The run is over; wishes that it did not get to are forgotten."""
        with self._lock:
            if self._steered is not None:
                self._progress = self._steered.progress
            self._steered = None
            self._wishes.clear()
            self.has_wishes = False
            if not self._done.done():
                self._done.set_result(None)

    def take_wishes(self) -> list[Wish]:
        """What is to be done now."""
        with self._lock:
            wishes = list(self._wishes)
            self._wishes.clear()
            self.has_wishes = False
            return wishes

    def wish(self, wish: Wish) -> None:
        """Have something done between two events, on the event loop."""
        with self._lock:
            self._wishes.append(wish)
            self.has_wishes = True
            if self._steered is not None:
                self._steered.wake()

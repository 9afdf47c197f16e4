"""All lanes of a pool: opened, closed and counted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ._stats import PoolStats

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from ._lane import Lane

__all__ = ["Lanes"]


class Lanes(Mapping[int, "Lane"]):
    """The open lanes by number.

    Every method is called on the event loop's thread, except `stats`.

    Args:
        build: makes the lane of a number.
    """

    def __init__(self, build: Callable[[int], Lane]) -> None:
        self._build = build
        self._open: dict[int, Lane] = {}
        self._closing: dict[int, Lane] = {}
        self._past = PoolStats()
        self._sessions = 0
        self._session_of: dict[int, int] = {}

    def __getitem__(self, number: int) -> Lane:
        return self._open[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    def open(self, number: int, group: asyncio.TaskGroup) -> None:
        """A lane more: a task of ``group`` keeps its session up."""
        self._open[number] = lane = self._build(number)
        group.create_task(lane.run(), name=f"lane {number}").add_done_callback(partial(self._ended, number))

    def close(self, number: int) -> None:
        """A lane less. Its session ends by itself; what that still brings nobody takes."""
        self._closing[number] = lane = self._open.pop(number)
        self._session_of.pop(number, None)
        lane.forget_routes()
        lane.stop()

    def _ended(self, number: int, _task: asyncio.Task[None]) -> None:
        if (lane := self._closing.pop(number, None)) is not None:
            self._past.add((lane.stats,))

    def stop(self) -> None:
        """End them all: at once what waits, and the sessions with a clean close that has a deadline."""
        for lane in self._open.values():
            lane.stop()

    def forget_routes(self) -> None:
        """Who takes what has changed: the lanes ask again."""
        for lane in self._open.values():
            lane.forget_routes()

    def began(self, number: int) -> None:
        """A lane has a new session."""
        self._sessions += 1
        self._session_of[number] = self._sessions

    @property
    def were_ever_up(self) -> bool:
        """Whether any lane, open or not, has had a session."""
        return self._sessions > 0

    def silent_s(self) -> float | None:
        """How long ago the most silent of the present sessions was last heard; None where there is none."""
        return max((silent for lane in self._open.values() if (silent := lane.silent_s()) is not None), default=None)

    def stats(self) -> PoolStats:
        """The sums over all lanes that there have been, as they are now. May be called on any thread."""
        lanes = tuple(self._open.values())
        # a lane that is closed in this moment on another thread is missed once, or counted twice
        total = PoolStats()
        total.add((self._past, *(lane.stats for lane in (*lanes, *tuple(self._closing.values())))))
        up = [lane.number for lane in lanes if lane.is_up]
        total.sessions_open = len(up)
        total.oldest = min((self._session_of.get(number, 0) for number in up), default=0)
        return total

"""Lanes into one order, from a moment on or back: by ``r``, and at the same ``r`` by lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange.recording import received_of
from agentexchange_schemas import EnvelopeError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from agentexchange.recording import Lane

    from ._history import History

__all__ = ["Placed", "walk"]

_FIRST_PAGE: Final = 250
_MAX_PAGE: Final = 2_000


class Placed(NamedTuple):
    """An event with its place."""

    received_us: int
    lane: Lane
    raw: bytes


async def walk(
    history: History, lanes: Sequence[Lane], from_us: int, *, back: bool, topic: str | None = None
) -> AsyncGenerator[list[Placed]]:
    """All events after a moment, or ``back`` before it, in runs of one lane; reads as it is asked.

    Raises:
        ConnectionError: what is read from is away.
    """
    cursors = [_Cursor(lane, from_us, back=back, topic=topic) for lane in lanes]
    while cursors := [cursor for cursor in cursors if await cursor.fill(history)]:
        head = min(cursors, key=_front)
        bound = min((cursor.front for cursor in cursors if cursor is not head), default=None)
        yield head.take(bound)


class _Cursor:
    """How far one lane was read; pages grow, since most walks are short."""

    def __init__(self, lane: Lane, edge_us: int, *, back: bool, topic: str | None) -> None:
        self.lane = lane
        self._sign = -1 if back else 1
        self._edge_us: int | None = edge_us
        self._topic = topic
        self._count = _FIRST_PAGE
        self._events: list[Placed] = []  # the next one last

    @property
    def front(self) -> int:
        """Where the next one stands: what is lower comes first, in either direction."""
        return self._sign * self._events[-1].received_us

    async def fill(self, history: History) -> bool:
        """Read on where nothing is at hand; False where nothing is left."""
        read = history.back if self._sign < 0 else history.forth
        while not self._events:
            if self._edge_us is None:
                return False
            page = await read(self.lane, self._edge_us, self._count, topic=self._topic)
            self._edge_us = page.edge_us
            self._count = min(2 * self._count, _MAX_PAGE)
            self._events = _placed(self.lane, page.raws)
        return True

    def take(self, bound: int | None) -> list[Placed]:
        """What comes before another lane's next event; at least one event."""
        run = [self._events.pop()]
        while self._events and (bound is None or self.front < bound):
            run.append(self._events.pop())
        return run


def _front(cursor: _Cursor) -> int:
    return cursor.front


def _placed(lane: Lane, raws: list[bytes]) -> list[Placed]:
    events = []
    for raw in reversed(raws):
        try:
            events.append(Placed(received_of(raw), lane, raw))
        except EnvelopeError:
            continue
    return events

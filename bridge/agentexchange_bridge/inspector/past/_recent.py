"""The last events as they came, and what viewers look for among them. Pure."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange_bridge.inspector.board import order_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentexchange_bridge.inspector.views import EventRow

    from ._choice import EventChoice

__all__ = ["Recent", "Standing"]

_BATCHES: Final = 4_000
_ROWS: Final = 1_000  # of a standing choice
_CHOICES: Final = 32
_AT_ONCE: Final = 500  # events that are looked at in one turn of the loop


class _Batch(NamedTuple):
    number: int
    scope: str
    raws: Sequence[bytes]
    last_us: int


class Standing:
    """A choice that somebody looks at, with its newest rows; it looks at every event once.

    Attributes:
        choice: which events.
        seen: the number of the last batch that was looked at.
        is_complete: whether its rows reach back beyond what is recent.
        looking: held while events are looked at for it.
    """

    def __init__(self, choice: EventChoice) -> None:
        self.choice = choice
        self.seen = 0
        self.is_complete = False
        self.looking = asyncio.Lock()
        self._rows: deque[EventRow] = deque(maxlen=_ROWS)

    def add(self, rows: Sequence[EventRow]) -> None:
        """Rows that are newer than those before."""
        self._rows.extend(rows)

    def begin_with(self, rows: Sequence[EventRow]) -> None:
        """Rows that are older than those known, the newest first; those that are known already are left out."""
        known = {row.key for row in self._rows}
        older = [row for row in reversed(rows) if row.key not in known]
        self._rows = deque((*older, *self._rows), maxlen=_ROWS)
        self.is_complete = True

    def newest(self, limit: int) -> list[EventRow]:
        """The newest first."""
        return sorted(self._rows, key=_order, reverse=True)[:limit]


class Recent:
    """Events in batches as they came, bounded; and the choices that were asked for last."""

    def __init__(self, *, events: int, choices: int = _CHOICES) -> None:
        self._most = events
        self._most_choices = choices
        self._batches: deque[_Batch] = deque()
        self._count = 0
        self._number = 0
        self._gone = 0
        self._standing: OrderedDict[object, Standing] = OrderedDict()
        self.floor_us = 0

    def clear(self, floor_us: int) -> None:
        """Forget all: events up to that moment are to be looked up elsewhere."""
        self._batches.clear()
        self._standing.clear()
        self._count, self._gone, self.floor_us = 0, self._number, floor_us

    def add(self, scope: str, raws: Sequence[bytes], last_us: int) -> None:
        """Events of one log, in its order."""
        self._number += 1
        self._batches.append(_Batch(self._number, scope, raws, last_us))
        self._count += len(raws)
        while self._count > self._most or len(self._batches) > _BATCHES:
            gone = self._batches.popleft()
            self._count -= len(gone.raws)
            self._gone = gone.number
            self.floor_us = max(self.floor_us, gone.last_us)

    async def standing(self, choice: EventChoice) -> Standing:
        """The choice with its newest rows among the recent events; gives way to others while it looks at many."""
        found = self._standing.get(choice.key)
        if found is None or found.seen < self._gone:  # nobody has asked for so long that events went by
            found = self._standing[choice.key] = Standing(choice)
        self._standing.move_to_end(choice.key)
        if len(self._standing) > self._most_choices:
            self._standing.popitem(last=False)
        async with found.looking:
            batches = list(self._since(found.seen))
            found.seen = self._number
            found.add(await _rows_of(found.choice, batches))
        return found

    def _since(self, number: int) -> Iterator[_Batch]:
        """Batches behind that number, the newest first."""
        for batch in reversed(self._batches):
            if batch.number <= number:
                return
            yield batch


async def _rows_of(choice: EventChoice, batches: Sequence[_Batch]) -> list[EventRow]:
    """The newest rows of batches that come newest first, in the order of the list: the oldest first."""
    rows: list[EventRow] = []
    looked_at = 0
    for batch in batches:
        rows += [row for row in (choice.row(batch.scope, raw) for raw in reversed(batch.raws)) if row is not None]
        if len(rows) >= _ROWS:
            break
        if (looked_at := looked_at + len(batch.raws)) >= _AT_ONCE:
            looked_at = 0
            await asyncio.sleep(0)
    rows.reverse()
    return rows


def _order(row: EventRow) -> tuple[int, str, str]:
    return order_of(row.key)

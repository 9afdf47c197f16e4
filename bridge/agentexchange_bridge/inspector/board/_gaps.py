"""Spans in which something was missing, out of notices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import us_of
from agentexchange_bridge.inspector.views import GapRow
from agentexchange_schemas import FeedState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import FeedStatus

__all__ = ["Notices", "gaps_of"]

_MOST_GAPS: Final = 500
_MOST_NOTICES: Final = 4_000

Place = tuple[int, str, str]


class Notices:
    """Notices, each once however often it is read, in their order; the oldest go where there are too many."""

    def __init__(self) -> None:
        self._notices: dict[Place, tuple[str, FeedStatus]] = {}
        self._is_sorted = True
        self._gaps: list[GapRow] | None = None

    def add(self, scope: str, received_us: int, status: FeedStatus) -> None:
        """A notice came, at that place in the log of its scope."""
        place = (received_us, scope, status.topic or "")
        if place in self._notices:
            return
        self._notices[place] = (scope, status)
        self._is_sorted = False
        self._gaps = None
        if len(self._notices) > 2 * _MOST_NOTICES:
            self._notices = dict(self._sorted()[-_MOST_NOTICES:])

    def gaps(self, until_us: int | None = None) -> list[GapRow]:
        """The spans that began by a moment, the newest first, at most 500; as is known now, not as was known then."""
        if self._gaps is None:
            self._gaps = gaps_of(notice for _, notice in self._sorted())
        rows = self._gaps if until_us is None else [row for row in self._gaps if row.since_us <= until_us]
        return rows[:_MOST_GAPS]

    def _sorted(self) -> list[tuple[Place, tuple[str, FeedStatus]]]:
        if not self._is_sorted:
            self._notices = dict(sorted(self._notices.items(), key=lambda item: item[0]))
            self._is_sorted = True
        return list(self._notices.items())


def gaps_of(notices: Iterable[tuple[str, FeedStatus]]) -> list[GapRow]:
    """The spans that notices tell of, the newest first: a notice begins one, ends one, or tells of one."""
    book = _Book()
    for scope, status in notices:
        book.take(_row(scope, status), status)
    return book.rows()


class _Book:
    def __init__(self) -> None:
        self._over: list[GapRow] = []
        self._open: dict[tuple[str, str | None], GapRow] = {}

    def take(self, row: GapRow, status: FeedStatus) -> None:
        if not status.tells_state:
            self._over.append(row)
        elif status.state is FeedState.LIVE:
            self._end(row)
        else:
            self._begin(row)

    def rows(self) -> list[GapRow]:
        return sorted((*self._over, *self._open.values()), key=_since, reverse=True)

    def _begin(self, row: GapRow) -> None:
        """Every notice of one span names when it began; a new owner may know better than the last."""
        was = self._open.get((row.scope, row.topic))
        since_us = row.since_us if was is None else min(was.since_us, row.since_us)
        self._open[row.scope, row.topic] = replace(row, since_us=since_us)

    def _end(self, row: GapRow) -> None:
        was = self._open.pop((row.scope, row.topic), None)
        if was is not None:
            until_us = row.since_us if row.until_us is None else row.until_us
            self._over.append(replace(was, until_us=until_us, message=row.message or was.message))
        elif row.until_us is not None:  # the notice of its beginning is not known here
            self._over.append(replace(row, state=FeedState.BLIND))


def _row(scope: str, status: FeedStatus) -> GapRow:
    return GapRow(
        scope=scope,
        topic=status.topic,
        state=status.state,
        cause=status.cause,
        since_us=us_of(status.since),
        until_us=None if status.until is None else us_of(status.until),
        count=status.count,
        message=status.message,
    )


def _since(row: GapRow) -> int:
    return row.since_us

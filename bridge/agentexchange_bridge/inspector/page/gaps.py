"""Spans in which the feed was blind, or something was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from nicegui import ui

from agentexchange_schemas import FeedState

from .format import NONE, Look, count, day_clock, look_of, short_scope, span
from .grid import Grid, column

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange_bridge.inspector.views import GapRow

    from .grid import Row
    from .viewer import Viewer

__all__ = ["GapsPanel", "gap_row"]


_MISSED: Final = Look("Missed", "warn")  # the feed lives, and something of it is lost


class GapsPanel:
    """Newest first; a click shows the moment at which it began."""

    PERIOD_S: ClassVar[float] = 2.0

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._gaps: list[GapRow] = []
        with ui.element("div").classes("ax-tools"):
            ui.label("Choose a span to show the moment at which it began.").classes("ax-soft")
        with ui.element("div").classes("ax-block ax-tall"):
            self._grid = _grid(self._open)

    async def refresh(self, *, anew: bool) -> None:  # noqa: ARG002 - the rows are compared anyway
        """Show the spans up to the moment."""
        feed = self._viewer.feed
        if feed is not None:
            self._gaps = feed.gaps()
            self._grid.show(gap_row(gap, number) for number, gap in enumerate(self._gaps))

    async def _open(self, name: str) -> None:
        number = int(name.partition(" ")[0])
        if number < len(self._gaps):
            await self._viewer.go(self._gaps[number].since_us)


def gap_row(gap: GapRow, number: int) -> Row:
    """One line."""
    look = _MISSED if gap.state is FeedState.LIVE else look_of(gap.state)
    return {
        "id": f"{number} {gap.scope} {gap.topic} {gap.since_us}",
        "since": day_clock(gap.since_us)[5:],
        "lasted": "still lasts" if gap.until_us is None else span(gap.until_us - gap.since_us),
        "state": look.word,
        "tone": look.tone,
        "what": gap.topic or "everything",
        "scope": short_scope(gap.scope),
        "cause": (gap.cause or NONE).replace("_", " "),
        "count": count(gap.count),
        "message": gap.message or "",
    }


def _grid(on_open: Callable[[str], Awaitable[None]]) -> Grid:
    return Grid(
        [
            column("since", "Since", width=168, kind="number"),
            column("lasted", "Lasted", width=104, kind="number"),
            column("state", "State", width=116, kind="state"),
            column("scope", "Scope", width=112, kind="code", wide_only=True),
            column("what", "What", kind="code", wide_only=True),
            column("cause", "Cause", width=150, wide_only=True),
            column("count", "Missed", width=92, kind="number", wide_only=True),
            column("message", "Says", flex=3, wide_only=True),
        ],
        label="Gaps, newest first",
        empty="Nothing is missing: no span without data up to this moment.",
        on_open=on_open,
        fills=True,
    )

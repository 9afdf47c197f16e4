"""The events themselves: newest first, page by page into the past, filtered in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from nicegui import ui

from .detail import show_event
from .format import NONE, clock, short_scope
from .grid import Grid, column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.inspector.views import EventKey, EventRow

    from .grid import Row
    from .viewer import Viewer

__all__ = ["KINDS", "EventsPanel", "event_row", "name_of"]

KINDS: Final = ("ticker", "candles", "orders", "portfolio", "status")
_PAGE: Final = 100
_MAX_ROWS: Final = 2000
# Near the end of what is loaded: ask for more. At the top: follow again what comes.
_SCROLLED: Final = """() => {
  const grid = getElement(%d)?.api; if (!grid || grid.isDestroyed()) return;
  const range = grid.getVerticalPixelRange(), last = grid.getDisplayedRowCount() - 1;
  emit({atTop: range.top < 20, atEnd: grid.getLastDisplayedRowIndex() >= last - 20}); }"""


class EventsPanel:
    """Follows what comes while its list is at the top; stands still while it is read."""

    PERIOD_S: ClassVar[float] = 1.0

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._rows: list[EventRow] = []
        self._is_held = False
        self._is_reading = False
        self._has_more = True
        with ui.element("div").classes("ax-tools"):
            self._filter = ui.input(
                placeholder="price > 65000 and symbol = 'BTCUSDT', or a topic",
                value=viewer.filter_text,
                on_change=self._filtered,
            )
            self._filter.props(
                'dense outlined clearable debounce=350 aria-label="Filter events" hint="Press / to filter" hide-hint'
            )
            self._filter.classes("ax-search ax-filter ax-wide")
            self._toggles()
            self._held = ui.button("Follow", icon="vertical_align_top", on_click=self._follow)
            self._held.props("dense unelevated no-caps color=primary").classes("ax-push ax-held")
            self._held.set_visibility(False)
        with ui.element("div").classes("ax-block ax-tall"):
            self._grid = self._make_grid()

    async def refresh(self, *, anew: bool) -> None:
        """Show the newest page, unless the list is being read."""
        if anew:
            self._hold(held=False)
        if not self._is_held:
            await self._load()

    async def _load(self, before: EventKey | None = None) -> None:
        feed = self._viewer.feed
        if feed is None or self._is_reading:
            return
        self._is_reading = True
        text, kinds = self._viewer.filter_text, self._viewer.kinds
        try:
            rows = await feed.events(filter_text=text, kinds=kinds, before=before, limit=_PAGE)
        except ValueError as exc:
            self._say(str(exc))
            return
        finally:
            self._is_reading = False
        if (text, kinds) == (self._viewer.filter_text, self._viewer.kinds):
            self._say("")
            self._show(rows, before=before)

    def _show(self, rows: Sequence[EventRow], *, before: EventKey | None) -> None:
        self._has_more = len(rows) == _PAGE
        if before is None:
            self._rows = list(rows)
        elif self._rows and self._rows[-1].key == before:
            self._rows = [*self._rows, *rows][:_MAX_ROWS]
        self._grid.show(event_row(row) for row in self._rows)

    def _say(self, problem: str) -> None:
        """A wrong filter, under its field."""
        if problem != self._filter.props.get("error-message", ""):
            self._filter.props["error-message"] = problem
            self._filter.props["error"] = bool(problem)

    async def _filtered(self, event: Any) -> None:
        self._viewer.filter_text = str(event.value or "").strip()
        self._hold(held=False)
        await self._load()

    def _toggles(self) -> None:
        with ui.element("div").classes("ax-kinds").props('role=group aria-label="Kinds of events"'):
            for kind in KINDS:
                button = ui.button(kind.capitalize(), color=None).props("dense flat no-caps").classes("ax-kind")
                button.on_click(lambda kind=kind, button=button: self._toggle(kind, button))
                _press(button, pressed=kind in self._viewer.kinds)

    async def _toggle(self, kind: str, button: ui.button) -> None:
        chosen = set(self._viewer.kinds) ^ {kind}
        self._viewer.kinds = tuple(each for each in KINDS if each in chosen)
        _press(button, pressed=kind in chosen)
        self._hold(held=False)
        await self._load()

    def _make_grid(self) -> Grid:
        grid = Grid(
            [
                column("time", "Received", width=118, kind="number") | {"sortable": False},
                column("topic", "Topic", kind="code") | {"sortable": False, "flex": 2, "minWidth": 130},
                column("scope", "Scope", width=112, kind="code", wide_only=True) | {"sortable": False},
                column("seq", "Seq", width=96, kind="number", wide_only=True) | {"sortable": False},
                column("summary", "Fields", flex=6) | {"sortable": False},
            ],
            label="Events, newest first",
            empty="No events match at this moment. Widen the filter, or choose other kinds.",
            on_open=self._open,
            fills=True,
            options={"animateRows": False},
        )
        grid.element.on("bodyScrollEnd", self._scrolled, js_handler=_SCROLLED % grid.element.id)
        return grid

    async def _scrolled(self, event: Any) -> None:
        where = event.args if isinstance(event.args, dict) else {}
        self._hold(held=where.get("atTop") is False)
        if where.get("atEnd") is True and self._has_more and 0 < len(self._rows) < _MAX_ROWS:
            await self._load(before=self._rows[-1].key)

    def _hold(self, *, held: bool) -> None:
        self._is_held = held
        self._held.set_visibility(held)

    async def _follow(self) -> None:
        self._hold(held=False)
        await self._load()
        self._grid.element.run_grid_method("ensureIndexVisible", 0, "top")

    async def _open(self, name: str) -> None:
        row = next((row for row in self._rows if name_of(row.key) == name), None)
        if row is not None:
            await show_event(self._viewer, row.key)


def name_of(key: EventKey) -> str:
    """One text for a key."""
    return f"{key.scope} {key.topic} {key.epoch} {key.seq} {key.received_us}"


def event_row(row: EventRow) -> Row:
    """One line of the list."""
    return {
        "id": name_of(row.key),
        "time": clock(row.key.received_us),
        "topic": row.key.topic,
        "scope": short_scope(row.key.scope),
        "seq": NONE if row.key.seq is None else str(row.key.seq),
        "summary": row.summary,
    }


def _press(button: ui.button, *, pressed: bool) -> None:
    button.props(f"aria-pressed={'true' if pressed else 'false'} icon={'check' if pressed else ''}")
    button.classes(**{"add" if pressed else "remove": "ax-pressed"})

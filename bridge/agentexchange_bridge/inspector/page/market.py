"""The market: a price for each symbol, live; and the candles of the one that is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from nicegui import events, ui

from agentexchange_schemas import FeedState

from .chart import CandleChart
from .format import age, look_of, spark
from .grid import Grid, column

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_bridge.inspector.views import PriceRow

    from .grid import Row
    from .viewer import Viewer

__all__ = ["FRESH_S", "MarketPanel", "PriceLines", "price_row"]

FRESH_S: Final = 2.0
QUIET_S: Final = 15.0
_MAX_VISIBLE: Final = 200

# One character a point, as `format.spark` writes them.
_SPARK: Final = """p => {
  const ns = 'http://www.w3.org/2000/svg', svg = document.createElementNS(ns, 'svg'), v = p.value || '';
  svg.setAttribute('viewBox', '0 -2 100 40'); svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('class', 'ax-spark'); svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS(ns, 'polyline'), step = 100 / Math.max(1, v.length - 1);
  line.setAttribute('points', [...v].map((c, i) => (i * step).toFixed(1) + ',' + (35 - parseInt(c, 36))).join(' '));
  svg.append(line); return svg; }"""
_CHANGE: Final = (
    "p => p.value == null ? '–' : (p.value > 0 ? '+' : p.value < 0 ? '−' : '') + Math.abs(p.value).toFixed(2) + ' %'"
)
_CHANGE_CLASS: Final = (
    "p => 'ag-right-aligned-cell ax-number ' + (p.value > 0 ? 'ax-up' : p.value < 0 ? 'ax-down' : '')"
)
# Tells which rows can be seen, when others can be: only these are kept up to date.
_SEEN: Final = """() => {
  const element = getElement(%d), grid = element?.api, ids = [];
  if (!grid || grid.isDestroyed()) return;
  for (let i = grid.getFirstDisplayedRowIndex(); i >= 0 && i <= grid.getLastDisplayedRowIndex(); i++)
    ids.push(grid.getDisplayedRowAtIndex(i)?.id);
  const all = ids.join();
  if (all === element.seenRows) return;
  element.seenRows = all; emit(ids); }"""


class PriceLines:
    """What the browser has of each symbol, and what it must be sent. No page: rows in, rows out."""

    def __init__(self) -> None:
        self._rows: dict[str, PriceRow] = {}
        self._sent: dict[str, Row] = {}
        self._seen: frozenset[str] = frozenset()
        self.version = 0

    def clear(self) -> None:
        """Forget everything: the moment jumped."""
        self._rows.clear()
        self._sent.clear()
        self.version = 0

    def take(self, version: int, rows: Iterable[PriceRow]) -> bool:
        """Note rows that changed; whether there are symbols that the browser does not have yet."""
        self.version = version
        self._rows.update((row.symbol, row) for row in rows)
        return self._rows.keys() != self._sent.keys()

    def see(self, symbols: Iterable[str]) -> None:
        """These can be seen now."""
        self._seen = frozenset(symbols)

    def all(self, at_us: int) -> list[Row]:
        """Every row, sorted by symbol."""
        self._sent = {name: price_row(self._rows[name], at_us) for name in sorted(self._rows)}
        return list(self._sent.values())

    def changed(self, at_us: int, *, unseen: bool = False) -> list[Row]:
        """Rows that can be seen and differ from what the browser has; with ``unseen`` the others, too."""
        names = self._rows.keys() if unseen else self._rows.keys() & self._seen
        fresh = {name: price_row(self._rows[name], at_us) for name in names}
        different = {name: row for name, row in fresh.items() if row != self._sent.get(name)}
        self._sent |= different
        return list(different.values())

    def symbols(self) -> list[str]:
        """Sorted."""
        return sorted(self._rows)


def price_row(row: PriceRow, at_us: int) -> Row:
    """One line of the market; field names are short because they are sent often."""
    age_s = max(0.0, (at_us - row.received_us) / 1e6)
    word, tone = _freshness(row.state, age_s)
    change = None if row.change_pct is None else round(row.change_pct, 2)
    return {
        "id": row.symbol, "p": row.price, "c": change, "s": spark(row.spark), "a": age(age_s),
        "f": word, "tone": tone,
    }  # fmt: skip


def _freshness(state: FeedState, age_s: float) -> tuple[str, str]:
    if state is not FeedState.LIVE:
        return look_of(state)
    if age_s < FRESH_S:
        return "Fresh", "good"
    return ("Quiet", "idle") if age_s < QUIET_S else ("Old", "warn")


class MarketPanel:
    """All symbols beside the candles of one."""

    PERIOD_S: ClassVar[float] = 0.5

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._lines = PriceLines()
        with ui.element("div").classes("ax-market"):
            with ui.element("section").classes("ax-block ax-market-list").props('aria-label="Prices"'):
                with ui.element("div").classes("ax-tools"):
                    search = ui.input(placeholder="Search a symbol", on_change=self._search)
                    search.props('dense outlined clearable debounce=150 aria-label="Search a symbol"').classes(
                        "ax-search ax-filter"
                    )
                    self._count = ui.label("").classes("ax-soft")
                self._grid = self._make_grid()
            with ui.element("section").classes("ax-block ax-market-chart").props('aria-label="Candles"'):
                self._chart = CandleChart(viewer)

    async def refresh(self, *, anew: bool) -> None:
        """Send the rows that changed and can be seen, and the candles."""
        feed = self._viewer.feed
        if feed is None:
            return
        if anew:
            self._lines.clear()
        at_us = feed.at_us
        has_new = self._lines.take(*feed.prices(self._lines.version))
        if has_new or anew:
            self._show_all(at_us)
        elif rows := self._lines.changed(at_us):
            self._grid.update(rows)
        await self._chart.refresh(anew=anew)

    def _show_all(self, at_us: int) -> None:
        rows = self._lines.all(at_us)
        self._grid.show(rows)
        self._count.text = f"{len(rows)} symbols"
        if self._viewer.symbol not in {row["id"] for row in rows} and rows:
            self._viewer.symbol = "BTCUSDT" if "BTCUSDT" in self._lines.symbols() else rows[0]["id"]

    def _make_grid(self) -> Grid:
        columns = [
            column("id", "Symbol", kind="code") | {"minWidth": 92},
            column("p", "Price", kind="price") | {"minWidth": 88},
            column("c", "Change", width=86, kind="number") | {":valueFormatter": _CHANGE, ":cellClass": _CHANGE_CLASS},
            column("s", "Last minutes", width=124, wide_only=True) | {":cellRenderer": _SPARK, "sortable": False},
            column("f", "Freshness", width=98, kind="state"),
            column("a", "Age", width=74, kind="number", wide_only=True),
        ]
        for each in columns[1:]:
            each[":getQuickFilterText"] = "() => ''"
        grid = Grid(
            columns,
            label="Prices of all symbols",
            empty="No prices at this moment. They appear with the first ticks that a bridge writes.",
            on_open=self._choose,
            fills=True,
            options={"rowBuffer": 4, "suppressModelUpdateAfterUpdateTransaction": True, "animateRows": False},
        )
        seen = _SEEN % grid.element.id
        grid.element.on("viewportChanged", self._see, throttle=0.2, js_handler=seen)
        grid.element.on("modelUpdated", self._see, throttle=0.2, js_handler=seen)
        grid.element.on("sortChanged", self._sorted, [])
        return grid

    def _see(self, event: events.GenericEventArguments) -> None:
        """Rows came into sight: what they missed meanwhile goes with the next batch."""
        ids = event.args if isinstance(event.args, list) else [event.args]
        self._lines.see([name for name in ids if isinstance(name, str)][:_MAX_VISIBLE])

    def _sorted(self) -> None:
        """The browser sorts by what it has: give it all, and let it sort again."""
        feed = self._viewer.feed
        if feed is not None and (rows := self._lines.changed(feed.at_us, unseen=True)):
            self._grid.element.run_grid_method("applyTransaction", {"update": rows})
            self._grid.element.run_grid_method("refreshClientSideRowModel", "sort")

    def _search(self, event: events.ValueChangeEventArguments[Any]) -> None:
        self._grid.element.run_grid_method("setGridOption", "quickFilterText", event.value or "")

    async def _choose(self, symbol: str) -> None:
        self._viewer.symbol = symbol
        await self._chart.refresh(anew=True)

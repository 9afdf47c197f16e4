"""A table that sends the browser only what changed: AG Grid with rows that are named by their ``id``.

Columns are fixed names, never an event's own: NiceGUI evaluates grid options whose name begins with a colon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from nicegui import events, ui

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Column", "Grid", "Row", "column"]

Column: TypeAlias = dict[str, Any]
Row: TypeAlias = dict[str, Any]

ROW_HEIGHT: Final = 34  # pixels

# Enter opens what a click opens: the grid itself gives Enter no meaning in cells that cannot be edited.
_ENTER_CLICKS: Final = "e => { if (e.event.key === 'Enter') e.event.target.click(); }"
_BY_NUMBER: Final = (
    "(a, b) => (parseFloat(a) || 0) - (parseFloat(b) || 0)"  # the texts are the platform's exact numbers
)
_TONE: Final = "p => 'ax-state ax-' + (p.data.tone || 'idle')"


_WITHOUT_ZEROS: Final = r"params => params.value?.replace(/(\.\d\d+?)0+$/, '$1')"


def column(
    field: str,
    title: str,
    *,
    width: int | None = None,
    flex: int | None = None,
    kind: str = "text",
    wide_only: bool = False,
) -> Column:
    """One column.

    Args:
        field: its name in a row.
        title: its heading.
        width: pixels; without it, ``flex`` parts of what is left.
        flex: parts of the room that is left (default 1).
        kind: ``text``; ``number`` (right, sorted by value); ``price`` (the same without the zeros that the platform
            pads it with); ``code`` (figures of one width); ``state`` (with the shape and colour of the row's ``tone``).
        wide_only: left out on a phone.
    """
    made: Column = {"field": field, "headerName": title, "headerTooltip": title}
    made |= {"width": width} if width else {"flex": flex or 1, "minWidth": 90}
    if kind in ("number", "price"):
        made |= {"type": "rightAligned", "cellClass": "ag-right-aligned-cell ax-number", ":comparator": _BY_NUMBER}
    if kind == "price":
        made[":valueFormatter"] = _WITHOUT_ZEROS
    elif kind == "code":
        made["cellClass"] = "ax-number"
    elif kind == "state":
        made[":cellClass"] = _TONE
    if wide_only:
        made[":hide"] = "matchMedia('(max-width: 700px)').matches"
    return made


class Grid:
    """One table.

    Args:
        columns: from `column`.
        label: read out by screen readers.
        empty: what stands there without rows: says what to do.
        on_open: called with a row's id when it is clicked, or Enter pressed on it.
        fills: as high as the room that is left; otherwise as high as its rows.
        options: more of AG Grid's.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        label: str,
        empty: str,
        on_open: Callable[[str], Any] | None = None,
        fills: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._rows: dict[str, Row] = {}
        self.element = ui.aggrid(
            {
                "columnDefs": list(columns),
                "rowData": [],
                "defaultColDef": {
                    "sortable": True,
                    "resizable": True,
                    "suppressMovable": True,
                    "suppressHeaderMenuButton": True,
                    "cellDataType": False,  # texts that look like times are texts
                },
                ":getRowId": "p => p.data.id",
                ":onCellKeyDown": _ENTER_CLICKS,
                "rowHeight": ROW_HEIGHT,
                "headerHeight": ROW_HEIGHT,
                "domLayout": "normal" if fills else "autoHeight",
                "ensureDomOrder": True,
                "enableCellTextSelection": True,
                "tooltipShowDelay": 500,
                "overlayNoRowsTemplate": f'<span class="ax-empty">{empty}</span>',
                **(options or {}),
            },
            auto_size_columns=False,
        ).classes("ax-grid" + (" ax-fill" if fills else "") + (" ax-opens" if on_open else ""))
        self.element.props(f'aria-label="{label}"')
        if on_open is not None:
            self.element.on("cellClicked", lambda event: _opened(event, on_open), ["rowId"])

    def show(self, rows: Iterable[Row]) -> None:
        """Make these the rows, in this order: sends the changed ones, or all where others came, went or moved."""
        wanted = {row["id"]: row for row in rows}
        if wanted.keys() != self._rows.keys() or list(wanted) != list(self._rows):
            self.element.run_grid_method("setGridOption", "rowData", list(wanted.values()))
        elif changed := [row for name, row in wanted.items() if row != self._rows[name]]:
            self.update(changed)
        self._rows = wanted

    def update(self, rows: list[Row]) -> None:
        """New content for rows that are there; the rest stays as it is."""
        self.element.run_grid_method("applyTransaction", {"update": rows})


def _opened(event: events.GenericEventArguments, on_open: Callable[[str], Any]) -> Any:
    row_id = event.args.get("rowId") if isinstance(event.args, dict) else None
    return on_open(row_id) if isinstance(row_id, str) else None

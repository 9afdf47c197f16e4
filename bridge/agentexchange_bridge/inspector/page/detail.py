"""All of one event, at the side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from agentexchange_bridge.frames import differences, why_none

from .dialog import SideDialog
from .format import NONE, clock, day_clock, milliseconds, size
from .parts import facts, fields_of, heading

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.views import EventDetail, EventKey, EventRow

    from .viewer import Viewer

__all__ = ["event_facts", "show_event"]


async def show_event(viewer: Viewer, key: EventKey, dialog: SideDialog | None = None) -> None:
    """Open the detail of that event, or show it in the ``dialog`` that is open."""
    feed = viewer.feed
    detail = None if feed is None else await feed.event(key)
    if detail is None:
        ui.notify("This event is not held any more: the log has been trimmed since.", type="warning")
        return
    title = _title(key)
    with SideDialog(title) if dialog is None else dialog.turn_to(title) as dialog:  # noqa: PLR1704 - it is the same
        facts(event_facts(detail))
        _travel_button(viewer, key, dialog)
        heading("Fields", level=3)
        fields_of(detail.fields)
        _frame(detail)
        heading("Before and after, of the same topic", level=3)
        _neighbours(viewer, detail, dialog)


def _travel_button(viewer: Viewer, key: EventKey, dialog: SideDialog) -> None:
    async def travel() -> None:
        dialog.close()
        await viewer.go(key.received_us)

    button = ui.button("Show this moment everywhere", icon="history", on_click=travel)
    button.props("unelevated no-caps color=primary dense").classes("ax-below ax-wide-button")


def _title(key: EventKey) -> str:
    return key.topic if key.seq is None else f"{key.topic} #{key.seq}"


def event_facts(detail: EventDetail) -> list[tuple[str, str]]:
    """All metadata, as names and values."""
    row, key = detail.row, detail.row.key
    upstream_us = None if row.upstream_ms is None else row.upstream_ms * 1000
    return [
        ("Topic", key.topic),
        ("Scope", key.scope),
        ("Epoch", str(key.epoch)),
        ("Number", NONE if key.seq is None else f"{key.seq:,}"),
        ("Log id", detail.log_id or "none: it is not in the log"),
        ("Exchange time", _time(upstream_us)),
        ("Received", f"{day_clock(key.received_us)} UTC{_later(upstream_us, key.received_us)}"),
        ("Written", f"{_time(detail.written_us)}{_later(key.received_us, detail.written_us)}"),
        ("Size", size(detail.size)),
        *([("Frame", why_none(key.topic, detail.fields))] if detail.frame is None else []),
    ]


def _time(us: int | None) -> str:
    return NONE if us is None else f"{day_clock(us)} UTC"


def _later(before_us: int | None, after_us: int | None) -> str:
    if before_us is None or after_us is None:
        return ""
    return f" (+{milliseconds((after_us - before_us) / 1000)})" if after_us >= before_us else ""


def _frame(detail: EventDetail) -> None:
    """As the exchange sent it, and how the fields differ."""
    if detail.frame is None:
        return
    heading("Frame, as the exchange sent it", level=3)
    ui.label(detail.frame).classes("ax-frame")
    for words in differences(detail.frame, detail.fields):
        ui.label(words[:1].upper() + words[1:]).classes("ax-soft")


def _neighbours(viewer: Viewer, detail: EventDetail, dialog: SideDialog) -> None:
    with ui.element("ol").classes("ax-near"):
        for row in (*detail.before, detail.row, *detail.after):
            with ui.element("li").classes("ax-here" if row is detail.row else ""):
                if row is detail.row:
                    ui.label(_line(row)).props("aria-current=true")
                else:
                    _neighbour(viewer, row, dialog)


def _neighbour(viewer: Viewer, row: EventRow, dialog: SideDialog) -> None:
    async def show() -> None:
        await show_event(viewer, row.key, dialog)

    ui.button(_line(row), on_click=show, color=None).props("flat dense no-caps align=left").classes("ax-near-button")


def _line(row: EventRow) -> str:
    seq = "" if row.key.seq is None else f"#{row.key.seq} "
    return f"{clock(row.key.received_us)}  {seq}{row.summary}"

"""Small pieces that several panels are made of."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nicegui import ui

from .format import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Tile", "block", "facts", "fields_of", "heading", "icon_button"]


def heading(text: str, *, level: int = 2) -> ui.label:
    """A heading that is one for screen readers, too."""
    with ui.element(f"h{level}").classes("ax-heading"):
        return ui.label(text)


@contextmanager
def block(title: str, *, classes: str = "") -> Iterator[ui.element]:
    """A titled part of a panel."""
    with ui.element("section").classes(f"ax-block {classes}").props(f'aria-label="{title}"') as section:
        heading(title)
        yield section


def icon_button(icon: str, label: str, on_click: Callable[[], Any], *, classes: str = "") -> ui.button:
    """A button that shows only an icon: its label is read out, and shown when pointed at."""
    button = ui.button(icon=icon, on_click=on_click, color=None).props(f'flat dense round aria-label="{label}"')
    with button.classes(f"ax-icon {classes}"):
        ui.tooltip(label).props("delay=400")
    return button


class Tile:
    """A number with its name."""

    def __init__(self, name: str) -> None:
        with ui.element("div").classes("ax-tile"):
            ui.label(name).classes("ax-tile-name")
            self._value = ui.label(NONE).classes("ax-tile-value")
            self._note = ui.label("").classes("ax-tile-note")

    def show(self, value: str, note: str = "") -> None:
        """What it says now."""
        self._value.text = value
        self._note.text = note


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line."""
    with ui.element("dl").classes("ax-facts"):
        for name, value in pairs:
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)


def fields_of(fields: Mapping[str, Any] | None) -> None:
    """An event's fields as it had them."""
    if fields:
        facts((name, NONE if value is None else str(value)) for name, value in fields.items())
    else:
        ui.label("No fields are held any more.").classes("ax-soft")

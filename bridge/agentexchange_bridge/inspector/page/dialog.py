"""Dialogs: one at the side for details, one in the middle for questions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nicegui import ui

from .parts import heading, icon_button

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["confirm", "side_dialog"]


@contextmanager
def side_dialog(title: str) -> Iterator[ui.dialog]:
    """Opened at the right (on a phone: over everything), with what is built in it; gone for good when it is closed."""
    with ui.context.client.layout, ui.dialog() as dialog:
        dialog.props("position=right full-height transition-show=fade transition-hide=fade")
        dialog.props["aria-label"] = title
        dialog.on("hide", dialog.delete)
        with ui.element("div").classes("ax-side"):
            with ui.element("div").classes("ax-tools ax-side-head"):
                heading(title)
                icon_button("close", "Close (Esc)", dialog.close, classes="ax-push")
            with ui.element("div").classes("ax-side-body"):
                yield dialog
    dialog.open()


def confirm(question: str, *, action: str, on_yes: Callable[[], Any]) -> None:
    """Ask before something that cannot be undone."""
    with ui.context.client.layout, ui.dialog() as dialog:
        dialog.on("hide", dialog.delete)
        with ui.element("div").classes("ax-ask").props("role=alertdialog"):
            ui.label(question)
            with ui.element("div").classes("ax-tools ax-ends"):
                ui.button("Cancel", on_click=dialog.close).props("flat no-caps autofocus")

                async def yes() -> None:
                    dialog.close()
                    await on_yes()

                ui.button(action, on_click=yes).props("unelevated no-caps color=negative")
    dialog.open()


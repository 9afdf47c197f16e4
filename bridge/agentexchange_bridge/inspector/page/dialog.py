"""Dialogs: one at the side for details, one in the middle for questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from nicegui import ui

from .parts import heading, icon_button

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["SideDialog", "confirm"]


class SideDialog:
    """Opened at the right (on a phone: over everything), with what is built ``with`` it; gone when it is closed."""

    def __init__(self, title: str) -> None:
        with ui.context.client.layout, ui.dialog() as self._dialog:
            self._dialog.props("position=right full-height transition-show=fade transition-hide=fade")
            self._dialog.on("hide", self._dialog.delete)
            with ui.element("div").classes("ax-side"):
                with ui.element("div").classes("ax-tools ax-side-head"):
                    self._title = heading(title)
                    icon_button("close", "Close (Esc)", self.close, classes="ax-push")
                self._body = ui.element("div").classes("ax-side-body")
        self._name(title)
        self._dialog.open()

    def __enter__(self) -> Self:
        self._body.__enter__()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._body.__exit__(exc_type, exc, traceback)

    def turn_to(self, title: str) -> Self:
        """Empty it for something else."""
        self._body.clear()
        self._name(title)
        return self

    def close(self) -> None:
        """Close it; its elements go when it has faded."""
        self._dialog.close()

    def _name(self, title: str) -> None:
        self._title.text = title
        self._dialog.props["aria-label"] = title


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

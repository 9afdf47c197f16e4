"""Dead letters: what a group's handlers could not do. They can be handed out again, or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nicegui import ui

from agentexchange import AgentExchangeError

from .dialog import SideDialog, confirm
from .format import day_clock, short_scope
from .grid import Grid, column
from .parts import facts, fields_of, heading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange_bridge.inspector.views import DeadLetterRow

    from .grid import Row
    from .viewer import Viewer

__all__ = ["LettersPanel", "letter_row"]


class LettersPanel:
    """Those that are there now: the past holds none."""

    PERIOD_S: ClassVar[float] = 3.0

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._letters: dict[str, DeadLetterRow] = {}
        with ui.element("div").classes("ax-tools"):
            ui.label("As they are now, whatever moment is shown elsewhere.").classes("ax-soft")
            self._problem = ui.label("").classes("ax-problem").props("role=status")
        with ui.element("div").classes("ax-block ax-tall"):
            self._grid = _grid(self._open)

    async def refresh(self, *, anew: bool) -> None:  # noqa: ARG002 - the rows are compared anyway
        """Read them again."""
        try:
            letters = await self._viewer.inspection.dead_letters()
        except AgentExchangeError as exc:
            self._problem.text = str(exc)
            return
        self._problem.text = ""
        self._letters = {_name_of(letter): letter for letter in letters}
        self._grid.show(letter_row(letter) for letter in letters)

    def _open(self, name: str) -> None:
        letter = self._letters.get(name)
        if letter is None:
            return
        with SideDialog(f"Dead letter {letter.id}") as dialog:
            facts(_facts(letter))
            heading("Fields", level=3)
            fields_of(letter.fields)
            with ui.element("div").classes("ax-tools ax-below"):
                retry = ui.button("Retry", icon="replay", on_click=lambda: self._retry(letter, dialog))
                retry.props("unelevated no-caps color=primary")
                drop = ui.button("Drop", icon="delete", on_click=lambda: self._ask(letter, dialog))
                drop.props("flat no-caps color=negative")

    async def _retry(self, letter: DeadLetterRow, dialog: SideDialog) -> None:
        dialog.close()
        await self._do(letter, self._viewer.inspection.retry, f"Handed to {letter.group} again.")

    def _ask(self, letter: DeadLetterRow, dialog: SideDialog) -> None:
        async def drop() -> None:
            await self._do(letter, self._viewer.inspection.drop, "Dropped.")

        dialog.close()
        confirm(
            f"Drop {letter.topic} of {letter.group} for good? Nobody will work on it any more.",
            action="Drop",
            on_yes=drop,
        )

    async def _do(self, letter: DeadLetterRow, act: Callable[[DeadLetterRow], Awaitable[bool]], done: str) -> None:
        try:
            was_there = await act(letter)
        except AgentExchangeError as exc:
            ui.notify(str(exc), type="negative")
            return
        ui.notify(done if was_there else "It was gone already: somebody else took it up.", type="info")
        await self.refresh(anew=True)


def _name_of(letter: DeadLetterRow) -> str:
    return f"{letter.scope} {letter.group} {letter.id}"


def letter_row(letter: DeadLetterRow) -> Row:
    """One line."""
    return {
        "id": _name_of(letter),
        "when": day_clock(letter.given_up_us),
        "group": letter.group,
        "scope": short_scope(letter.scope),
        "topic": letter.topic,
        "attempts": str(letter.attempts),
        "error": letter.error,
    }


def _facts(letter: DeadLetterRow) -> list[tuple[str, str]]:
    return [
        ("Topic", letter.topic),
        ("Group", letter.group),
        ("Scope", letter.scope),
        ("Given up", f"{day_clock(letter.given_up_us)} UTC"),
        ("Attempts", str(letter.attempts)),
        ("Error", letter.error),
    ]


def _grid(on_open: Callable[[str], None]) -> Grid:
    return Grid(
        [
            column("when", "Given up", width=196, kind="number", wide_only=True),
            column("group", "Group", kind="code"),
            column("scope", "Scope", width=112, kind="code", wide_only=True),
            column("topic", "Topic", kind="code"),
            column("attempts", "Attempts", width=96, kind="number", wide_only=True),
            column("error", "Error", flex=3),
        ],
        label="Dead letters, newest first",
        empty="No dead letters: every group's handlers have done their work.",
        on_open=on_open,
        fills=True,
    )

"""A bar on a terminal: how much is done, and a line of text beside it."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Protocol

__all__ = ["Bar", "new_bar"]


class Bar(Protocol):
    """Stands on stderr until it is closed."""

    def update(self, share: float, text: str) -> None:
        """Show that so much is done, 0 to 1."""

    def close(self) -> None:
        """Leave it as it is, and go to the next line."""


def new_bar(label: str) -> Bar:
    """A bar where rich is installed, else a line."""
    return _RichBar(label) if find_spec("rich") is not None else _Line(label)


class _Line:
    """One line that is written over and over."""

    def __init__(self, label: str) -> None:
        self._label = label

    def update(self, share: float, text: str) -> None:  # noqa: ARG002 - the text has it
        self._write(f"\r\x1b[K{self._label} {text}")

    def close(self) -> None:
        self._write("\n")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that has gone stops no replay
            sys.stderr.write(text)
            sys.stderr.flush()


class _RichBar:
    """What is printed to the same terminal appears above it."""

    def __init__(self, label: str) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - an extra

        columns = (TextColumn(label), BarColumn(), TextColumn("{task.description}"))
        is_shared = sys.stdout.isatty()  # else what is printed would go to stderr, and not where it was sent
        self._bar: Any = Progress(*columns, console=Console(stderr=True), redirect_stdout=is_shared)
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def update(self, share: float, text: str) -> None:
        self._bar.update(self._task, completed=share, description=text)

    def close(self) -> None:
        self._bar.stop()

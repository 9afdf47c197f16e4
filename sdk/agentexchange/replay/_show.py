"""Tells how far a replay is: to a callback, and as a bar on a terminal."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._control import ReplayProgress
    from ._player import Player

__all__ = ["show"]

_log: Final = logging.getLogger("agentexchange.replay")
_EVERY_S: Final = 0.2


class _Bar(Protocol):
    def update(self, progress: ReplayProgress) -> None: ...
    def close(self) -> None: ...


async def show(
    player: Player,
    *,
    on_progress: Callable[[ReplayProgress], object] | None,
    has_bar: bool | None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Tell five times a second until cancelled, and then once more.

    Args:
        player: whose progress.
        on_progress: is given it; one that raises is logged.
        has_bar: whether to show a bar on stderr; None: if that is a terminal.
        sleep: waits between two looks.
    """
    bar = _bar() if (sys.stderr.isatty() if has_bar is None else has_bar) else None

    def tell() -> None:
        player.sample()
        _tell(player.progress, on_progress, bar)

    try:
        while True:
            tell()
            await sleep(_EVERY_S)
    finally:
        tell()
        if bar is not None:
            bar.close()


def _tell(progress: ReplayProgress, on_progress: Callable[[ReplayProgress], object] | None, bar: _Bar | None) -> None:
    if bar is not None:
        bar.update(progress)
    if on_progress is not None:
        try:
            on_progress(progress)
        except Exception:  # noqa: BLE001 - a fault of whoever watches ends no replay
            _log.exception("on_progress failed")


def line_of(progress: ReplayProgress) -> str:
    """Progress in one line."""
    time = "" if progress.time is None else f"{progress.time:%Y-%m-%d %H:%M:%S} "
    state = "paused" if progress.is_paused else f"{progress.events_per_s:,.0f}/s"
    behind = f", {progress.behind_s:.1f} s behind" if progress.behind_s >= 0.1 else ""  # noqa: PLR2004 - what one sees
    return f"{progress.share:4.0%} {time}{progress.events:,} events, {state}{behind}"


def _bar() -> _Bar:
    return _RichBar() if find_spec("rich") is not None else _Line()


class _Line:
    """One line that is written over and over."""

    def update(self, progress: ReplayProgress) -> None:
        self._write(f"\r\x1b[Kreplay {line_of(progress)}")

    def close(self) -> None:
        self._write("\n")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that has gone stops no replay
            sys.stderr.write(text)
            sys.stderr.flush()


class _RichBar:
    """What handlers print to the same terminal appears above it."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - an extra

        columns = (TextColumn("replay"), BarColumn(), TextColumn("{task.description}"))
        is_shared = sys.stdout.isatty()  # else what handlers print would go to stderr, and not where it was sent
        self._bar: Any = Progress(*columns, console=Console(stderr=True), redirect_stdout=is_shared)
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def update(self, progress: ReplayProgress) -> None:
        self._bar.update(self._task, completed=progress.share, description=line_of(progress))

    def close(self) -> None:
        self._bar.stop()

"""Tells how far a replay is: to a callback, and as a bar on a terminal."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Final

from ._bar import new_bar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._bar import Bar
    from ._control import ReplayProgress
    from ._player import Player

__all__ = ["show"]

_log: Final = logging.getLogger("agentexchange.replay")
_EVERY_S: Final = 0.2


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
    bar = new_bar("replay") if (sys.stderr.isatty() if has_bar is None else has_bar) else None

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


def _tell(progress: ReplayProgress, on_progress: Callable[[ReplayProgress], object] | None, bar: Bar | None) -> None:
    if bar is not None:
        bar.update(progress.share, line_of(progress))
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
    away = ", Redis is away" if progress.is_away else ""
    return f"{progress.share:4.0%} {time}{progress.events:,} events, {state}{behind}{away}"

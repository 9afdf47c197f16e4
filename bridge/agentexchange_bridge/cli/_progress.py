"""How far a served recording is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agentexchange.serving import ServedProgress

__all__ = ["line_of", "show", "shown"]

_BAR_EVERY_S: Final = 0.2
_LINE_EVERY_S: Final = 10.0


@asynccontextmanager
async def shown(progress: Callable[[], ServedProgress], tell: Callable[[str], None]) -> AsyncIterator[None]:
    """While it lasts, show ``progress()`` on stderr: as a bar on a terminal, else with ``tell``."""
    showing = asyncio.create_task(show(progress, tell, has_bar=sys.stderr.isatty()), name="progress")
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def show(
    progress: Callable[[], ServedProgress],
    tell: Callable[[str], None],
    *,
    has_bar: bool,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Show it until cancelled.

    Args:
        progress: how far it is now.
        tell: is given a line every ten seconds in which anything was played; not where there is a bar.
        has_bar: whether to show a bar on stderr, five times a second.
        clock: steady seconds.
        sleep: waits for so many.
    """
    from agentexchange.replay._bar import new_bar

    bar = new_bar("serve") if has_bar else None
    before, at = progress(), clock()
    try:
        while True:
            await sleep(_LINE_EVERY_S if bar is None else _BAR_EVERY_S)
            now, seconds = progress(), max(clock() - at, 0.001)
            line = line_of(now, (now.events - before.events) / seconds)
            if bar is not None:
                bar.update(now.share, line)
            elif now.positions or now.events != before.events:
                tell(line)
            before, at = now, clock()
    finally:
        if bar is not None:
            bar.close()


def line_of(progress: ServedProgress, events_per_s: float) -> str:
    """Progress in one line."""
    place = "" if progress.time is None else f"{progress.share:.0%} {progress.time:%Y-%m-%d %H:%M:%S} "
    clients = "1 client" if progress.clients == 1 else f"{progress.clients} clients"
    return f"{place}{progress.events:,} events, {events_per_s:,.0f}/s, {clients}"

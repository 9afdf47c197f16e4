"""How long tests wait, so that a busy machine fails none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["PATIENCE_S", "at_best"]

PATIENCE_S: Final = 40.0
"""For what must come: long enough for any machine, and the end of a wait for what never does. No promise of speed."""

_TRIES: Final = 3


async def at_best(attempt: Callable[[], Awaitable[float]], *, within_s: float) -> float:
    """The shortest time of a few attempts, the first one within ``within_s`` being enough.

    For promises of speed that only a clock on the wall can see: a busy machine adds to it, and takes nothing off.
    """
    best = float("inf")
    for _ in range(_TRIES):
        best = min(best, await attempt())
        if best <= within_s:
            break
    return best

"""Delays between attempts: capped, jittered, without I/O."""

from __future__ import annotations

import random as _random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["backoff"]


def backoff(
    first: float = 1.0,
    factor: float = 2.0,
    cap: float = 60.0,
    jitter: float = 0.2,
    random: Callable[[], float] = _random.random,
) -> Iterator[float]:
    """Yield delays in seconds without end: ``first``, then ``factor`` times as long each time, at most ``cap``.

    ``jitter`` is the share by which chance (``random``, 0 up to 1) shortens a delay; none is ever longer than its step.
    """
    step = min(first, cap)
    while True:
        yield step * (1.0 - jitter * random())
        step = min(step * factor, cap)

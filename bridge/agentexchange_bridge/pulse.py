"""Whether the event loop, or the whole process, stood still."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Pulse"]

_BEAT_S: Final = 0.25
_STANDSTILL_S: Final = 1.0
_LATELY_S: Final = 10.0  # by then a loop that runs has read what piled up


class Pulse:
    """Beats on the event loop; a beat that is late by a second was a standstill.

    Args:
        clock: seconds, monotonic.
        sleep: waits between beats.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._last = inf
        self._stood_still_at = -inf

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beat()
            await self._sleep(_BEAT_S)

    def stood_still_lately(self) -> bool:
        """Whether there was a standstill in the last seconds; one that ends in this very turn of the loop counts."""
        self._beat()
        return self._clock() - self._stood_still_at < _LATELY_S

    def _beat(self) -> None:
        now = self._clock()
        if now - self._last > _BEAT_S + _STANDSTILL_S:
            self._stood_still_at = now
        self._last = now

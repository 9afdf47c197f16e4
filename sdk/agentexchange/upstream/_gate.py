"""One at a time: handshakes of many sessions, spread over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._options import FeedOptions

__all__ = ["StaggerGate"]


class StaggerGate:
    """Lets one through every ``interval_s`` seconds, give or take a half; the first at once."""

    def __init__(self, interval_s: float, options: FeedOptions) -> None:
        self._interval_s = interval_s
        self._options = options
        self._free_at = 0.0

    async def passed(self) -> None:
        """Return when it is the caller's turn. One that gives up before leaves its turn unused."""
        now = self._options.clock()
        turn = max(now, self._free_at)
        self._free_at = turn + self._interval_s * (0.5 + self._options.random())
        if turn > now:
            await self._options.sleep(turn - now)

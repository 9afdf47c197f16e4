"""How far this machine's clock is ahead of a bridge's: both compare theirs with that of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange.freshness import ServerClock

from .read import us_of

if TYPE_CHECKING:
    from .commands import Commands
    from .options import SharedOptions

__all__ = ["ClockCheck"]

_EVERY_S: Final = 5.0


class ClockCheck:
    """Asks Redis for its time now and then; what it learned outlives connections. Read on any thread."""

    def __init__(self, options: SharedOptions) -> None:
        self._options = options
        self._server = ServerClock()
        self._next_at = float("-inf")

    async def run(self, commands: Commands, clock: float) -> None:
        """Ask, if it is time to."""
        if clock < self._next_at:
            return
        self._next_at = clock + _EVERY_S
        asked_us = us_of(self._options.now())
        server_us = await commands.time_us()
        self._server.answered(asked_us, server_us, us_of(self._options.now()))

    def difference_s(self, bridge_offset_us: int | None) -> float | None:
        """How far this machine's clock is ahead of that of a bridge, seconds; None while that is not known.

        Args:
            bridge_offset_us: how far Redis's clock is ahead of the bridge's, as the bridge says.
        """
        own_us = self._server.ahead_us
        return None if own_us is None or bridge_offset_us is None else (bridge_offset_us - own_us) / 1_000_000

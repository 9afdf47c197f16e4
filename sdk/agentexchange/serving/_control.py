"""What a test makes a served recording do, sees of it, and waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.replay._pace import checked_speed
from agentexchange.testing._server_control import ServerControl

from ._program import utc

if TYPE_CHECKING:
    from datetime import datetime

    from ._stage import Stage

__all__ = ["RecordedControl"]


class RecordedControl(ServerControl):
    """Pace, faults and observations of one `RecordedExchange`; made by it, used from its event loop.

    Beside its own it has what the sandbox's control object has for connections, keys, heartbeats and REST.
    A change of pace reaches clients within a twentieth of a second.
    """

    def __init__(self, stage: Stage, **parts: Any) -> None:
        super().__init__(**parts)
        self._stage = stage

    def set_speed(self, speed: float) -> None:
        """Go on at another speed, 0 for as fast as clients read: all positions, and those to come.

        Raises:
            ValueError: not a number from 0 on.
        """
        self._stage.set_speed(checked_speed(speed))

    def pause(self) -> None:
        """Hold every position, while heartbeats and answers go on."""
        self._stage.pause()

    def resume(self) -> None:
        """Let them go on from where they were held."""
        self._stage.resume()

    @property
    def positions(self) -> dict[int, datetime]:
        """The recorded time that each open connection has come to, by its id; without those that asked for nothing."""
        return {number: utc(us) for number, us in self._stage.positions().items()}

    async def wait_for_ends(self, count: int, *, timeout: float = 10.0) -> None:  # noqa: ASYNC109  # a test wants one line, not a block
        """Wait until so many positions have come to the recording's end since the start."""
        await self._wait(lambda: self._stage.ended >= count, timeout, f"{count} ends of the recording")

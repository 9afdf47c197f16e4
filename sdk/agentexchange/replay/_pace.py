"""When recorded events are due. Pure: real time is passed in, in seconds of any steady clock."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["Pace", "checked_speed"]

_SECOND_US: Final = 1_000_000


def checked_speed(speed: float) -> float:
    """A speed.

    Raises:
        ValueError: not a number from 0 on.
    """
    if not (math.isfinite(speed) and speed >= 0):
        raise ValueError(f"speed must be a number from 0 on (1: as recorded, 0: without waiting), not {speed!r}")
    return float(speed)


class Pace:
    """Recorded time against real time.

    Args:
        at_us: where in recorded time it begins, µs since the Unix epoch.
        now: real time.
        speed: recorded seconds per real second; 0: everything is due.

    Attributes:
        speed: the present one.
        is_paused: whether recorded time stands still.
    """

    def __init__(self, at_us: int, now: float, *, speed: float = 1.0) -> None:
        self.speed = speed
        self.is_paused = False
        self._base_us = float(at_us)
        self._base_at = now

    def position_us(self, now: float) -> float:
        """Up to which recorded time events are due; without a speed, where `move` put it last."""
        if self.is_paused or not self.speed:
            return self._base_us
        return self._base_us + (now - self._base_at) * self.speed * _SECOND_US

    def wait_s(self, at_us: int, now: float) -> float:
        """Real seconds until an event is due: negative for one that is late, infinite while paused."""
        if self.is_paused:
            return math.inf
        return (at_us - self.position_us(now)) / self.speed / _SECOND_US if self.speed else 0.0

    def move(self, at_us: float, now: float) -> None:
        """Go on from another place of the recording."""
        self._base_us, self._base_at = float(at_us), now

    def set_speed(self, speed: float, now: float) -> None:
        """Go on at another speed, from where it is."""
        self.move(self.position_us(now), now)
        self.speed = speed

    def pause(self, now: float) -> None:
        """Stand still. Idempotent."""
        self.move(self.position_us(now), now)
        self.is_paused = True

    def resume(self, now: float) -> None:
        """Go on. Idempotent."""
        if self.is_paused:
            self.is_paused = False
            self._base_at = now

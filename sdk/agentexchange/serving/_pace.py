"""When recorded events are due. Pure: the clock is passed in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pace"]


class Pace:
    """One position in a recording, as it moves on.

    What comes late, because the reader was slow, is made up for: moments are counted from where the pace began,
    or from where its speed was changed last.

    Args:
        speed: recorded seconds in a second; 0 for no waiting at all.
        clock: monotonic seconds.

    Attributes:
        position_us: the last moment that was asked about, µs since the Unix epoch.
    """

    def __init__(self, *, speed: float, clock: Callable[[], float], is_paused: bool = False) -> None:
        self.position_us = 0
        self._speed = speed
        self._clock = clock
        self._is_paused = is_paused
        self._from_us = 0.0
        self._from_s = 0.0

    def begin(self, start_us: int) -> None:
        """The recording's ``start_us`` is now."""
        self.position_us = start_us
        self._from_us, self._from_s = start_us, self._clock()

    def wait_s(self, event_us: int) -> float:
        """Seconds until the event of this moment is due: 0 where it is, infinite while paused."""
        self.position_us = event_us
        if self._is_paused:
            return math.inf
        if not self._speed:
            return 0.0
        due_s = self._from_s + (event_us - self._from_us) / self._speed / 1e6
        return max(0.0, due_s - self._clock())

    @property
    def speed(self) -> float:
        """The factor; setting it goes on from where the position is."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._anchor()
        self._speed = speed

    def pause(self) -> None:
        """Nothing is due until `resume`. Idempotent."""
        self._anchor()
        self._is_paused = True

    def resume(self) -> None:
        """Go on from where `pause` stopped. Idempotent."""
        if self._is_paused:
            self._from_s = self._clock()
            self._is_paused = False

    def _anchor(self) -> None:
        if self._is_paused:
            return
        now_s = self._clock()
        if self._speed:
            self._from_us += (now_s - self._from_s) * self._speed * 1e6
        else:
            self._from_us = self.position_us
        self._from_s = now_s

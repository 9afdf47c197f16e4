"""How far two clocks are apart: from round trips, or at least bounded by one-way times. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

__all__ = ["LeastDelay", "ServerClock", "time_us"]

_SAMPLES: Final = 32
_WINDOW_S: Final = 300.0


class _RoundTrip(NamedTuple):
    took_us: int
    ahead_us: int


def time_us(reply: Any) -> int | None:
    """Redis's answer to TIME in microseconds since the Unix epoch; None where it is none, as where that is refused."""
    try:
        seconds, microseconds = reply
        return int(seconds) * 1_000_000 + int(microseconds)
    except (TypeError, ValueError):
        return None


class ServerClock:
    """How far a server's clock is ahead of this machine's. Of the last round trips the shortest says it best."""

    def __init__(self) -> None:
        self._trips: deque[_RoundTrip] = deque(maxlen=_SAMPLES)

    @property
    def ahead_us(self) -> int | None:
        """Microseconds, below 0 where it is behind; None before the first answer. Good to half a round trip."""
        return min(tuple(self._trips)).ahead_us if self._trips else None

    def answered(self, asked_us: int, server_us: int | None, heard_us: int) -> None:
        """The server's time was asked for at ``asked_us``, and known at ``heard_us``, by this machine's clock."""
        took_us = heard_us - asked_us
        if server_us is not None and took_us >= 0:  # else this clock was set meanwhile
            self._trips.append(_RoundTrip(took_us, server_us - (asked_us + heard_us) // 2))


class LeastDelay:
    """The least time lately between a sender's time stamp and receipt: the fastest trip, and what the clocks differ by.

    So the sender's clock is ahead of this machine's by no less than the trip minus this. It holds for 5 to 10 minutes.
    """

    def __init__(self) -> None:
        self._now: float | None = None
        self._before: float | None = None
        self._since = float("-inf")

    @property
    def least_s(self) -> float | None:
        """Seconds; below 0 where the sender's clock is ahead by more than the trip. None before the first."""
        known = [delay for delay in (self._now, self._before) if delay is not None]
        return min(known, default=None)

    def add(self, delay_s: float, clock: float) -> None:
        """Something came ``delay_s`` after its time stamp; ``clock`` in seconds, monotonic."""
        if clock - self._since >= _WINDOW_S:
            self._before, self._now, self._since = self._now, None, clock
        self._now = delay_s if self._now is None else min(self._now, delay_s)

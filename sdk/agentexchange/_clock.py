"""The time that handlers live in: now, or, while a recording is replayed, when the event in hand was received."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["Clock"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """A client's clock, `AgentExchangeWS.clock`. Read on any thread.

    Ask it instead of the system, and a program does in a replay what it does live.

    Attributes:
        replayed_us: during a replay, the recorded time of the event in hand, µs since the Unix epoch; else None.
    """

    def __init__(self) -> None:
        self.replayed_us: int | None = None

    def now(self) -> datetime:
        """The time, UTC."""
        replayed_us = self.replayed_us
        return datetime.now(UTC) if replayed_us is None else _EPOCH + timedelta(0, 0, replayed_us)

    def time(self) -> float:
        """The time in seconds since the Unix epoch."""
        replayed_us = self.replayed_us
        return time.time() if replayed_us is None else replayed_us / 1_000_000

    def reading(self) -> tuple[float, datetime]:
        """What arrivals are measured by (a steady clock's seconds), and the time."""
        return (time.monotonic() if self.replayed_us is None else self.time()), self.now()

"""A place that past events are read from, in both directions: the logs of Redis, or a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange.recording import Lane

__all__ = ["MAX_US", "History", "LaneSpan", "Page", "Sample", "Stretch"]


MAX_US: Final = 253_402_300_799_999_999
"""The end of the year 9999: no event is later."""


class Page(NamedTuple):
    """Envelopes of one lane, in the direction asked for.

    Attributes:
        raws: as they were written; what is no log entry of ours is left out, so there may be none.
        edge_us: where to ask on from; None where nothing is left.
        read: entries that were read for it.
    """

    raws: list[bytes]
    edge_us: int | None
    read: int


class LaneSpan(NamedTuple):
    """What a lane holds: entries (0 where nobody says), memory (None likewise), ``r`` of the first and the last."""

    lane: Lane
    entries: int
    memory_bytes: int | None
    first_us: int | None
    last_us: int | None


class Stretch(NamedTuple):
    """From a moment to another, which is no longer in it; µs since the Unix epoch."""

    start_us: int
    end_us: int


class Sample(NamedTuple):
    """What is known of a stretch: events a second, and whether all of them were counted."""

    events_per_s: float
    is_exact: bool


class History(Protocol):
    """Holds only what may be shown. Every method may raise `ConnectionError`, where what it reads from is away."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The logs that may be shown."""

    def key(self, lane: Lane) -> str:
        """What a lane is called where it is kept."""

    def end_us(self) -> int:
        """Up to when all that happened is held: the last event, or a moment ago."""

    async def spans(self) -> list[LaneSpan]:
        """What each lane holds now."""

    async def back(self, lane: Lane, before_us: int, count: int, *, topic: str | None = None) -> Page:
        """About ``count`` events before that moment, the newest first; with ``topic`` others may be left out."""

    async def forth(self, lane: Lane, after_us: int, count: int, *, topic: str | None = None) -> Page:
        """About ``count`` events after that moment, the oldest first; ``topic``: as for `back`."""

    async def topics(self, scope: str) -> set[str]:
        """Every topic that the scope is known to have had events of."""

    async def newest(self, scope: str, topics: list[str], before_us: int) -> list[bytes]:
        """The newest event before that moment of each topic, where that is quickly found: of some, or none."""

    async def rates(self, lane: Lane, stretches: Sequence[Stretch]) -> list[Sample]:
        """How much there is in each."""

"""The seam between the inspector's data and its pages: what a page may ask, now or of a moment of the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from agentexchange.recording import EventName

    from .views import (
        AccountView,
        Bar,
        DeadLetterRow,
        EventDetail,
        EventKey,
        EventRow,
        GapRow,
        Overview,
        PriceRow,
        TimeLine,
        Window,
    )

__all__ = ["Feed", "Inspection", "Travel"]


class Feed(Protocol):
    """Answers from memory, on the event loop's thread; only what is ``async`` may read Redis or a file.

    What reads raises `agentexchange.ConnectionError` where Redis is away, or the file cannot be read.
    """

    @property
    def at_us(self) -> int:
        """The moment shown."""

    def overview(self) -> Overview:
        """The installation."""

    def prices(self, since: int = 0) -> tuple[int, list[PriceRow]]:
        """The rows that changed after version ``since`` (0: all), and the version to ask with the next time."""

    async def candles(self, symbol: str, interval: str, limit: int = 200) -> list[Bar]:
        """The newest candles up to the moment shown, oldest first; empty where there are none.

        Raises:
            ValueError: not a symbol or an interval.
        """

    def symbols(self) -> Sequence[str]:
        """Every symbol seen, sorted."""

    def accounts(self) -> Sequence[str]:
        """The account scopes that may be shown."""

    def account(self, scope: str) -> AccountView:
        """Orders and portfolio; empty for a scope that may not be shown."""

    async def events(
        self, *, filter_text: str = "", kinds: Sequence[str] = (), before: EventKey | None = None, limit: int = 200
    ) -> list[EventRow]:
        """Events up to the moment shown, newest first; ``before``: those that came before that one.

        Args:
            filter_text: a condition as of ``agentexchange tail --where``, or a topic, or a part of one.
            kinds: ``ticker``, ``candles``, ``orders``, ``portfolio``, ``status``; empty: all.
            before: the last row of the page before.
            limit: rows at most.

        Raises:
            ValueError: the filter cannot be read; says where and why.
        """

    async def event(self, key: EventKey) -> EventDetail | None:
        """All of one event; None where it is no longer held."""

    def gaps(self) -> list[GapRow]:
        """Spans with something missing, newest first, at most 500."""


class Travel(Feed, Protocol):
    """A feed of one viewer that shows the past. After `go` and a step back `prices` is to be asked with 0."""

    @property
    def is_playing(self) -> bool:
        """Whether the moment moves on by itself."""

    @property
    def speed(self) -> float:
        """Recorded seconds for one second, while it plays."""

    async def go(self, at_us: int) -> None:
        """Show that moment; what plays goes on from there."""

    def play(self, speed: float) -> None:
        """Let time pass at ``speed`` (1, 10, 100) until `pause` or the end."""

    def pause(self) -> None:
        """Stand still."""

    async def step(self, count: int = 1) -> None:
        """One event on (``-1``: back)."""

    async def refresh(self) -> None:
        """Have the overview tell what the logs hold by now; the moment stays."""

    async def close(self) -> None:
        """Release what it reads with. Idempotent."""


class Inspection(Protocol):
    """What all viewers share. An async context manager: entering connects, leaving ends all."""

    async def __aenter__(self) -> Self:
        """Connect, or open the file.

        Raises:
            ConnectionError: the server refuses for good. Where it is only away, it is waited for.
            RecordingError: a recording is foreign, or of a later version.
            OSError: it cannot be opened.
        """

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all."""

    @property
    def live(self) -> Feed | None:
        """The feed as it is now; None for a recording, which has only a past."""

    @property
    def grows(self) -> bool:
        """Whether the time line's end moves on: not of a recording that its recorder has closed."""

    async def timeline(self, buckets: int = 240, window: Window | None = None) -> TimeLine:
        """What can be travelled to, or a part of it, in so many stretches at most."""

    async def locate(self, name: EventName) -> int | None:
        """When that event was received, of the newest epoch if there are several; None where it is not held."""

    async def travel(self, at_us: int | None = None) -> Travel:
        """A view of the past for one viewer, at that moment (None: the last one held)."""

    async def dead_letters(self) -> list[DeadLetterRow]:
        """Of every group in the scopes that may be read, newest first, at most 500."""

    async def retry(self, letter: DeadLetterRow) -> bool:
        """Hand it to its group again: whether it was still there.

        Raises:
            ConnectionError: Redis is away, or refuses this user the right; says which.
        """

    async def drop(self, letter: DeadLetterRow) -> bool:
        """Delete it for good: whether it was still there.

        Raises:
            ConnectionError: as for `retry`.
        """

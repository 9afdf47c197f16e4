"""What a replay plays next: the events of a source from some place on, decoded ahead, and how the scopes are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agentexchange.recording import TopicChoice

from ._candles import BuiltCandles
from ._reader import Part, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentexchange_schemas import FeedStatus, Topic

    from ._source import Source

__all__ = ["Choice", "Span", "Supply"]


class Span(NamedTuple):
    """What is replayed: from the first ``r`` to the first no longer wanted."""

    start_us: int
    end_us: int


class Choice(NamedTuple):
    """What is read at present.

    Attributes:
        topics: what is wanted.
        scopes: of these.
        built: candles among ``topics`` that are to be built of ticks, and the ``r`` from which on there may be any.
    """

    topics: tuple[Topic, ...]
    scopes: tuple[str, ...]
    built: Mapping[Topic, int]


class Supply:
    """The events of a span that come next.

    Args:
        source: an open one.
        span: what is read.
        choice: gives what is to be read, whenever reading begins anew.

    Attributes:
        from_us: where reading began.
        part: the events at hand; None where none are, see `fetch`.
        at: which of them is next.
        next_us: its ``r``; None where none is at hand.
        is_at_end: whether none follows.
    """

    def __init__(self, source: Source, span: Span, choice: Callable[[], Choice]) -> None:
        self.from_us = span.start_us
        self.part: Part | None = None
        self.at = 0
        self.next_us: int | None = None
        self.is_at_end = False
        self._source = source
        self._end_us = span.end_us
        self._choice = choice
        self._reader: Reader | None = None
        self._known: set[str] = set()  # scopes whose state at the beginning was asked for
        self._opening: list[FeedStatus] = []

    @property
    def is_ready(self) -> bool:
        """Whether `fetch` will not wait."""
        return self._reader is not None and self._reader.is_ready

    async def fetch(self) -> None:
        """Have the next events at hand, or find out that there are none. Cancelled, it has changed nothing.

        Raises:
            RecordingError: damaged here; everything before was handed out.
            ConnectionError: Redis does not answer any more.
        """
        if self._reader is None:
            self._reader = await self._open()
        self.part = await self._reader.next()
        self.is_at_end = self.part is None
        if self.part is not None:
            self.go_to(0)

    def go_to(self, at: int) -> None:
        """The events before ``at`` are done with."""
        assert self.part is not None  # noqa: S101 - there is something at hand
        self.at = at
        if at < len(self.part.envelopes):
            self.next_us = self.part.envelopes[at].received_us
        else:
            self.part = self.next_us = None

    def take_opening(self) -> list[FeedStatus]:
        """How the scopes are that are read since the last call, at the place where that began. Told once each."""
        opening, self._opening = self._opening, []
        return opening

    async def move(self, from_us: int, *, keeps_states: bool) -> None:
        """Go on from there; ``keeps_states``: what was told of the scopes still holds there."""
        await self.close()
        self.from_us = from_us
        self.is_at_end = False
        if not keeps_states:
            self._known.clear()
            self._opening.clear()

    async def close(self) -> None:
        """Stop reading. Idempotent."""
        reader, self._reader = self._reader, None
        self.part = self.next_us = None
        if reader is not None:
            await reader.close()

    async def _open(self) -> Reader:
        topics, scopes, built = self._choice()
        source = self._source
        unknown = [scope for scope in scopes if scope not in self._known]
        self._opening += await source.states_at(self.from_us, unknown) if unknown else []
        self._known.update(unknown)
        if not built:
            return Reader(source.runs(self.from_us, self._end_us, topics=TopicChoice(topics), scopes=scopes))
        candles = BuiltCandles(built, self.from_us)
        choice = TopicChoice([*topics, *candles.tickers])
        return Reader(candles.among(source.runs(candles.start_us, self._end_us, topics=choice, scopes=scopes)))

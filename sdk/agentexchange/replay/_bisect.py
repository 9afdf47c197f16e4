"""One event in a log in Redis, by its topic and number: by halving the log's time, as numbers grow along it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange._shared.commands import START, id_of
from agentexchange._shared.commands import place_of as id_place
from agentexchange.recording import place_of
from agentexchange_schemas import EnvelopeError

from ._log import PAGE, page_of, raw_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.recording import EventName, Place

    from ._link import Link
    from ._log import Log

__all__ = ["locate"]

_MOST: Final = 4 * PAGE  # entries that are looked at to find the topic at some place: if it is not there, it is rare
_NEAR_US: Final = 1000  # a span that is read rather than halved


async def locate(link: Link, log: Log, name: EventName) -> Place | None:
    """Where the event is; None where the log does not hold it."""
    low, high = log.first_us, log.last_us + 1  # the event lies in [low, high), if anywhere
    while high - low > _NEAR_US:
        middle = (low + high) // 2
        found, is_whole = await _next(link, log, name.topic, middle, high)
        if found is None and not is_whole:
            break
        if found is None or (found.seq or 0) > name.seq:
            high = middle
        elif found.seq == name.seq:
            return found
        else:
            low = found.received_us + 1
    return await _scan(link, log, name, low, high)


async def _scan(link: Link, log: Log, name: EventName, low: int, high: int) -> Place | None:
    """Read all of the span."""
    async for place in _places(link, log, low, high):
        if place.topic == name.topic and place.seq == name.seq:
            return place
    return None


async def _next(link: Link, log: Log, topic: str, low: int, high: int) -> tuple[Place | None, bool]:
    """The topic's first event in the span, and whether so much was read as to be sure of it."""
    seen = 0
    async for place in _places(link, log, low, high):
        if place.topic == topic:
            return place, True
        seen += 1
        if seen == _MOST:
            return None, False
    return None, True


async def _places(link: Link, log: Log, low: int, high: int) -> AsyncIterator[Place]:
    after, end = id_of(low - 1) if low else START, b"(" + id_of(high)
    while entries := await page_of(link, log.key, after, end):
        for place in map(_place, entries):
            if place is not None:
                yield place
        after = entries[-1][0]


def _place(entry: Any) -> Place | None:
    raw = raw_of(entry)
    try:
        return None if raw is None else place_of(raw)._replace(received_us=id_place(entry[0]))
    except EnvelopeError:
        return None

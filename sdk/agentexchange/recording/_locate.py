"""One event in a recording by its topic and number. Pure but for the loading, which is passed in.

A topic's numbers grow along its log, so that a handful of blocks is enough to find the right one. Where numbers went
back, as after a server forgot its last moments, the neighbours of that block are looked at too.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from agentexchange.errors import RecordingError
from agentexchange_schemas import EnvelopeError

from ._peek import place_of, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._directory import BlockInfo
    from ._moments import EventName
    from ._peek import Place

__all__ = ["locate"]

_CACHED: Final = 3  # blocks: those that are looked at again are neighbours


def locate(
    name: EventName, lanes: Iterable[Sequence[BlockInfo]], load: Callable[[BlockInfo], list[bytes]]
) -> Place | None:
    """Where the event is, of the newest epoch if there are several; None where there is none.

    Args:
        name: of the event.
        lanes: of each lane the blocks that hold the topic, in order.
        load: gives a block's envelopes.

    Raises:
        RecordingError: a block is damaged.
    """

    @lru_cache(maxsize=_CACHED)
    def places(block: BlockInfo) -> list[Place]:
        return _places(name.topic, block, load)

    found = [place for blocks in lanes for place in _candidates(name.seq, blocks, places)]
    return max(found, key=lambda place: (place.epoch, place.received_us), default=None)


def _candidates(seq: int, blocks: Sequence[BlockInfo], places: Callable[[BlockInfo], list[Place]]) -> list[Place]:
    at = bisect_right(blocks, seq, key=lambda block: _first_seq(places(block)))
    near = blocks[max(0, at - 2) : at + 1]
    return [place for block in near for place in places(block) if place.seq == seq]


def _first_seq(places: list[Place]) -> int:
    return next((place.seq for place in places if place.seq is not None), 0)


def _places(topic: str, block: BlockInfo, load: Callable[[BlockInfo], list[bytes]]) -> list[Place]:
    try:
        return [place_of(raw) for raw in load(block) if topic_of(raw) == topic]
    except EnvelopeError as exc:
        raise RecordingError(
            f"the block holds what is no envelope: {exc}", field="block body", offset=block.offset
        ) from None

"""Notices of recordings before a moment: the index names the blocks that hold any, so few are read."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from agentexchange.errors import RecordingError
from agentexchange_schemas.envelope import STATUS_TOPIC

from ._states import notices_before, tells_scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange.recording import Recording
    from agentexchange_schemas import FeedStatus

__all__ = ["notices_back"]

_MOST: Final = 64
"""Blocks that are looked into, a mebibyte each: about a second."""


def notices_back(recordings: Iterable[Recording], scope: str, before_us: int) -> list[FeedStatus]:
    """The last notices of a scope before a moment, the oldest first: back to one that tells how the scope is.

    Of what comes before damage, nothing is known.
    """
    blocks = [
        (block, one)
        for one in recordings
        for lane in one.lanes
        if lane.scope == scope
        for block in one.blocks_of(lane)
        if block.first_us < before_us and one.holds(block, STATUS_TOPIC)
    ]
    blocks.sort(key=lambda placed: placed[0].last_us, reverse=True)
    found: list[FeedStatus] = []
    with suppress(RecordingError):
        for block, recording in blocks[:_MOST]:
            found = notices_before(scope, recording.read(block), before_us) + found
            if any(map(tells_scope, found)):
                break
    return found

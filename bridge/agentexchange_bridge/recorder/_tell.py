"""A hole as a notice in the recording. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import utc_of
from agentexchange.recording import Lane, sentence_of
from agentexchange_schemas import FeedState, FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC, encode

if TYPE_CHECKING:
    from agentexchange.recording import Hole

__all__ = ["RECORDER_LOG", "notice_of", "recorder_lane"]

RECORDER_LOG: Final = "recorder"
"""The log of a lane that holds what the recorder itself tells."""


def recorder_lane(scope: str) -> Lane:
    """Where the notices about ``scope`` go that are in none of its logs."""
    return Lane(scope, RECORDER_LOG)


def notice_of(scope: str, hole: Hole, *, after_us: int) -> bytes:
    """A notice as a bridge writes them, without a seq and under epoch 0.

    Its ``r`` is just before the event behind the hole, and not below ``after_us``, that of the last such notice.
    """
    status = FeedStatus(
        scope=scope,
        topic=hole.topic,
        state=FeedState.CONNECTING,
        since=utc_of(hole.since_us),
        until=utc_of(hole.until_us),
        cause=hole.cause,
        first_missing=hole.first,
        last_missing=hole.last,
        count=hole.missing,
        message=f"recorder: {sentence_of(scope, hole)}",
    )
    return encode(STATUS_TOPIC, 0, None, None, max(hole.until_us - 1, after_us, 0), status.to_fields())

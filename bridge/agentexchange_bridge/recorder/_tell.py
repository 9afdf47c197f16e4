"""A hole as a notice in the recording and as a sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import utc_of
from agentexchange.recording import Lane
from agentexchange_schemas import Cause, FeedState, FeedStatus
from agentexchange_schemas.envelope import STATUS_TOPIC, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._watch import Hole

__all__ = ["RECORDER_LOG", "notice_of", "recorder_lane", "sentence_of", "sentences_of"]

RECORDER_LOG: Final = "recorder"
"""The log of a lane that holds what the recorder itself tells."""

_TOLD_AT_ONCE: Final = 3


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


def sentences_of(scope: str, holes: Sequence[Hole]) -> list[str]:
    """What is missing, for people: when hundreds of topics lack something at once, the first few and how many more."""
    told = [sentence_of(scope, hole) for hole in holes[:_TOLD_AT_ONCE]]
    more = len(holes) - len(told)
    return [*told, f"{scope}: {more} more gaps like these"] if more else told


def sentence_of(scope: str, hole: Hole) -> str:
    """What is missing, for people."""
    what = f"{scope} {hole.topic}" if hole.topic else scope
    if hole.cause is Cause.LOG_REPLACED:
        return f"{what}: the log was replaced by another; what followed in the old one is not recorded"
    if hole.missing is None:
        since = utc_of(hole.since_us).isoformat(timespec="seconds")
        return f"{what}: the log no longer holds everything after {since}; what was trimmed is not recorded"
    return f"{what}: {hole.missing} events ({hole.first} to {hole.last}) were trimmed before they were recorded"

"""What a log lacks, told in the place where it would have been: as a live client is told of it. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from agentexchange.recording import notice_of, received_of
from agentexchange_schemas import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange.recording import Hole

__all__ = ["with_gaps"]


def with_gaps(scope: str, raws: list[bytes], holes: Iterable[Hole], *, behind_us: int) -> list[bytes]:
    """Events with a notice before each one that has a hole before it.

    Args:
        scope: whose log.
        raws: what was read in one go, in order of ``r``.
        holes: before these, in their order; without any, at the place where the log was read up to.
        behind_us: that place.
    """
    places = list(map(received_of, raws))
    told, begin = [], 0
    for hole in holes:
        at = bisect_left(places, hole.until_us)
        at_us = hole.until_us if at < len(raws) else behind_us
        told += [*raws[begin:at], notice_of(scope, hole, at_us=at_us, message=_message(scope, hole))]
        begin = at
    return told + raws[begin:]


def _message(scope: str, hole: Hole) -> str:
    subject = hole.topic or scope
    why = "was replaced by another" if hole.cause is Cause.LOG_REPLACED else "no longer holds them"
    if hole.missing is not None:
        return f"{subject}: {hole.missing} events are missing: the log {why}"
    if hole.cause is Cause.LOG_REPLACED:
        return f"{subject}: the log {why}"
    return f"{subject}: events of this span may be missing: the log {why}"

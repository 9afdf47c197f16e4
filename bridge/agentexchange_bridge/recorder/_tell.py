"""A hole as a notice in the recording. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange import recording

if TYPE_CHECKING:
    from agentexchange.recording import Hole

__all__ = ["RECORDER_LOG", "notice_of", "recorder_lane"]

RECORDER_LOG: Final = "recorder"
"""The log of a lane that holds what the recorder itself tells."""


def recorder_lane(scope: str) -> recording.Lane:
    """Where the notices about ``scope`` go that are in none of its logs."""
    return recording.Lane(scope, RECORDER_LOG)


def notice_of(scope: str, hole: Hole, *, after_us: int) -> bytes:
    """A notice of the hole.

    Its ``r`` is just before the event behind the hole, and not below ``after_us``, that of the last such notice.
    """
    at_us = max(hole.until_us - 1, after_us, 0)
    return recording.notice_of(scope, hole, at_us=at_us, message=f"recorder: {recording.sentence_of(scope, hole)}")

"""What the scripts answer, read in one place."""

from __future__ import annotations

from typing import Any

from agentexchange.redis import ReplyError

__all__ = ["BehindError", "FencedError", "checked"]


class FencedError(Exception):
    """The lease is not this worker's (any more); ``holder`` is whose it is, "" for nobody's."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


class BehindError(Exception):
    """A log's last entry is above what was to be written; its text is that entry's id."""


def checked(replies: list[Any]) -> Any:
    """The one reply of a script that did what it was asked, or finds that it had done so before.

    Raises:
        ReplyError: Redis refused.
        FencedError: the lease is not the caller's; nothing was done.
        BehindError: a log is ahead; nothing was written.
    """
    reply = replies[0]
    if isinstance(reply, ReplyError):
        raise reply
    if isinstance(reply, bytes):
        word, _, detail = reply.decode(errors="replace").partition(" ")
        if word == "FENCED":
            raise FencedError(detail)
        if word == "BEHIND":
            raise BehindError(detail)
    return reply

"""``group=`` and ``resume=`` of a client: checked, and turned into the transport that does it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from agentexchange._extras import redis_backed
from agentexchange._urls import RedisUrl

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange._options import ConnectionOptions
    from agentexchange._transport import Transport
    from agentexchange._urls import FileUrl, UpstreamUrl

__all__ = ["acked_transport"]


def acked_transport(
    url: UpstreamUrl | RedisUrl | FileUrl, options: ConnectionOptions
) -> Callable[..., Transport] | None:
    """What makes the transport, given what every shared transport is given; None where neither is wanted.

    Raises:
        ValueError: both, a URL that is no Redis URL, or an option out of range.
        MissingExtraError: redis is not installed.
    """
    group, resume = options.group, options.resume
    if group is None and resume is None:
        if options.consumer is not None or options.start != "now":
            raise ValueError("start= and consumer= say how group= or resume= works: give one of these too")
        return None
    if group is not None and resume is not None:
        raise ValueError("group= and resume= exclude each other: a group keeps its own position")
    if resume is not None and options.consumer is not None:
        raise ValueError("consumer= names a member of a group=: a position has one holder")
    if not isinstance(url, RedisUrl):
        name = "group" if group is not None else "resume"
        raise ValueError(f"{name}= needs a base_url that begins with redis://, rediss:// or unix://")  # noqa: TRY004
    if options.consumer is not None and options.client_name is not None:
        raise ValueError("consumer= is what client_name= is called in a group=: give one of them")
    shared = redis_backed("_shared.options", "SharedOptions")(client_name=options.client_name)
    common: dict[str, Any] = {"start": options.start, "max_attempts": options.max_attempts, "shared": shared}
    if group is not None:
        make, checked = (
            redis_backed("_group.transport", "GroupTransport"),
            redis_backed("_acked.options", "GroupOptions"),
        )
        common |= {"name": group, "claim_after_s": options.claim_after, "consumer": options.consumer}
    else:
        make, checked = (
            redis_backed("_resume.transport", "ResumeTransport"),
            redis_backed("_acked.options", "ResumeOptions"),
        )
        common |= {"name": resume}
    return partial(make, options=checked(**common))

"""How a session of several connections ends: with the first that closes, and the fault that tells why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange.redis import LinkClosedError

if TYPE_CHECKING:
    from agentexchange.redis import RespStream

__all__ = ["decisive", "until_closed"]


async def until_closed(stream: RespStream) -> None:
    """Wait until it is closed, and raise why: it ends the task group that waits."""
    raise await stream.wait_closed()


def decisive(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Of faults that came together, the one that is no consequence: a closed connection may be."""
    faults = sorted(group.exceptions, key=lambda fault: isinstance(fault, LinkClosedError))
    return faults[0]

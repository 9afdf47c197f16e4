"""Notices of a log in Redis before a moment: they lie among its events, so it is read backwards, up to a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._shared.commands import id_of

from ._log import PAGE, raw_of
from ._states import notices_before, tells_scope

if TYPE_CHECKING:
    from agentexchange_schemas import FeedStatus

    from ._link import Link
    from ._log import Log

__all__ = ["notices_back"]

_MOST: Final = 24_000
"""Entries that are looked at, those of all logs together: seconds of a busy market, hours of a quiet one."""


async def notices_back(link: Link, log: Log, before_us: int, *, share: int = 1) -> list[FeedStatus]:
    """The last notices before a moment, the oldest first: back to the last one that tells how the scope is.

    Args:
        link: asks Redis.
        log: which log.
        before_us: the moment, µs since the Unix epoch.
        share: of how many logs it is one.
    """
    found: list[FeedStatus] = []
    until, left = b"(" + id_of(before_us), max(PAGE, _MOST // share)
    while left > 0 and before_us > log.first_us:
        count = min(PAGE, left)
        entries = await link.command("XREVRANGE", log.key, until, "-", "COUNT", count)
        raws = [raw for entry in reversed(entries) if (raw := raw_of(entry)) is not None]
        found = notices_before(log.lane.scope, raws, before_us) + found
        if any(map(tells_scope, found)) or len(entries) < count:
            break
        until, left = b"(" + entries[-1][0], left - len(entries)
    return found

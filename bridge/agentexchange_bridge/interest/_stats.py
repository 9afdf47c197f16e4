"""Plain numbers about interest."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["InterestStats"]


@dataclass(slots=True)
class InterestStats:
    """For anyone to read at any time.

    Attributes:
        clients: that are registered now.
        topics: market topics that they want, or wanted until a moment ago.
        reads: hashes read. counter
        junk: what could not be read or is beyond a bound, by kind: ``message``, ``hash``, ``clients``, ``accounts``,
            ``topics``, ``unread``. counter
    """

    clients: int = 0
    topics: int = 0
    reads: int = 0
    junk: dict[str, int] = field(default_factory=dict)

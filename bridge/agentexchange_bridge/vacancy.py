"""When a worker that stands by may take a lease that it finds free. Pure, no I/O.

A lease is free when its owner is gone, and also when **Redis** was gone for longer than the lease lives: then the owner
is on its way back, with orders that nobody else has. It comes first; a standby takes at once only what it knows to be
abandoned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lease import Free

__all__ = ["Vacancy"]


class Vacancy:
    """What one worker has seen of one scope's lease; times are monotonic seconds.

    Args:
        look_s: from one look to the next. A lease seen held, then free for so long, is abandoned: it expired while
            Redis was there.
        grace_s: how long a lease must be free where that was not seen: after a lost connection or a slow answer.
    """

    def __init__(self, *, look_s: float, grace_s: float) -> None:
        self._look_s = look_s
        self._grace_s = grace_s
        self._seen_held = False
        self._was_disturbed = False
        self._take_at: float | None = None

    def disturbed(self) -> None:
        """Redis was away or slow: what was seen before says nothing any more."""
        self._seen_held = False
        self._was_disturbed = True
        self._take_at = None

    def held(self) -> None:
        """Another worker holds the lease."""
        self._seen_held = True
        self._take_at = None

    def free(self, seen: Free, now: float) -> None:
        """The lease is free."""
        if self._take_at is None:
            self._take_at = now + self._patience_s(seen)

    def may_take(self, now: float) -> bool:
        """Whether it has been free for long enough."""
        return self._take_at is not None and now >= self._take_at

    def _patience_s(self, seen: Free) -> float:
        if seen.is_released or (seen.is_new and not self._was_disturbed):
            return 0.0
        return self._look_s if self._seen_held else self._grace_s

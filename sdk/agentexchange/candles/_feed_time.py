"""Which time a feed lives in: ours, or the past, where a recording plays the platform. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

__all__ = ["FeedTime"]

_PAST_MS: Final = 60_000
"""A first tick older than this on arrival is one of a feed of the past."""
_NOW_MS: Final = 5_000
"""A feed of the past whose tick is not older than this has caught up with us."""


class _Lives(Enum):
    UNKNOWN = auto()
    NOW = auto()
    PAST = auto()


class FeedTime:
    """The first tick decides. A feed of our time stays there: what comes late then is late.

    In the past the time is that of the newest tick, however fast it goes by, until the feed has caught up.
    """

    def __init__(self) -> None:
        self._lives = _Lives.UNKNOWN
        self._newest_ms = 0

    @property
    def is_now(self) -> bool:
        """Whether it is our time, for good."""
        return self._lives is _Lives.NOW

    def see(self, upstream_ms: int | None, received_us: int) -> bool:
        """Look at a tick.

        Returns:
            Whether time has jumped: back to where the feed is, or from there to ours.
        """
        if upstream_ms is None or self.is_now:
            return False
        before, age_ms = self._lives, received_us // 1000 - upstream_ms
        jump_ms, self._newest_ms = upstream_ms - self._newest_ms, max(upstream_ms, self._newest_ms)
        if age_ms <= (_PAST_MS if before is _Lives.UNKNOWN else _NOW_MS):
            self._lives = _Lives.NOW
            return before is _Lives.PAST and jump_ms > _PAST_MS
        self._lives = _Lives.PAST
        return before is _Lives.UNKNOWN

    def at(self, now_us: int) -> int:
        """What ``now_us``, a moment of ours, is in the feed's time."""
        return self._newest_ms * 1000 if self._lives is _Lives.PAST else now_us

"""Times, sizes and states as short texts of steady width. Plain functions; times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from agentexchange_schemas import FeedState

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "NONE",
    "Look",
    "age",
    "clock",
    "count",
    "day_clock",
    "iso",
    "look_of",
    "milliseconds",
    "rate",
    "short_scope",
    "size",
    "span",
    "spark",
]  # fmt: skip

NONE: Final = "–"
_LEVELS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_SCOPE_SHOWN: Final = 10
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


class Look(NamedTuple):
    """How a state is shown: its word, and its tone, which has a colour and a shape."""

    word: str
    tone: str


_LOOKS: Final = {
    FeedState.CONNECTING: Look("Connecting", "idle"),
    FeedState.LIVE: Look("Live", "good"),
    FeedState.STALE: Look("Stale", "warn"),
    FeedState.BLIND: Look("Blind", "bad"),
    FeedState.AUTH_FAILED: Look("Key refused", "bad"),
    FeedState.UNAVAILABLE: Look("Unavailable", "warn"),
    FeedState.NO_BRIDGE: Look("No bridge", "bad"),
}


def look_of(state: FeedState) -> Look:
    """The word and tone of a state."""
    return _LOOKS[state]


def clock(us: int | None) -> str:
    """``14:03:12.345``."""
    return NONE if us is None else _time(us).strftime("%H:%M:%S.%f")[:-3]


def day_clock(us: int | None) -> str:
    """``2026-11-26 14:03:12.345``."""
    return NONE if us is None else _time(us).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def iso(us: int) -> str:
    """``2026-11-26T14:03:12.345678Z``, to the microsecond: what a link carries."""
    return _time(us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def age(seconds: float | None) -> str:
    """How long ago, in steps that do not flicker: ``now`` below a second, then ``7 s``, ``3 min``, ``2 h``, ``5 d``."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return "now"
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def span(us: int) -> str:
    """A length of time: ``340 ms``, ``12.4 s``, ``3 min 5 s``, ``2 h 4 min``."""
    seconds = us / 1e6
    if seconds < 1:
        return f"{us // 1000} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
    if seconds < 2 * _DAY:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"
    return f"{int(seconds // _DAY)} d {int(seconds % _DAY // _HOUR)} h"


def rate(per_s: float) -> str:
    """Events per second: ``4,980``, ``12.3``, ``0``."""
    return f"{per_s:,.0f}" if per_s >= 100 or per_s == 0 else f"{per_s:.1f}"  # noqa: PLR2004 - three digits are enough


def milliseconds(ms: float | None) -> str:
    """``0.4 ms``, ``12 ms``, ``1.3 s``."""
    if ms is None:
        return NONE
    if ms < 10:  # noqa: PLR2004 - two digits are enough
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004


def size(number: int | None) -> str:
    """Bytes: ``812 B``, ``4.2 kB``, ``1.3 GB``."""
    if number is None:
        return NONE
    for unit, length in (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)):
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number} B"


def count(number: int | None) -> str:
    """With thousands: ``1,204,118``."""
    return NONE if number is None else f"{number:,}"


def short_scope(scope: str) -> str:
    """A scope that fits in a column; accounts by their first digits."""
    return scope if len(scope) <= _SCOPE_SHOWN else f"{scope[:_SCOPE_SHOWN]}…"


def spark(prices: Sequence[float]) -> str:
    """A price line of one character per point, ``0`` the lowest to ``z`` the highest: small enough to send often."""
    if not prices:
        return ""
    low, high = min(prices), max(prices)
    top = len(_LEVELS) - 1
    if high <= low:
        return _LEVELS[top // 2] * len(prices)
    span = high - low  # the highest over it is exactly 1
    return "".join(_LEVELS[int((price - low) / span * top)] for price in prices)

"""Which part of the time line one viewer sees: how zooming and travelling change it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agentexchange_bridge.inspector.views import Window

from .format import span

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.views import TimeLine

__all__ = ["MIN_US", "as_asked", "in_sight", "moved", "words", "zoomed"]

MIN_US: Final = 10_000_000
"""The shortest part: a second is then a tenth of the line."""


def as_asked(line: TimeLine, window: Window | None) -> TimeLine:
    """The line with the ends that are asked for, while it is still read: a key pressed again goes on from there."""
    start_us, end_us = (line.first_us, line.last_us) if window is None else window.ends(line.first_us, line.last_us)
    return replace(line, start_us=start_us, end_us=end_us)


def zoomed(line: TimeLine, factor: float, about_us: int) -> Window | None:
    """A part ``factor`` times as close (below 1: as far); None: all there is.

    Args:
        line: what is seen now.
        factor: above 0.
        about_us: the moment that stays where it is; where it is out of sight, the middle does.
    """
    length_us = line.end_us - line.start_us
    if not line.start_us <= about_us <= line.end_us:
        about_us = (line.start_us + line.end_us) // 2
    share = (about_us - line.start_us) / max(1, length_us)
    new_us = max(MIN_US, round(length_us / factor))
    return _window(line, round(about_us - share * new_us), new_us)


def moved(line: TimeLine, by: float) -> Window | None:
    """The part that lies ``by`` times its length later (below 0: earlier)."""
    length_us = line.end_us - line.start_us
    return _window(line, line.start_us + round(by * length_us), length_us)


def in_sight(line: TimeLine, window: Window, at_us: int) -> Window:
    """The part for a viewer who went to a moment: it stands still; around the moment where that was out of sight."""
    if line.start_us <= at_us <= line.end_us:
        return Window(window.length_us, line.start_us)
    return Window(window.length_us, max(line.first_us, at_us - window.length_us // 2))


def words(line: TimeLine) -> str:
    """``2 min 0 s of 1 h 4 min``; ``1 h 4 min`` where all of it is seen."""
    seen_us, all_us = line.end_us - line.start_us, line.last_us - line.first_us
    return span(all_us) if seen_us >= all_us else f"{span(seen_us)} of {span(all_us)}"


def _window(line: TimeLine, start_us: int, length_us: int) -> Window | None:
    """Within what is held; a part that reaches its end moves on with it."""
    if length_us >= line.last_us - line.first_us:
        return None
    if start_us + length_us >= line.last_us:
        return Window(length_us)
    return Window(length_us, max(line.first_us, start_us))

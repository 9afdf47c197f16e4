"""The time line above all panels: what can be travelled to, where the feed was blind, and which moment is shown."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any, Final

from nicegui import ui

from .format import NONE, clock, day_clock, look_of, rate, span
from .parts import icon_button
from .viewer import SPEEDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.inspector.views import Bucket, GapRow, TimeLine

    from .viewer import Viewer

__all__ = ["TimeBar", "drawing"]

_REFRESH_S: Final = 10.0  # while live the line grows
_WIDTH: Final = 1000  # units of the drawing
_HEIGHT: Final = 40
_MARK: Final = 8  # height of the strip that tells a gap when pointed at
_MIN_GAP: Final = 3.0


class TimeBar:
    """Drawing, slider, buttons, and the words that say which moment is shown."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._line: TimeLine | None = None
        self._read_at = float("-inf")
        self._is_dragged = False
        with ui.element("section").classes("ax-time").props('aria-label="Time"'):
            self._say_moment()
            with ui.element("div").classes("ax-track"):
                self._drawing = ui.html("", sanitize=False).classes("ax-drawing")  # our own numbers, names escaped
                self._slider = ui.slider(min=0, max=1000, step=1, value=1000)
                self._slider.props('aria-label="Moment shown" disable').classes("ax-slider")  # until its ends are known
                self._slider.on("pan", self._pan, ["0"], js_handler="(phase) => emit(phase)")
                self._slider.on("change", self._go)
                self._slider.on_value_change(self._preview)
                with ui.element("div").classes("ax-ends-of-line ax-figures"):
                    self._first, self._hint, self._last = (
                        ui.label(NONE),
                        ui.label("").classes("ax-soft"),
                        ui.label(NONE),
                    )
            self._buttons()

    async def refresh(self) -> None:
        """Show the moment; draw the line anew where it has grown."""
        await self._read()
        self._show_moment()

    async def _read(self) -> None:
        is_due = self._line is None or (self._viewer.can_be_live and time.monotonic() - self._read_at > _REFRESH_S)
        if not is_due:
            return
        self._read_at = time.monotonic()
        self._line = line = await self._viewer.inspection.timeline()
        self._drawing.content = drawing(line)
        self._slider.props["max"] = max(1, (line.end_us - line.start_us) // 1000)
        self._slider.props["disable"] = False
        self._first.text, self._last.text = _ends(line)
        peak = max((bucket.events_per_s for bucket in line.buckets), default=0.0)
        self._hint.text = f"up to {rate(peak)} events/s{'' if line.is_exact else ' (estimated)'}"

    def _say_moment(self) -> None:
        with ui.element("div").classes("ax-moment") as self._moment:
            with ui.element("div").classes("ax-moment-words"):
                self._mark = ui.label("").classes("ax-mark").props("role=status")  # not the clock: it would be read out
                self._now = ui.label(NONE).classes("ax-now ax-figures")
            self._back = ui.button("Back to live", icon="sensors", on_click=self._viewer.live)
            self._back.props("unelevated no-caps dense color=primary").classes("ax-back")

    def _buttons(self) -> None:
        with ui.element("div").classes("ax-play").props('role=group aria-label="Travel in time"'):
            icon_button("skip_previous", "One event back (←)", lambda: self._viewer.step(-1))
            self._play = icon_button("pause", "Play or pause (space)", self._viewer.toggle)
            icon_button("skip_next", "One event on (→)", lambda: self._viewer.step(1))
            choice = ui.toggle({speed: f"{speed:g}×" for speed in SPEEDS}, value=SPEEDS[0])
            choice.on_value_change(lambda event: self._viewer.set_speed(event.value))
            choice.props('dense unelevated no-caps aria-label="Speed"').classes("ax-choice")
            self._goto = ui.input(placeholder="Go to: 10m ago, 14:03…").props(
                'dense outlined aria-label="Go to a moment"'
            )
            self._goto.classes("ax-goto").on("keydown.enter", self._go_to_text)

    def _show_moment(self) -> None:
        viewer, feed = self._viewer, self._viewer.feed
        at_us = feed.at_us if feed is not None else None
        is_live = viewer.travel is None
        self._mark.text = "Live" if is_live else "Not live: showing" if viewer.can_be_live else "Recording: showing"
        if not self._is_dragged:
            self._now.text = f"{clock(at_us)[:-4] if is_live else day_clock(at_us)} UTC"
        self._moment.classes(**{"remove" if is_live else "add": "ax-is-past"})
        self._back.set_visibility(not is_live and viewer.can_be_live)
        is_playing = viewer.travel is None or viewer.travel.is_playing
        self._play.props(f"icon={'pause' if is_playing else 'play_arrow'}")
        if self._line is not None and at_us is not None and not self._is_dragged:
            end_us = self._line.end_us
            self._slider.props["aria-valuetext"] = self._now.text  # of itself it would read out milliseconds
            self._slider.value = max(0, (end_us if is_live else min(at_us, end_us)) - self._line.start_us) // 1000

    def _preview(self, event: Any) -> None:
        """While it is dragged: the moment that it would go to."""
        if self._is_dragged and self._line is not None:
            self._now.text = f"{day_clock(self._line.start_us + int(event.value or 0) * 1000)} UTC"

    def _pan(self, event: Any) -> None:
        self._is_dragged = event.args == "start"

    async def _go(self, event: Any) -> None:
        self._is_dragged = False
        if self._line is not None and isinstance(event.args, int | float):
            await self._viewer.go(self._line.start_us + int(event.args) * 1000)
            self._show_moment()

    async def _go_to_text(self) -> None:
        try:
            await self._viewer.go_to_text(str(self._goto.value or ""))
        except ValueError as exc:
            self._goto.props["error"], self._goto.props["error-message"] = True, str(exc)
            ui.notify(str(exc), type="warning")
            return
        self._goto.value = ""
        self._goto.props["error"] = False
        self._show_moment()


def _ends(line: TimeLine) -> tuple[str, str]:
    """First and last moment; with days only where they differ, so that both fit on a phone."""
    first, last = day_clock(line.start_us)[:-4], day_clock(line.end_us)[:-4]
    is_one_day = first[:10] == last[:10]
    return (first[11:], last[11:]) if is_one_day else (first[5:-3], last[5:-3])


def drawing(line: TimeLine) -> str:
    """The rates as an area and the gaps as shades, as SVG without any colour of its own."""
    length_us = max(1, line.end_us - line.start_us)
    shades = "".join(_gap(gap, line, length_us) for gap in line.gaps)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _MARK}" preserveAspectRatio="none" role="img" '
        f'aria-label="Events over time, {len(line.gaps)} spans with something missing">'
        f'<path class="ax-area" d="{_area(line.buckets, line, length_us)}"/>{shades}</svg>'
    )


def _area(buckets: Sequence[Bucket], line: TimeLine, length_us: int) -> str:
    """Steps: each bucket as wide as it is long."""
    peak = max((bucket.events_per_s for bucket in buckets), default=0.0) or 1.0
    ends = [bucket.start_us for bucket in buckets[1:]] + [line.end_us]
    path = [f"M0 {_HEIGHT}"]
    for bucket, end_us in zip(buckets, ends, strict=False):
        y = _HEIGHT - (_HEIGHT - 2) * bucket.events_per_s / peak
        left, right = (_x(us, line, length_us) for us in (bucket.start_us, end_us))
        path.append(f"L{left:.1f} {y:.1f}L{right:.1f} {y:.1f}")
    return "".join([*path, f"L{_WIDTH} {_HEIGHT}Z"])


def _x(us: int, line: TimeLine, length_us: int) -> float:
    return min(1.0, max(0.0, (us - line.start_us) / length_us)) * _WIDTH


def _gap(gap: GapRow, line: TimeLine, length_us: int) -> str:
    left = _x(gap.since_us, line, length_us)
    width = max(_MIN_GAP, _x(gap.until_us or line.end_us, line, length_us) - left)
    lasted = "still lasts" if gap.until_us is None else span(gap.until_us - gap.since_us)
    words = (
        f"{look_of(gap.state).word} since {clock(gap.since_us)}, {lasted}: {gap.topic or gap.scope}, {gap.cause or ''}"
    )
    place = f'x="{left:.1f}" width="{width:.1f}"'
    return (
        f'<g class="ax-gap"><title>{escape(words)}</title><rect {place} y="0" height="{_HEIGHT}"/>'
        f'<rect class="ax-gap-mark" {place} y="{_HEIGHT}" height="{_MARK}"/></g>'
    )

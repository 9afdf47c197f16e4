"""The time line above all panels: what can be travelled to, where the feed was blind, and which moment is shown."""

from __future__ import annotations

import asyncio
import time
from html import escape
from typing import TYPE_CHECKING, Any, Final

from nicegui import ui

from agentexchange_bridge.inspector.views import Window

from .detail import show_event
from .format import NONE, clock, day_clock, look_of, rate, span
from .parts import icon_button
from .viewer import SPEEDS
from .zoom import as_asked, in_sight, moved, words, zoomed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.inspector.views import Bucket, GapRow, TimeLine

    from .viewer import Viewer

__all__ = ["STEP", "TimeBar", "drawing"]

_REFRESH_S: Final = 5.0  # where the line grows
STEP: Final = 2.0  # of a button's zoom
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
        self._window_read: Window | None = None
        self._jumps_seen = 0
        self._reading = asyncio.Lock()
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
                    self._first = ui.label(NONE)
                    self._hint = ui.label("").classes("ax-soft ax-peak")
                    self._zoom_buttons()
                    self._last = ui.label(NONE)
            self._buttons()

    async def refresh(self) -> bool:
        """Show the moment; draw the line anew where it has grown. Whether more is held of a recording than before."""
        self._keep_in_sight()
        grew = await self._read()
        self._show_moment()
        return grew

    async def zoom(self, factor: float, about: float | None = None, along: float = 0.0) -> None:
        """Zoom: ``factor`` times as close, about a share of the width (None: the moment shown), or go along it."""
        feed = self._viewer.feed
        if self._line is None or feed is None:
            return
        line = as_asked(self._line, self._viewer.window)
        if about is None:
            at_us = min(feed.at_us, line.last_us)  # what is live is ahead of the line
        else:
            at_us = line.start_us + round(about * (line.end_us - line.start_us))
        self._viewer.window = moved(line, along) if along else zoomed(line, factor, at_us)
        await self._zoomed()

    async def zoom_out(self) -> None:
        """See all of it."""
        self._viewer.window = None
        await self._zoomed()

    async def _zoomed(self) -> None:
        await self._read()
        self._show_moment()
        if self._line is not None:
            self._zoom_told.text = f"The time line shows {words(self._line)}"

    def _keep_in_sight(self) -> None:
        """Whoever travels sees the moment on the line; whoever is live, its end."""
        viewer, line = self._viewer, self._line
        has_jumped = viewer.jumps != self._jumps_seen
        self._jumps_seen = viewer.jumps
        if viewer.window is None or line is None:
            return
        if viewer.travel is None:
            viewer.window = Window(viewer.window.length_us) if has_jumped else viewer.window
        elif has_jumped or viewer.travel.is_playing:
            viewer.window = in_sight(line, viewer.window, viewer.travel.at_us)

    async def _read(self) -> bool:
        async with self._reading:
            viewer, line = self._viewer, self._line
            is_due = viewer.inspection.grows and time.monotonic() - self._read_at > _REFRESH_S
            if line is not None and viewer.window == self._window_read and not is_due:
                return False
            self._read_at, self._window_read = time.monotonic(), viewer.window
            self._line = await viewer.inspection.timeline(window=viewer.window)
            self._draw(self._line)
            return line is not None and not viewer.can_be_live and self._line.last_us > line.last_us

    def _draw(self, line: TimeLine) -> None:
        self._drawing.content = drawing(line)
        self._slider.props["max"] = max(1, (line.end_us - line.start_us) // 1000)
        self._slider.props["disable"] = False
        self._first.text, self._last.text = _ends(line)
        peak = max((bucket.events_per_s for bucket in line.buckets), default=0.0)
        self._hint.text = f"up to {rate(peak)} events/s{'' if line.is_exact else ' (estimated)'}"
        self._zoom_words.text = words(line)
        self._all.set_visibility(self._viewer.window is not None)

    def _zoom_buttons(self) -> None:
        with ui.element("div").classes("ax-zoom").props('role=group aria-label="Zoom of the time line"'):
            icon_button("remove", "See more of the time line (-)", lambda: self.zoom(1 / STEP))
            self._zoom_words = ui.label("")
            icon_button("add", "See less of the time line, closer (+)", lambda: self.zoom(STEP))
            self._all = icon_button("zoom_out_map", "See all of the time line (0)", self.zoom_out)
            self._all.set_visibility(False)
            self._zoom_told = ui.label("").classes("ax-unseen").props("role=status")

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
            with self._goto.classes("ax-goto").on("keydown.enter", self._go_to_text):
                ui.tooltip("A time, 10m ago, a log id, or an event: ticker:BTCUSDT@123").props("delay=400")

    def _show_moment(self) -> None:
        viewer, feed = self._viewer, self._viewer.feed
        at_us = feed.at_us if feed is not None else None
        is_live = viewer.travel is None
        self._mark.text = _mark(viewer)
        if not self._is_dragged:
            self._now.text = f"{clock(at_us)[:-4] if is_live else day_clock(at_us)} UTC"
        self._moment.classes(**{"remove" if is_live else "add": "ax-is-past"})
        self._back.set_visibility(not is_live and viewer.can_be_live)
        is_playing = viewer.travel is None or viewer.travel.is_playing
        self._play.props(f"icon={'pause' if is_playing else 'play_arrow'}")
        if self._line is not None and at_us is not None and not self._is_dragged:
            self._show_on_line(self._line, self._line.last_us if is_live else at_us)

    def _show_on_line(self, line: TimeLine, at_us: int) -> None:
        shown_us = min(max(at_us, line.start_us), line.end_us)
        self._slider.props["aria-valuetext"] = self._now.text  # of itself it would read out milliseconds
        self._slider.value = (shown_us - line.start_us) // 1000
        is_out = shown_us != min(max(at_us, line.first_us), line.last_us)
        self._slider.classes(**{"add" if is_out else "remove": "ax-out-of-sight"})

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
            found = await self._viewer.go_to_text(str(self._goto.value or ""))
        except ValueError as exc:
            self._goto.props["error"], self._goto.props["error-message"] = True, str(exc)
            ui.notify(str(exc), type="warning")
            return
        self._goto.value = ""
        self._goto.props["error"] = False
        await self.refresh()
        if found is not None:
            await show_event(self._viewer, found)


def _mark(viewer: Viewer) -> str:
    if viewer.travel is None:
        return "Live"
    if viewer.can_be_live:
        return "Not live: showing"
    return "Still recorded: showing" if viewer.inspection.grows else "Recording: showing"


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

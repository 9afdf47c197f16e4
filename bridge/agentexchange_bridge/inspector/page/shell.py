"""The page around the panels: head, rail, time line, keys, theme; and the one timer that keeps it all up to date."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from nicegui import ui

from agentexchange import AgentExchangeError

from .account import AccountPanel
from .detail import show_event
from .events import EventsPanel
from .gaps import GapsPanel
from .help import show_help
from .letters import LettersPanel
from .market import MarketPanel
from .overview import OverviewPanel, feed_look
from .parts import icon_button
from .timebar import STEP, TimeBar
from .viewer import PANELS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange_bridge.inspector.views import Overview

    from .panel import Panel
    from .viewer import Viewer

__all__ = ["TICK_S", "Shell"]

TICK_S: Final = 0.5
_FEED_S: Final = 2.0
_BROWSER_S: Final = 10.0  # for the browser to work off what it was sent
_TEN_SECONDS_US: Final = 10_000_000
_SCRIPTS: Final = "".join((files(__package__) / name).read_text(encoding="utf-8") for name in ("shell.js", "zoom.js"))

_MAKERS: Final[dict[str, tuple[str, str, str, Callable[[Viewer], Panel]]]] = {
    "overview": ("Overview", "dashboard", "o", OverviewPanel),
    "market": ("Market", "candlestick_chart", "m", MarketPanel),
    "account": ("Account", "account_balance_wallet", "a", AccountPanel),
    "events": ("Events", "list_alt", "e", EventsPanel),
    "gaps": ("Gaps", "broken_image", "b", GapsPanel),
    "letters": ("Dead letters", "unsubscribe", "d", LettersPanel),
}
_THEMES: Final[tuple[tuple[bool | None, str, str], ...]] = (
    (None, "brightness_auto", "auto"), (True, "dark_mode", "dark"), (False, "light_mode", "light")
)  # fmt: skip


class Shell:
    """One viewer's page."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._client = ui.context.client
        self._panel: Panel
        self._due_at = 0.0
        self._feed_due_at = 0.0
        self._jumps_shown = -1
        self._link_shown = ""
        self._is_started = False
        self._awaits_letter = False
        self._showing = asyncio.Lock()
        ui.colors(primary="#1f5fd0", negative="#c0362c", warning="#8f5b00")
        self._dark = ui.dark_mode(None)
        self._head()
        self._rail_buttons = self._rail()
        with ui.element("div").classes("ax-main"):
            self._bar = TimeBar(viewer)
            self._problem = ui.label("").classes("ax-away").props("role=alert")
            self._problem.set_visibility(False)
            self._room = ui.element("section").classes("ax-panel")
        self._open(viewer.panel)
        ui.on("ax_browser", self._told)
        ui.on("ax_key", self._key)
        ui.on("ax_zoom", self._zoom)
        viewer.on_jump = self._show
        self._client.on_connect(lambda: self._client.run_javascript(_SCRIPTS))
        ui.timer(TICK_S, self._tick)

    def _head(self) -> None:
        with ui.element("header").classes("ax-head"):
            ui.icon("insights").classes("ax-logo").props("aria-hidden=true")
            with ui.element("h1").classes("ax-name"):
                ui.label("AgentExchange inspector")
            self._feed = ui.label("").classes("ax-feed").props("role=status")
            self._source = ui.label("").classes("ax-source ax-soft")
            icon_button("link", "Copy a link to what is shown (c)", self._copy_link, classes="ax-push")
            self._theme = icon_button("brightness_auto", "Theme: as the system, dark or light", self._next_theme)
            icon_button("keyboard", "Keys (?)", show_help)

    def _rail(self) -> dict[str, ui.button]:
        buttons = {}
        with ui.element("nav").classes("ax-rail").props('aria-label="Panels"'):
            for number, (name, (title, icon, letter, _)) in enumerate(_MAKERS.items(), 1):
                button = ui.button(on_click=lambda name=name: self._open(name), color=None).props("flat no-caps stack")
                with button.classes("ax-rail-button"):
                    ui.icon(icon).props("aria-hidden=true")
                    ui.label(title)
                    ui.tooltip(f"{title} ({number}, or g {letter})").props(
                        "delay=600 anchor='center right' self='center left'"
                    )
                buttons[name] = button
        return buttons

    def _open(self, name: str) -> None:
        self._viewer.panel = name
        self._room.clear()
        title, _, _, make = _MAKERS[name]
        with self._room:
            self._panel = make(self._viewer)
        self._room.props["aria-label"] = title
        for each, button in self._rail_buttons.items():
            button.classes(**{"add" if each == name else "remove": "ax-is-open"})
            button.props["aria-current"] = "page" if each == name else "false"
        self._jumps_shown = -1

    async def _tick(self) -> None:
        """Send what changed; then wait for the browser to have worked it off: a slow one gets less, not later."""
        if self._viewer.browser.is_hidden:
            return
        if not self._is_started:
            await self._start()
        await self._show()
        with suppress(TimeoutError):  # it sleeps, or is gone: the next tick waits for it again
            await self._client.run_javascript("1", timeout=_BROWSER_S)

    async def _start(self) -> None:
        self._is_started = True
        try:
            found = await self._viewer.start()
        except ValueError as exc:
            ui.notify(f"The link's moment cannot be shown: {exc}", type="warning")
        else:
            if found is not None:
                await show_event(self._viewer, found)

    async def _show(self) -> None:
        """All that changed; where Redis is away, that, and again with the next tick."""
        async with self._showing:
            try:
                await self._show_changes()
            except AgentExchangeError as exc:
                self._jumps_shown = -1
                self._say(str(exc))
            else:
                self._say("")

    def _tell_feed(self, seen: Overview) -> None:
        look = feed_look(seen.scopes)
        self._source.text, self._feed.text = seen.source, look.word
        self._feed.classes(replace=f"ax-feed ax-state ax-{look.tone}")

    def _say(self, problem: str) -> None:
        self._problem.text = problem
        self._problem.set_visibility(bool(problem))

    async def _show_changes(self) -> None:
        viewer = self._viewer
        anew = viewer.jumps != self._jumps_shown
        self._jumps_shown = viewer.jumps
        if viewer.feed is not None and (anew or time.monotonic() >= self._feed_due_at):
            self._feed_due_at = time.monotonic() + _FEED_S
            self._tell_feed(viewer.feed.overview())
        if grew := await self._bar.refresh():
            await viewer.look_again()
        if anew or grew or (viewer.is_moving and time.monotonic() >= self._due_at):
            self._due_at = time.monotonic() + self._panel.PERIOD_S - TICK_S / 2
            with self._room:
                await self._panel.refresh(anew=anew)
        self._show_link()

    def _show_link(self) -> None:
        """The address names what is shown, once it stands still: reloading, or sending it, leads to the same."""
        link = self._viewer.link()
        if link != self._link_shown and (self._viewer.travel is None or not self._viewer.travel.is_playing):
            self._link_shown = link
            ui.navigate.history.replace(link)

    def _told(self, event: Any) -> None:
        told = event.args if isinstance(event.args, dict) else {}
        was_dark, was_hidden = self._viewer.browser.is_dark, self._viewer.browser.is_hidden
        self._viewer.browser.take(told)
        for value, icon, name in _THEMES:
            if told.get("theme") == name:
                self._dark.value = value
                self._theme.props(f"icon={icon}")
        if (was_dark, was_hidden) != (self._viewer.browser.is_dark, self._viewer.browser.is_hidden):
            self._jumps_shown = -1

    def _next_theme(self) -> None:
        values = [value for value, _, _ in _THEMES]
        value, icon, name = _THEMES[(values.index(self._dark.value) + 1) % len(_THEMES)]
        self._dark.value = value
        self._theme.props(f"icon={icon}")
        ui.notify(f"Theme: {'as the system' if value is None else name}", timeout=1200)
        self._client.run_javascript(f"localStorage.setItem('ax-theme', '{name}')")

    def _copy_link(self) -> None:
        self._client.run_javascript(f"navigator.clipboard.writeText(location.origin + {self._viewer.link()!r})")
        ui.notify("Link copied", timeout=1200)

    async def _key(self, event: Any) -> None:
        told = event.args if isinstance(event.args, dict) else {}
        key, is_shifted = str(told.get("key", "")), told.get("shift") is True
        if self._awaits_letter or key == "g":
            self._letter(key)
        elif key.isdigit() and 1 <= int(key) <= len(PANELS):
            self._open(PANELS[int(key) - 1])
        elif act := self._acts(is_shifted=is_shifted).get(key):
            result = act()
            if result is not None:
                await result

    async def _zoom(self, event: Any) -> None:
        told = event.args if isinstance(event.args, dict) else {}
        numbers = [float(told.get(name, 0)) for name in ("closer", "about", "along")]
        if numbers[0] > 0 and all(map(isfinite, numbers)):
            await self._bar.zoom(*numbers)

    def _letter(self, key: str) -> None:
        self._awaits_letter = key == "g" and not self._awaits_letter
        for name, (_, _, letter, _) in _MAKERS.items():
            if key == letter:
                self._open(name)

    def _acts(self, *, is_shifted: bool) -> dict[str, Callable[[], Awaitable[None] | None]]:
        viewer = self._viewer
        return {
            " ": viewer.toggle,
            "ArrowLeft": (lambda: viewer.move(-_TEN_SECONDS_US)) if is_shifted else (lambda: viewer.step(-1)),
            "ArrowRight": (lambda: viewer.move(_TEN_SECONDS_US)) if is_shifted else (lambda: viewer.step(1)),
            "Home": lambda: viewer.go(0),
            "End": viewer.end,
            "l": viewer.end,
            "+": lambda: self._bar.zoom(STEP),
            "=": lambda: self._bar.zoom(STEP),
            "-": lambda: self._bar.zoom(1 / STEP),
            "0": self._bar.zoom_out,
            "c": self._copy_link,
            "?": show_help,
        }

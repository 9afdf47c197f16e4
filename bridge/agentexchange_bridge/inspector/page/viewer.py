"""What one viewer looks at: which moment, which panel, which symbol; and what the browser is like."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from agentexchange.recording import moment_of
from agentexchange.replay import EventName

from .format import iso

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agentexchange_bridge.inspector.feed import Feed, Inspection, Travel
    from agentexchange_bridge.inspector.views import EventKey, Window

__all__ = ["PANELS", "SPEEDS", "Browser", "Viewer"]

PANELS: Final = ("overview", "market", "account", "events", "gaps", "letters")
SPEEDS: Final = (1.0, 10.0, 100.0)
_MAX_TEXT: Final = 200
_MAX_AT_ONCE: Final = 200  # events of one moment among which the one that was named is looked for
_time_of_day = re.compile(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?", re.ASCII).fullmatch


@dataclass(slots=True)
class Browser:
    """How the page is seen."""

    is_dark: bool = False
    is_narrow: bool = False
    is_hidden: bool = False

    def take(self, told: Mapping[str, Any]) -> None:
        """What the page says of itself."""
        self.is_dark = told.get("dark") is True
        self.is_narrow = told.get("narrow") is True
        self.is_hidden = told.get("hidden") is True


class Viewer:
    """One page in one browser.

    Attributes:
        inspection: what all viewers share.
        panel: the one that is open.
        symbol: chosen in the market; empty for the first.
        account: the scope that is chosen; empty for the first.
        filter_text: of the events.
        kinds: of events that are chosen; empty for all.
        window: the part of the time line that is seen; None for all of it.
        jumps: counts changes of what is shown other than time that passes: panels then show all anew.
        on_jump: called after each of them.
    """

    def __init__(self, inspection: Inspection, *, panel: str = "", moment: str = "", symbol: str = "") -> None:
        self.inspection = inspection
        self.browser = Browser()
        self.panel = panel if panel in PANELS else PANELS[0]
        self.symbol = symbol[:_MAX_TEXT]
        self.account = ""
        self.filter_text = ""
        self.kinds: tuple[str, ...] = ()
        self.window: Window | None = None
        self.jumps = 0
        self.speed = SPEEDS[0]
        self._asked = moment[:_MAX_TEXT]
        self._travel: Travel | None = None
        self._lock = asyncio.Lock()  # a key held down must not open two journeys
        self._is_closed = False
        self.on_jump: Callable[[], Awaitable[None]] | None = None

    @property
    def travel(self) -> Travel | None:
        """The journey; None while live."""
        return self._travel

    @property
    def feed(self) -> Feed | None:
        """What the panels show; None before `start`."""
        return self._travel or self.inspection.live

    @property
    def is_moving(self) -> bool:
        """Whether what is shown changes by itself."""
        return self._travel is None or self._travel.is_playing

    @property
    def can_be_live(self) -> bool:
        """False for a recording."""
        return self.inspection.live is not None

    async def look_again(self) -> None:
        """See what a recording holds by now; the moment stays."""
        async with self._lock:
            if self._travel is not None:
                await self._travel.refresh()

    async def start(self) -> EventKey | None:
        """Go to the moment of the link, or to the end of a recording; the event that the link names, if it does.

        Raises:
            ValueError: the link's moment cannot be read; what is shown is live, or the end.
        """
        asked, self._asked = self._asked, ""
        try:
            return await self.go_to_text(asked) if asked else None
        finally:
            if self.feed is None:
                await self._jump(None)

    async def go(self, at_us: int) -> None:
        """Show that moment."""
        await self._jump(at_us)

    async def go_to_text(self, text: str) -> EventKey | None:
        """Show the moment that somebody wrote: "10m ago", a time (alone: of the day shown), a log id, an event.

        Returns:
            The event, where one was named as ``ticker:BTCUSDT@123``.

        Raises:
            ValueError: it is none, and how to write one; or an event that is not held.
        """
        now_us = await self._now_us()
        shown_us = now_us if self.feed is None else self.feed.at_us
        is_of_day = _time_of_day(text.strip()) is not None
        meant = moment_of(f"{iso(shown_us)[:11]}{text.strip()}" if is_of_day else text, now_us=now_us)
        if isinstance(meant, EventName):
            return await self._go_to_event(meant)
        await self._jump(meant)
        return None

    async def _go_to_event(self, name: EventName) -> EventKey | None:
        at_us = await self.inspection.locate(name)
        if at_us is None:
            raise ValueError(f"{name} is not held here: there was no such event, or its log has been trimmed since")
        await self._jump(at_us)
        if self.feed is None:
            return None
        keys = [row.key for row in await self.feed.events(filter_text=name.topic, limit=_MAX_AT_ONCE)]
        return next((key for key in keys if (key.topic, key.seq, key.received_us) == (*name, at_us)), None)

    async def live(self) -> None:
        """Back to now."""
        async with self._lock:
            if self.can_be_live and self._travel is not None:
                travel, self._travel = self._travel, None
                await travel.close()
                await self._jumped()

    async def end(self) -> None:
        """Back to now; of a recording, the last moment."""
        if self.can_be_live:
            await self.live()
        else:
            await self.go((await self.inspection.timeline()).end_us)

    async def step(self, count: int) -> None:
        """So many events on, or back; out of live, from now."""
        await self._with_travel(lambda travel: travel.step(count))

    async def move(self, by_us: int) -> None:
        """So much time on, or back."""
        await self._with_travel(lambda travel: travel.go(travel.at_us + by_us))

    async def toggle(self) -> None:
        """Play or stand still; out of live: stand still."""
        travel = self._travel
        if travel is None:
            await self._jump(self.feed.at_us if self.feed else None)
        elif travel.is_playing:
            travel.pause()
        else:
            travel.play(self.speed)

    def set_speed(self, speed: float) -> None:
        """How fast it plays, or will play."""
        self.speed = speed
        if self._travel is not None and self._travel.is_playing:
            self._travel.play(speed)

    async def close(self) -> None:
        """The page is gone. Idempotent."""
        self._is_closed = True
        async with self._lock:
            travel, self._travel = self._travel, None
            if travel is not None:
                await travel.close()

    def link(self) -> str:
        """The address of what is shown, for a colleague."""
        parts = {"panel": self.panel}
        if self.symbol and self.panel == "market":
            parts["symbol"] = self.symbol
        if self._travel is not None:
            parts["t"] = iso(self._travel.at_us)
        return f"/?{urlencode(parts)}"

    async def _now_us(self) -> int:
        """What "10m ago" counts from: of a recording, its end."""
        return time.time_ns() // 1000 if self.can_be_live else (await self.inspection.timeline()).end_us

    async def _jump(self, at_us: int | None) -> None:
        async with self._lock:
            if self._is_closed:
                return
            if self._travel is None:
                self._travel = await self.inspection.travel(at_us)
            elif at_us is not None:
                await self._travel.go(at_us)
            await self._jumped()

    async def _with_travel(self, act: Callable[[Travel], Awaitable[None]]) -> None:
        if self._travel is None:
            await self._jump(self.feed.at_us if self.feed else None)
        async with self._lock:
            if self._travel is not None:
                self._travel.pause()
                await act(self._travel)
                await self._jumped()

    async def _jumped(self) -> None:
        self.jumps += 1
        if self.on_jump is not None:
            await self.on_jump()

"""The freshness of a feed that comes straight from the platform."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentexchange_schemas import ALL, Kind
from agentexchange_schemas.events import event_time_ms

from ._tasks import next_turn
from .freshness import LOOK_S, FeedWatch, LeastDelay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentexchange_schemas import Envelope, FeedStatus, Topic

    from ._transport import EventTaker
    from .upstream import FeedOptions

__all__ = ["DirectFreshness"]

_SAMPLED: Final = 8  # ticks of a look whose time stamps are read
_TICKER: Final = f"{Kind.TICKER}:"
_Parts: TypeAlias = "tuple[float, dict[str, Any], Envelope | None]"


class DirectFreshness:
    """Stands between what the feed says of itself and the status handlers, and adds what its ticks show.

    Args:
        dispatcher: has the arrivals, and is told.
        options: the feed's clocks.
        wanted: topics whose ticks, or whose candles' ticks, are watched; looked through again and again.
    """

    def __init__(self, dispatcher: EventTaker, options: FeedOptions, wanted: Iterable[Topic]) -> None:
        self._arrivals = dispatcher.arrivals
        self._tell: Callable[[FeedStatus], None] = dispatcher.status
        self._options = options
        self._wanted = wanted
        self._watch = FeedWatch()
        self._delay = LeastDelay()
        self._looked_at = 0.0

    @property
    def upstream_delay_s(self) -> float | None:
        """See `Freshness`."""
        return self._delay.least_s

    def on_status(self, status: FeedStatus) -> None:
        """The feed says so: hand it on, unless its ticks have told it already."""
        if self._watch.said(status, self._options.clock()):
            self._tell(status)

    def forget(self, topic: Topic) -> None:
        """What was said of a topic that nobody wants any more does not count when it is wanted again."""
        self._watch.forget(str(topic))

    async def run(self) -> None:
        """Look on until cancelled."""
        while True:
            await next_turn(self._options.sleep, LOOK_S)
            self.look()

    def look(self) -> None:
        """Tell of ticks that stay away, and that come again."""
        ticks = self._ticks()
        for status in self._watch.look(ticks, clock=self._options.clock(), now=datetime.now(UTC)):
            self._tell(status)
        self._measure(ticks)

    def _ticks(self) -> dict[str, _Parts]:
        """The newest tick of each watched pair. Others may come, too: where a session has every pair."""
        symbols = {topic.symbol for topic in self._wanted}
        is_all = ALL in symbols
        return {
            topic: arrival
            for topic, arrival in self._arrivals.items()
            if topic.startswith(_TICKER) and (is_all or topic[len(_TICKER) :] in symbols)
        }

    def _measure(self, ticks: dict[str, _Parts]) -> None:
        """Compare the time stamps of some new ticks with when they came."""
        clock, wall = time.monotonic(), self._options.wall()
        looked_at, self._looked_at = self._looked_at, clock
        new = ((at, fields) for at, fields, _ in ticks.values() if at > looked_at)
        for at, fields in islice(new, _SAMPLED):
            upstream_ms = event_time_ms(fields)
            if upstream_ms is not None:
                self._delay.add(wall - (clock - at) - upstream_ms / 1000, clock)

"""Candles of the topics that are looked at."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from agentexchange_bridge.inspector.views import Bar
from agentexchange_schemas.events import event_time_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_BARS", "Chart", "Charts", "bar_of"]

MAX_BARS: Final = 500
_MOST: Final = 64  # charts


class Chart:
    """The newest candles of one topic, each span once; a closed one is not taken for a forming one again."""

    def __init__(self) -> None:
        self._bars: dict[int, Bar] = {}

    def take(self, bars: Iterable[Bar]) -> None:
        """Candles came, in any order."""
        for bar in bars:
            known = self._bars.get(bar.open_time_ms)
            if known is None or bar.is_closed or not known.is_closed:
                self._bars[bar.open_time_ms] = bar
        if len(self._bars) > MAX_BARS:
            for time in sorted(self._bars)[:-MAX_BARS]:
                del self._bars[time]

    def newest(self, limit: int) -> list[Bar]:
        """The oldest first."""
        return [self._bars[time] for time in sorted(self._bars)[-limit:]] if limit > 0 else []


class Charts:
    """The charts that were asked for last."""

    def __init__(self) -> None:
        self._charts: OrderedDict[str, Chart] = OrderedDict()

    def of(self, topic: str) -> Chart | None:
        """A topic's chart; None where nobody has asked for it lately."""
        chart = self._charts.get(topic)
        if chart is not None:
            self._charts.move_to_end(topic)
        return chart

    def open(self, topic: str) -> Chart:
        """Begin one; the one that was asked for longest ago may go."""
        chart = self._charts[topic] = Chart()
        if len(self._charts) > _MOST:
            self._charts.popitem(last=False)
        return chart

    def drop(self, topic: str) -> None:
        """Forget one: it could not be filled."""
        self._charts.pop(topic, None)

    def topics(self) -> set[str]:
        """Of which there are charts."""
        return set(self._charts)

    def take(self, topic: str, data: dict[str, Any]) -> None:
        """A candle came: a dict look-up where nobody looks at its topic."""
        chart = self._charts.get(topic)
        bar = None if chart is None else bar_of(data)
        if chart is not None and bar is not None:
            chart.take([bar])

    def clear(self) -> None:
        """Candles may have been missed: charts are to be filled anew."""
        self._charts.clear()


def bar_of(data: dict[str, Any]) -> Bar | None:
    """A candle's fields as numbers; None where they are none, or it does not say when it began."""
    try:
        first, high, low, last = (float(data[name]) for name in ("open", "high", "low", "close"))
        volume = float(data.get("volume") or 0)
        opened = event_time_ms({"open_time": data.get("open_time")})
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if opened is None or not all(map(math.isfinite, (first, high, low, last, volume))):
        return None
    return Bar(opened, first, high, low, last, volume, is_closed=data.get("is_closed") is True)

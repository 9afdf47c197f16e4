"""Candles of the topics that are looked at."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange.candles import INTERVAL_MS
from agentexchange_bridge.inspector.views import Bar
from agentexchange_schemas.events import event_time_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import Envelope

__all__ = ["MAX_BARS", "Chart", "Charts", "Tick", "bar_of", "tick_of"]

MAX_BARS: Final = 500
_MOST: Final = 64  # charts
_MAX_EARLY: Final = 10_000  # ticks


class Tick(NamedTuple):
    """One tick for charts; the time is upstream's in ms, where it names one."""

    time_ms: int
    price: float
    quantity: float


class Chart:
    """The newest candles of one topic, each span once.

    What comes as a candle counts. Spans without one are made of ticks, if all ticks of the span were seen: pairs have
    candles only where somebody wants them. Ticks that come before `fill` wait for it.
    """

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._bars: dict[int, Bar] = {}
        self._seen_from_ms = 0
        self._early: list[Tick] | None = []

    def fill(self, ticks: Iterable[Tick], seen_from_ms: int) -> None:
        """Ticks of the past, the oldest first; from that moment on they are all there are."""
        early, self._early = self._early or [], None
        self._seen_from_ms = seen_from_ms
        for tick in (*ticks, *early):
            self.tick(tick)

    def tick(self, tick: Tick) -> None:
        """A tick came."""
        if self._early is not None:
            if len(self._early) < _MAX_EARLY:
                self._early.append(tick)
            return
        start_ms = tick.time_ms - tick.time_ms % self._interval_ms
        bar = self._bars.get(start_ms)
        if bar is not None and not bar.is_closed:
            self._bars[start_ms] = _with(bar, tick)
        elif bar is None and start_ms >= self._seen_from_ms:
            self._end_before(start_ms)
            price = tick.price
            self.take([Bar(start_ms, price, price, price, price, tick.quantity, is_closed=False)])

    def take(self, bars: Iterable[Bar]) -> None:
        """Candles came, in any order; a closed one is not taken for a forming one again."""
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

    def _end_before(self, start_ms: int) -> None:
        bar = self._bars.get(start_ms - self._interval_ms)
        if bar is not None and not bar.is_closed:
            self._bars[bar.open_time_ms] = replace(bar, is_closed=True)


class Charts:
    """The charts that were asked for last.

    Attributes:
        by_ticker: charts of a symbol, by the topic of its ticks.
    """

    def __init__(self) -> None:
        self._charts: OrderedDict[str, Chart] = OrderedDict()
        self.by_ticker: dict[str, list[Chart]] = {}

    def of(self, topic: str) -> Chart | None:
        """A topic's chart; None where nobody has asked for it lately."""
        chart = self._charts.get(topic)
        if chart is not None:
            self._charts.move_to_end(topic)
        return chart

    def open(self, topic: str) -> Chart:
        """Begin one; the one that was asked for longest ago may go."""
        chart = self._charts[topic] = Chart(INTERVAL_MS[topic.rpartition(":")[2]])
        if len(self._charts) > _MOST:
            self._charts.popitem(last=False)
        self._sort()
        return chart

    def drop(self, topic: str) -> None:
        """Forget one: it could not be filled."""
        self._charts.pop(topic, None)
        self._sort()

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
        self._sort()

    def _sort(self) -> None:
        self.by_ticker = {}
        for topic, chart in self._charts.items():
            self.by_ticker.setdefault(f"ticker:{topic.split(':')[1]}", []).append(chart)


def tick_of(envelope: Envelope) -> Tick | None:
    """A tick's numbers; None where its price is none."""
    data = envelope.data
    try:
        price, quantity = float(data["price"]), float(data.get("quantity") or 0)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not (math.isfinite(price) and math.isfinite(quantity)):
        return None
    time_ms = envelope.received_us // 1_000 if envelope.upstream_ms is None else envelope.upstream_ms
    return Tick(time_ms, price, quantity)


def _with(bar: Bar, tick: Tick) -> Bar:
    high, low = max(bar.high, tick.price), min(bar.low, tick.price)
    return replace(bar, high=high, low=low, close=tick.price, volume=bar.volume + tick.quantity)


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

"""Candles of one symbol with their volume, drawn by the chart library that NiceGUI brings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from nicegui import ui

from agentexchange_schemas import INTERVALS

from .format import clock, day_clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.inspector.views import Bar

    from .viewer import Viewer

__all__ = ["CandleChart", "chart_options"]

_BARS: Final = 120
_UP: Final = "#1a9a68"
_DOWN: Final = "#d9534a"
_VOLUME: Final = "#7b93bd"
_PERIOD_S: Final = 1.0
_LIGHT: Final = {"text": "#55617a", "line": "#e3e8f0"}
_DARK: Final = {"text": "#9aa7bb", "line": "#2b3544"}


class CandleChart:
    """The chart with its heading and the choice of an interval; shows ``viewer.symbol``."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._interval = "1m"
        self._shown: tuple[Any, ...] = ()
        self._is_drawing = False
        self._due_at = 0.0
        with ui.element("div").classes("ax-tools"):
            with ui.element("h2").classes("ax-heading ax-symbol"):
                self._title = ui.label("")
            self._last = ui.label("").classes("ax-soft ax-figures")
            choice = ui.toggle(list(INTERVALS), value=self._interval, on_change=self._choose)
            choice.props('dense unelevated no-caps aria-label="Interval of the candles"').classes("ax-choice ax-push")
        with ui.element("div").classes("ax-chart-room"):
            self._chart = ui.echart(chart_options([], is_dark=viewer.browser.is_dark)).classes("ax-chart")
            self._chart.props('role="img" aria-label="Candlestick chart"')
            self._empty = ui.label("").classes("ax-chart-empty ax-soft")

    async def refresh(self, *, anew: bool) -> None:
        """Send the candles where they changed."""
        feed, symbol = self._viewer.feed, self._viewer.symbol
        if feed is None or not symbol or self._is_drawing or (not anew and time.monotonic() < self._due_at):
            return
        self._due_at = time.monotonic() + _PERIOD_S
        self._is_drawing = True  # a click while a read is under way is drawn by the next refresh
        try:
            bars = await feed.candles(symbol, self._interval, _BARS)
        except ValueError as exc:
            bars = []
            self._empty.text = str(exc)
        else:
            self._empty.text = "" if bars else _none(symbol, self._interval)
        finally:
            self._is_drawing = False
        self._draw(symbol, bars, anew=anew)

    def _draw(self, symbol: str, bars: Sequence[Bar], *, anew: bool) -> None:
        is_dark = self._viewer.browser.is_dark
        first_ms = (bars[0].open_time_ms, len(bars)) if bars else None
        shown = (symbol, self._interval, is_dark, first_ms, tuple(bars[-1:]))
        if shown == self._shown and not anew:
            return
        self._title.text = symbol
        last = bars[-1] if bars else None
        self._last.text = f"{last.close:,.8g} at {clock(last.open_time_ms * 1000)[:-4]}" if last else ""
        same_look = self._shown[:4] == shown[:4]
        self._shown = shown
        options = chart_data(bars) if same_look else chart_options(bars, is_dark=is_dark)
        self._chart.run_chart_method("setOption", options)

    async def _choose(self, event: Any) -> None:
        self._interval = str(event.value)
        await self.refresh(anew=True)


def _none(symbol: str, interval: str) -> str:
    return (
        f"No {interval} candles of {symbol} are held at this moment. A bridge carries those that a program wants, "
        f"or that it was started with: --topic candles:{symbol}:{interval}"
    )


def chart_data(bars: Sequence[Bar]) -> dict[str, Any]:
    """What changes within a candle: it is sent often, so without times and looks."""
    prices = [[_short(price) for price in (bar.open, bar.close, bar.low, bar.high)] for bar in bars]
    return {"series": [{"data": prices}, {"data": [_short(bar.volume) for bar in bars]}]}


def _short(number: float) -> float:
    return float(f"{number:.8g}")


def chart_options(bars: Sequence[Bar], *, is_dark: bool) -> dict[str, Any]:
    """The whole chart."""
    colour = _DARK if is_dark else _LIGHT
    series = chart_data(bars)["series"]
    times = [day_clock(bar.open_time_ms * 1000)[5:16] for bar in bars]
    line = {"lineStyle": {"color": colour["line"]}}
    none, sides = {"show": False}, {"left": 8, "right": 64, "outerBoundsMode": "none"}
    label = {"color": colour["text"], "fontSize": 11}
    times_label = {**label, "alignMinLabel": "left", "alignMaxLabel": "right"}
    return {
        "animation": False,
        "backgroundColor": "transparent",
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "cross"}, "confine": True},
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "grid": [{**sides, "top": 12, "height": "68%"}, {**sides, "bottom": 24, "height": "16%"}],
        "xAxis": [
            {"type": "category", "gridIndex": 0, "axisLine": line, "axisLabel": none, "axisTick": none,
             "data": times},
            {"type": "category", "gridIndex": 1, "axisLine": line, "axisLabel": times_label, "axisTick": none,
             "data": times},
        ],
        "yAxis": [
            {"scale": True, "position": "right", "gridIndex": 0, "axisLabel": label, "splitLine": line},
            {"position": "right", "gridIndex": 1, "axisLabel": none, "splitLine": none},
        ],
        "series": [
            {"type": "candlestick", "name": "Price", "xAxisIndex": 0, "yAxisIndex": 0, "barMaxWidth": 14,
             "itemStyle": {"color": _UP, "color0": _DOWN, "borderColor": _UP, "borderColor0": _DOWN}, **series[0]},
            {"type": "bar", "name": "Volume", "xAxisIndex": 1, "yAxisIndex": 1, "barMaxWidth": 14,
             "itemStyle": {"color": _VOLUME}, **series[1]},
        ],
    }  # fmt: skip

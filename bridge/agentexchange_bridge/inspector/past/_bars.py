"""A topic's candles up to a moment: those of the log, and for spans without one what the ticks make."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from agentexchange.recording import received_of, topic_of
from agentexchange_bridge.inspector.board import MAX_BARS, bar_of, tick_of
from agentexchange_schemas import EnvelopeError, Topic
from agentexchange_schemas.envelope import decode

from ._moment import MAIN_LOG

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.board import Board, Tick
    from agentexchange_bridge.inspector.views import Bar

    from ._history import History, Page

__all__ = ["chart_of"]

_PAGE: Final = 2_000
_MAX_CANDLES: Final = 40_000  # entries of a candle log that are read
_MAX_TICKS: Final = 20_000  # entries of a log of ticks


async def chart_of(
    history: History, board: Board, symbol: str, interval: str, *, until_us: int, limit: int
) -> list[Bar]:
    """The newest candles, the oldest first; the board keeps them up to date from then on.

    Raises:
        ValueError: not a symbol, or an interval.
        ConnectionError: what is read from is away.
    """
    topic = Topic.candles(symbol, interval)
    chart = board.charts.of(str(topic))
    if chart is None:
        ticker = str(Topic.ticker(symbol))
        chart = board.charts.open(str(topic))
        newest_us = board.newest_us(ticker)  # what comes later, the chart gets from the board
        ticked_until_us = until_us if newest_us is None else newest_us
        try:
            (ticks, seen_from_us), bars = await asyncio.gather(
                _ticks(history, ticker, ticked_until_us), _candles(history, str(topic), until_us)
            )
        except BaseException:
            board.charts.drop(str(topic))
            raise
        chart.fill(ticks, -(-seen_from_us // 1_000))
        chart.take(bars)
    return chart.newest(limit)


async def _candles(history: History, topic: str, until_us: int) -> list[Bar]:
    """Closed ones; fewer where the log holds many other topics' between them. In no order."""
    bars: list[Bar] = []
    for lane in history.lanes:
        if lane.log == "log:candles" and topic in await history.topics(lane.scope):
            async for page in _pages(history, lane, topic, until_us, _MAX_CANDLES):
                bars += [bar for raw in page.raws if (bar := _bar(raw, topic)) is not None]
                if len(bars) >= MAX_BARS:
                    break
    return bars


async def _ticks(history: History, topic: str, until_us: int) -> tuple[list[Tick], int]:
    """The topic's last ticks, the oldest first, and the moment since when all are there."""
    ticks: list[Tick] = []
    oldest: list[int] = []
    for lane in history.lanes:
        if lane.log == MAIN_LOG and topic in await history.topics(lane.scope):
            seen_from_us = until_us + 1
            async for page in _pages(history, lane, topic, until_us, _MAX_TICKS):
                ticks += [tick for raw in page.raws if (tick := _tick(raw, topic)) is not None]
                seen_from_us = _oldest_us(page, seen_from_us)
            oldest.append(seen_from_us)
    ticks.reverse()
    return sorted(ticks, key=_time), max(oldest, default=until_us + 1)


async def _pages(history: History, lane: Lane, topic: str, until_us: int, most: int) -> AsyncIterator[Page]:
    edge_us: int | None = until_us + 1
    while edge_us is not None and most > 0:
        page = await history.back(lane, edge_us, _PAGE, topic=topic)
        yield page
        most -= max(1, page.read)
        edge_us = page.edge_us


def _time(tick: Tick) -> int:
    return tick.time_ms


def _oldest_us(page: Page, newer_us: int) -> int:
    try:
        return received_of(page.raws[-1]) if page.raws else newer_us
    except EnvelopeError:
        return newer_us


def _bar(raw: bytes, topic: str) -> Bar | None:
    try:
        return bar_of(decode(raw).data) if topic_of(raw) == topic else None
    except EnvelopeError:
        return None


def _tick(raw: bytes, topic: str) -> Tick | None:
    try:
        return tick_of(decode(raw)) if topic_of(raw) == topic else None
    except EnvelopeError:
        return None

"""A topic's closed candles before a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange.recording import topic_of
from agentexchange_bridge.inspector.board import bar_of
from agentexchange_schemas import EnvelopeError, Topic
from agentexchange_schemas.envelope import decode

if TYPE_CHECKING:
    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.views import Bar

    from ._history import History

__all__ = ["bars_before", "candle_topic"]

_PAGE: Final = 2_000
_MOST: Final = 80_000  # entries read


def candle_topic(symbol: str, interval: str) -> str:
    """The topic of these candles.

    Raises:
        ValueError: not a symbol, or an interval.
    """
    return str(Topic.candles(symbol, interval))


async def bars_before(history: History, topic: str, before_us: int, limit: int) -> list[Bar]:
    """Up to ``limit`` of them; fewer where the log holds many other topics' between them. In no order.

    Raises:
        ConnectionError: what is read from is away.
    """
    bars: list[Bar] = []
    for lane in history.lanes:
        if lane.log == "log:candles" and topic in await history.topics(lane.scope):
            bars += await _in_lane(history, lane, topic, before_us, limit)
    return bars


async def _in_lane(history: History, lane: Lane, topic: str, before_us: int, limit: int) -> list[Bar]:
    bars: list[Bar] = []
    edge_us: int | None = before_us
    read = 0
    while edge_us is not None and read < _MOST and len(bars) < limit:
        page = await history.back(lane, edge_us, _PAGE, topic=topic)
        bars += [bar for bar in (_bar(raw, topic) for raw in page.raws) if bar is not None]
        read += page.read
        edge_us = page.edge_us
    return bars


def _bar(raw: bytes, topic: str) -> Bar | None:
    try:
        return bar_of(decode(raw).data) if topic_of(raw) == topic else None
    except EnvelopeError:
        return None

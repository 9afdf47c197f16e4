"""What is known of the feed at one moment: pure state, fed with envelopes, asked by pages."""

from __future__ import annotations

from ._board import Board
from ._charts import MAX_BARS, Tick, bar_of, tick_of
from ._gaps import Notices, gaps_of
from ._meter import Meter
from ._rows import key_of, kind_of, order_of, row_of
from ._ticks import SPAN_US

__all__ = [
    "MAX_BARS",
    "SPAN_US",
    "Board",
    "Meter",
    "Notices",
    "Tick",
    "bar_of",
    "gaps_of",
    "key_of",
    "kind_of",
    "order_of",
    "row_of",
    "tick_of",
]

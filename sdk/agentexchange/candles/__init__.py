"""Candles built from ticks, and the choice between those and upstream's: pure, shared with the bridge.

Not part of the package's public names; `AgentExchangeWS` and the bridge use it.
"""

from __future__ import annotations

from ._builder import BuilderOptions, BuilderStats, BuiltCandle, CandleBuilder
from ._chooser import CandleSource, ChooserStats, SourceChooser
from ._desk import CandleDesk, DeskHistory, DeskStats
from ._needs import upstream_topics
from ._state import MAX_STATE_BYTES, CandleStateError
from ._time import INTERVAL_MS

__all__ = [
    "INTERVAL_MS",
    "MAX_STATE_BYTES",
    "BuilderOptions",
    "BuilderStats",
    "BuiltCandle",
    "CandleBuilder",
    "CandleDesk",
    "CandleSource",
    "CandleStateError",
    "ChooserStats",
    "DeskHistory",
    "DeskStats",
    "SourceChooser",
    "upstream_topics",
]

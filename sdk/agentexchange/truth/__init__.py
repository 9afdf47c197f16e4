"""What became of orders and portfolio while nobody was looking: pure, no I/O, no clock.

The platform has no replay. `AccountTruth` knows what was handed out last, compares it with what comes after a blind
span, and says what must have happened in between and what cannot be known. `TruthFilter` puts it into a feed.
"""

from __future__ import annotations

from ._account import CLOCK_SLACK, AccountTruth
from ._filter import TruthFilter
from ._snapshot import Findings, Snapshot, Span

__all__ = ["CLOCK_SLACK", "AccountTruth", "Findings", "Snapshot", "Span", "TruthFilter"]

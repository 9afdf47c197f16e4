"""What recordings and logs tell as a whole: figures, gaps, and where two recordings part. Pure; memory is bounded."""

from __future__ import annotations

from ._blindness import Blindness, BlindSpan
from ._diff import Comparison, Difference, DiffOptions, TopicCounts
from ._lags import Lags
from ._tally import ScopeTally, Tally, TopicTally

__all__ = [
    "BlindSpan",
    "Blindness",
    "Comparison",
    "DiffOptions",
    "Difference",
    "Lags",
    "ScopeTally",
    "Tally",
    "TopicCounts",
    "TopicTally",
]

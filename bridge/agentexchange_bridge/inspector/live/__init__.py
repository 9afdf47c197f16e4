"""The feed as it is now."""

from __future__ import annotations

from ._feed import LiveFeed
from ._reader import ReadOptions
from ._state import LiveOptions, wall_us

__all__ = ["LiveFeed", "LiveOptions", "ReadOptions", "wall_us"]

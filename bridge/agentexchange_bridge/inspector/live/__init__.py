"""The feed as it is now."""

from __future__ import annotations

from ._feed import LiveFeed, LiveOptions, wall_us
from ._reader import ReadOptions

__all__ = ["LiveFeed", "LiveOptions", "ReadOptions", "wall_us"]

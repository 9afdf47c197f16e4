"""How fresh data is: judged by the ticks themselves, each pair by its own rhythm. Pure, every clock is passed in."""

from __future__ import annotations

from ._answer import Freshness
from ._clock import LeastDelay, ServerClock, time_us
from ._feed import FeedWatch
from ._ticks import LOOK_S, Change, TickWatch

__all__ = ["LOOK_S", "Change", "FeedWatch", "Freshness", "LeastDelay", "ServerClock", "TickWatch", "time_us"]

"""AgentExchange market data and account events: straight from the platform, shared through Redis, or replayed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange_schemas import (
    Candle,
    Cause,
    Event,
    FeedState,
    FeedStatus,
    Kind,
    OrderUpdate,
    Portfolio,
    Ticker,
    Topic,
)

from . import _extras
from ._clock import Clock
from ._dispatch import HandlerStats
from ._meta import EventMeta
from .client import AgentExchangeWS, ClientStats
from .errors import (
    AgentExchangeError,
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the documented name
    MissingExtraError,
    RecordingError,
    StaleValueError,
    UsageError,
)
from .freshness import Freshness
from .replay import ReplayControl, ReplayProgress

if TYPE_CHECKING:
    from .latest import AsyncLatestReader, Latest, LatestReader

__all__ = [
    "AgentExchangeError",
    "AgentExchangeWS",
    "AuthenticationError",
    "Candle",
    "Cause",
    "ClientStats",
    "Clock",
    "ConnectionError",
    "Event",
    "EventMeta",
    "FeedState",
    "FeedStatus",
    "Freshness",
    "HandlerStats",
    "Kind",
    "MissingExtraError",
    "OrderUpdate",
    "Portfolio",
    "RecordingError",
    "ReplayControl",
    "ReplayProgress",
    "StaleValueError",
    "Ticker",
    "Topic",
    "UsageError",
]

if _extras.has_redis():  # a plain install has these names too, but asking for them says what is missing
    __all__ += ["AsyncLatestReader", "Latest", "LatestReader"]


def __getattr__(name: str) -> Any:
    if name not in ("AsyncLatestReader", "Latest", "LatestReader"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = _extras.redis_backed("latest", name)
    return value

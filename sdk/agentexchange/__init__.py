"""Real-time AgentExchange market data and account events, straight from the platform or shared through Redis."""

from __future__ import annotations

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

from ._dispatch import HandlerStats
from ._meta import EventMeta
from .client import AgentExchangeWS
from .errors import (
    AgentExchangeError,
    AuthenticationError,
    ConnectionError,  # noqa: A004 - the documented name
    MissingExtraError,
    StaleValueError,
    UsageError,
)

__all__ = [
    "AgentExchangeError",
    "AgentExchangeWS",
    "AuthenticationError",
    "Candle",
    "Cause",
    "ConnectionError",
    "Event",
    "EventMeta",
    "FeedState",
    "FeedStatus",
    "HandlerStats",
    "Kind",
    "MissingExtraError",
    "OrderUpdate",
    "Portfolio",
    "StaleValueError",
    "Ticker",
    "Topic",
    "UsageError",
]

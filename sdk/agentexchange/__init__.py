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

from ._meta import EventMeta
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
    "AuthenticationError",
    "Candle",
    "Cause",
    "ConnectionError",
    "Event",
    "EventMeta",
    "FeedState",
    "FeedStatus",
    "Kind",
    "MissingExtraError",
    "OrderUpdate",
    "Portfolio",
    "StaleValueError",
    "Ticker",
    "Topic",
    "UsageError",
]

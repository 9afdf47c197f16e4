"""Event models, topics, envelope, Redis layout and upstream protocol of AgentExchange: pure data, no I/O."""

from __future__ import annotations

from .envelope import Envelope
from .errors import EnvelopeError, FrameError, InterestError, LayoutError, SchemaError, TopicError
from .events import EVENT_MODELS, Candle, Event, OrderUpdate, Portfolio, Ticker
from .interest import Interest, InterestChange
from .layout import Layout, account_scope
from .states import ScopeStates, TopicState
from .status import Cause, FeedState, FeedStatus
from .topics import ALL, INTERVALS, Kind, Topic, normalize_symbol

__all__ = [
    "ALL",
    "EVENT_MODELS",
    "INTERVALS",
    "Candle",
    "Cause",
    "Envelope",
    "EnvelopeError",
    "Event",
    "FeedState",
    "FeedStatus",
    "FrameError",
    "Interest",
    "InterestChange",
    "InterestError",
    "Kind",
    "Layout",
    "LayoutError",
    "OrderUpdate",
    "Portfolio",
    "SchemaError",
    "ScopeStates",
    "Ticker",
    "Topic",
    "TopicError",
    "TopicState",
    "account_scope",
    "normalize_symbol",
]

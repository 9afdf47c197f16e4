"""Sessions with the platform, kept up: what the client and the bridge share. Not part of the public API."""

from __future__ import annotations

from ._auth import AuthJudge, AuthPolicy
from ._feed import UpstreamFeed
from ._options import FeedOptions, FeedSink, PoolOptions
from ._pool import UpstreamPool
from ._stats import FeedStats, PoolStats

__all__ = [
    "AuthJudge",
    "AuthPolicy",
    "FeedOptions",
    "FeedSink",
    "FeedStats",
    "PoolOptions",
    "PoolStats",
    "UpstreamFeed",
    "UpstreamPool",
]

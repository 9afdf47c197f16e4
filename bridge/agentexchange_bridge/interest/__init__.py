"""What clients want: read from Redis, followed as it changes, and given to the market's intake as topics."""

from __future__ import annotations

from ._follower import FollowerOptions, InterestFollower
from ._found import Client, Found
from ._read import find_accounts, find_clients, read_clients
from ._stats import InterestStats
from ._table import InterestLimits, InterestTable

__all__ = [
    "Client",
    "FollowerOptions",
    "Found",
    "InterestFollower",
    "InterestLimits",
    "InterestStats",
    "InterestTable",
    "find_accounts",
    "find_clients",
    "read_clients",
]

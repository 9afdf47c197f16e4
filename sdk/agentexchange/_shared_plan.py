"""What a shared client reads, and which way: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentexchange_schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import Layout, Topic

__all__ = ["LATEST_FIRST", "Plan"]

LATEST_FIRST = frozenset({Kind.TICKER, Kind.PORTFOLIO})
"""Kinds whose newest value is handed out first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every wanted topic once: over a channel, or out of a log.

    Attributes:
        layout: the names.
        scopes: whose status is followed.
        channels: (scope, topic) read over pub/sub.
        logs: scopes whose log of ticks is read, for the wildcard; single tickers then come out of it too.
    """

    layout: Layout
    scopes: frozenset[str] = frozenset()
    channels: frozenset[tuple[str, Topic]] = frozenset()
    logs: frozenset[str] = frozenset()

    @classmethod
    def of(cls, layout: Layout, topics: Iterable[Topic], *, account: str, keep_logs: bool = False) -> Plan:
        """Decide for ``topics``.

        Args:
            layout: the names.
            topics: what is wanted.
            account: the scope of private topics.
            keep_logs: the logs are being read already: go on with them as long as any ticker is wanted, since moving
                a topic from the log to its channel could not be done without a hole.
        """
        wanted = frozenset(topics)
        tickers = frozenset(topic for topic in wanted if topic.kind is Kind.TICKER)
        by_log = any(topic.is_wildcard for topic in tickers) or (keep_logs and bool(tickers))
        singles = wanted - tickers if by_log else wanted
        channels = frozenset((layout.scopes_of(topic, account)[0], topic) for topic in singles)
        logs = frozenset(layout.market_scopes if by_log else ())
        return cls(layout=layout, scopes=logs | {scope for scope, _ in channels}, channels=channels, logs=logs)

"""What a shared client reads, and which way: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import Layout, Topic

__all__ = ["LATEST_FIRST", "MANY_TICKERS", "Plan"]

LATEST_FIRST = frozenset({Kind.TICKER, Kind.PORTFOLIO})
"""Kinds whose newest value is handed out first."""

MANY_TICKERS: Final = 500
"""From so many single tickers on, of the 600 there are, the log costs no more CPU than their channels (measured)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every wanted topic once: over a channel, or out of a log.

    Attributes:
        layout: the names.
        scopes: whose status is followed.
        channels: (scope, topic) read over pub/sub.
        logs: scopes whose log of ticks is read; every ticker then comes out of it.
        picked: (scope, topic) of the tickers that are taken out of the logs; None for all of them.
    """

    layout: Layout
    scopes: frozenset[str] = frozenset()
    channels: frozenset[tuple[str, Topic]] = frozenset()
    logs: frozenset[str] = frozenset()
    picked: frozenset[tuple[str, Topic]] | None = frozenset()

    @classmethod
    def of(
        cls,
        layout: Layout,
        topics: Iterable[Topic],
        *,
        account: str,
        keep_logs: bool = False,
        many: int = MANY_TICKERS,
    ) -> Plan:
        """Decide for ``topics``.

        Args:
            layout: the names.
            topics: what is wanted.
            account: the scope of private topics.
            keep_logs: the logs are being read already: go on with them as long as any ticker is wanted, since moving
                a topic from the log to its channel could not be done without a hole.
            many: so many single tickers are read out of the log.
        """
        wanted = frozenset(topics)
        tickers = frozenset(topic for topic in wanted if topic.kind is Kind.TICKER)
        has_wildcard = any(topic.is_wildcard for topic in tickers)
        by_log = has_wildcard or len(tickers) >= many or (keep_logs and bool(tickers))
        placed = frozenset((layout.scopes_of(topic, account)[0], topic) for topic in wanted if not topic.is_wildcard)
        ticks = frozenset((scope, topic) for scope, topic in placed if topic.kind is Kind.TICKER)
        channels = placed - ticks if by_log else placed
        logs = frozenset(layout.market_scopes if by_log else ())
        return cls(
            layout=layout,
            scopes=logs | {scope for scope, _ in channels},
            channels=channels,
            logs=logs,
            picked=None if has_wildcard else ticks if by_log else frozenset(),
        )

    def picked_of(self, scope: str) -> list[str] | None:
        """Tickers to take out of the log of ``scope``; None for all."""
        return None if self.picked is None else [str(topic) for other, topic in self.picked if other == scope]

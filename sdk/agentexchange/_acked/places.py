"""Which logs carry the wanted topics: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentexchange_schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import Layout, Topic

__all__ = ["Place", "places_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """One log, and what is wanted of it.

    Attributes:
        scope: whose log it is.
        log: its key.
        name: its key behind the scope's base: ``log`` or ``log:candles``.
        topics: wanted events, as text.
        takes_every_ticker: whether the wildcard is among them.
    """

    scope: str
    log: str
    name: str
    topics: frozenset[str]
    takes_every_ticker: bool

    def wants(self, topic: str) -> bool:
        """Whether events of ``topic`` are for the handlers."""
        return topic in self.topics or (self.takes_every_ticker and topic.startswith("ticker:"))


def places_of(layout: Layout, topics: Iterable[Topic], account: str) -> list[Place]:
    """Every log that a wanted topic lives in, in the order of their keys."""
    found: dict[tuple[str, str], set[Topic]] = {}
    for topic in topics:
        for scope in layout.scopes_of(topic, account):
            log = layout.candle_log(scope) if topic.kind is Kind.CANDLES else layout.log(scope)
            found.setdefault((log, scope), set()).add(topic)
    return [
        Place(
            scope=scope,
            log=log,
            name=log.removeprefix(layout.base(scope)),
            topics=frozenset(map(str, wanted)),
            takes_every_ticker=any(topic.is_wildcard for topic in wanted),
        )
        for (log, scope), wanted in sorted(found.items())
    ]

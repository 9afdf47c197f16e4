"""Which topics are wanted out of a recording or a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Kind, Topic
from agentexchange_schemas.envelope import STATUS_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TopicChoice"]

_TICKERS: Final = f"{Kind.TICKER}:"


class TopicChoice:
    """A set of topics, ``ticker:all`` for every ticker; notices belong to any choice unless told otherwise.

    Args:
        topics: what is wanted; None for everything.
        notices: whether notices, which tell where events are missing, are wanted too.
    """

    def __init__(self, topics: Iterable[str | Topic] | None = None, *, notices: bool = True) -> None:
        self._parsed = None if topics is None else [Topic.parse(str(topic)) for topic in topics]
        self._names = {str(topic) for topic in self._parsed or () if not topic.is_wildcard}
        self._all_tickers = any(topic.is_wildcard for topic in self._parsed or ())
        self._notices = notices

    def wants(self, topic: str) -> bool:
        """Whether ``topic`` is one of them."""
        if topic == STATUS_TOPIC:
            return self._notices
        return self._parsed is None or topic in self._names or (self._all_tickers and topic.startswith(_TICKERS))

    def among(self, topics: Iterable[str]) -> set[str]:
        """Those of ``topics`` that are wanted."""
        return {topic for topic in topics if self.wants(topic)}

"""Which events are wanted: topics, kinds and a condition. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange.recording import TopicChoice
from agentexchange_bridge.rows import STATUS
from agentexchange_schemas import Kind, Topic

from ._shapes import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.rows import Row
    from agentexchange_bridge.where import Where

__all__ = ["Wanted"]

_PRIVATE: Final = (Topic.orders(), Topic.portfolio())
_PRIVATE_KINDS: Final = frozenset(str(topic.kind) for topic in _PRIVATE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for.

    Attributes:
        topics: only these; none: every one.
        kinds: only of these, notices as ``status``; none: every one, notices only where no topics are named either.
        where: only those for which it holds.
        scopes: of the past, only these; None: every one that can be read.
    """

    topics: tuple[Topic, ...] = ()
    kinds: frozenset[str] = frozenset()
    where: Where | None = None
    scopes: tuple[str, ...] | None = None
    _known: dict[str, bool] = field(default_factory=dict, compare=False)

    @property
    def has_notices(self) -> bool:
        """Whether notices are among the events."""
        return STATUS in self.kinds or not (self.kinds or self.topics)

    @property
    def is_of_an_account(self) -> bool:
        """Whether something of an account was named: a topic, or no other kinds."""
        is_kind = bool(self.kinds) and self.kinds <= _PRIVATE_KINDS
        return is_kind or any(topic.is_private for topic in self.topics)

    @property
    def all_kinds(self) -> tuple[str, ...]:
        """The kinds that may come, in the order of `KINDS`."""
        named = frozenset(str(topic.kind) for topic in self.topics) or frozenset(KINDS)
        return tuple(
            kind
            for kind in KINDS
            if (self.has_notices if kind == STATUS else kind in named and kind in (self.kinds or named))
        )

    @property
    def choice(self) -> TopicChoice:
        """The topics as a source takes them; notices are always among them."""
        return TopicChoice(self.topics or None)

    def takes(self, topic: str) -> bool:
        """Whether events of this topic are wanted, as far as the topic tells."""
        known = self._known.get(topic)
        if known is None:
            is_kind = not self.kinds or topic.partition(":")[0] in self.kinds
            known = self.has_notices if topic == STATUS else is_kind and self.choice.wants(topic)
            self._known[topic] = known
        return known

    def holds(self, row: Row) -> bool:
        """Whether the condition holds for an event whose topic is wanted."""
        return self.where is None or self.where.matches(row.topic, row.data, seq=row.seq)

    def subscriptions(self, *, has_key: bool) -> Sequence[Topic]:
        """What a live feed has to be asked for; with ``has_key`` the account's topics belong to everything.

        Raises:
            ValueError: candles of which no topic is named, which cannot be subscribed; or no topic is of a wanted kind.
        """
        kinds = self.kinds - {STATUS}
        if self.topics:
            chosen = [topic for topic in self.topics if not self.kinds or topic.kind in kinds]
            if not chosen and not self.has_notices:
                raise ValueError(f"no topic that is named is of kind {', '.join(sorted(kinds))}")
            return chosen or self.topics
        if Kind.CANDLES in kinds:
            raise ValueError("live candles are had by their topics: name them, such as candles:BTCUSDT:1m")
        private = [topic for topic in _PRIVATE if (topic.kind in kinds if kinds else has_key)]
        if self.kinds == {STATUS} or not kinds or Kind.TICKER in kinds:
            return [Topic.ticker("all"), *private]
        return private

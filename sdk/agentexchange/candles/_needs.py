"""What is to be subscribed upstream for the topics that are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange_schemas import Kind, Topic

from ._chooser import CandleSource

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["upstream_topics"]


def upstream_topics(wanted: Iterable[Topic], mode: CandleSource) -> dict[Topic, bool]:
    """The topics to subscribe, with whether each is only nice to have; those that are needed come first.

    Candles need the ticker of their symbol, unless upstream is their only source; then they need upstream's own.
    Where either will do, those are nice to have. Where candles are always built, they are not asked for.
    """
    needed: dict[Topic, bool] = {}
    nice: dict[Topic, bool] = {}
    for topic in wanted:
        if topic.kind is not Kind.CANDLES or mode is CandleSource.UPSTREAM:
            needed[topic] = False
            continue
        if topic.symbol is not None:
            needed[Topic.ticker(topic.symbol)] = False
        if mode is CandleSource.AUTO:
            nice[topic] = True
    return needed | nice

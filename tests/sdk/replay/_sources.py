"""What tests of sources share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.recording import TopicChoice

if TYPE_CHECKING:
    from agentexchange.replay import Source

EVERYTHING = TopicChoice()


async def raws_of(
    source: Source, start_us: int | None = None, end_us: int | None = None, *, topics: Any = None, scopes: Any = None
) -> list[bytes]:
    choice = EVERYTHING if topics is None else TopicChoice(topics, notices=False)
    return [raw async for run in source.runs(start_us, end_us, topics=choice, scopes=scopes) for raw in run.raws]

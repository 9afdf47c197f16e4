"""Which candles a log in Redis still holds: counters alone tell of what it ever held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange.recording import received_of
from agentexchange_schemas import EnvelopeError

if TYPE_CHECKING:
    from agentexchange_schemas import Layout

    from ._link import Link
    from ._log import Log

__all__ = ["held_candles"]

_AT_ONCE: Final = 500  # latest values of one question


async def held_candles(link: Link, layout: Layout, log: Log) -> set[str]:
    """The topics of a candle log that it holds anything of, by their newest candles."""
    topics, held = [*log.counters], set()
    for at in range(0, len(topics), _AT_ONCE):
        part = topics[at : at + _AT_ONCE]
        newest = await link.command("MGET", *(layout.latest(log.lane.scope, topic) for topic in part))
        held |= {topic for topic, raw in zip(part, newest, strict=True) if _is_within(raw, log)}
    return held


def _is_within(raw: bytes | None, log: Log) -> bool:
    try:
        return raw is None or received_of(raw) >= log.first_us
    except EnvelopeError:
        return False

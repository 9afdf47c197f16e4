"""What a log lost before it was delivered to a group: by the seqs that the group has got to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange_schemas import EnvelopeError
from agentexchange_schemas.envelope import decode
from agentexchange_schemas.layout import LOG_ID_FIELD, count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentexchange._acked.places import Place
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["Hole", "find_holes"]

_PAGE: Final = 1000
_MAX_PAGES: Final = 1000  # a log of the default size, whole


class Hole(NamedTuple):
    """Seqs of one topic that neither reached the group nor are in the log."""

    topic: str
    first: int
    last: int


async def find_holes(stream: RespStream, place: Place, layout: Layout, group: str, log_name: bytes) -> list[Hole]:
    """Compare the group's marks with the log's first events; with its counters where it holds none of a topic."""
    marks = _hash(await stream.command("HGETALL", layout.marks(place.scope, group)))
    if not log_name or marks.pop(LOG_ID_FIELD, b"") != log_name:
        return []
    wanted = {topic: count_of(seq) for topic, seq in marks.items() if place.wants(topic)}
    if not wanted:
        return []
    counters = _hash(await stream.command("HGETALL", layout.seq(place.scope)))
    if counters.get(LOG_ID_FIELD) != log_name:
        return []
    behind = {topic: mark for topic, mark in wanted.items() if count_of(counters.get(topic)) > mark}
    firsts = await _first_seqs(stream, place.log, behind)
    ends = {topic: firsts.get(topic, count_of(counters[topic]) + 1) for topic in behind}
    holes = [Hole(topic, mark + 1, ends[topic] - 1) for topic, mark in behind.items() if ends[topic] > mark + 1]
    if holes and place.topics == {holes[0].topic}:
        # Delivered, not noted and not acknowledged: whoever holds them handles them, or they are told as trimmed.
        delivered = await _pending_before(stream, place.log, group)
        holes = [hole._replace(first=hole.first + delivered) for hole in holes]
    return [hole for hole in holes if hole.first <= hole.last]


async def _pending_before(stream: RespStream, log: str, group: str) -> int:
    """How many entries are pending that the log no longer holds."""
    first = await stream.command("XRANGE", log, "-", "+", "COUNT", 1)
    end = f"({first[0][0].decode()}" if first else "+"
    return len(await stream.command("XPENDING", log, group, "-", end, _PAGE))


async def _first_seqs(stream: RespStream, log: str, topics: Mapping[str, int]) -> dict[str, int]:
    """The seq of each topic's first event in the log."""
    found: dict[str, int] = {}
    at = "-"
    for _ in range(_MAX_PAGES):
        if len(found) == len(topics):
            break
        page = await stream.command("XRANGE", log, at, "+", "COUNT", _PAGE)
        for _, fields in page:
            topic, seq = _topic_of(fields)
            if topic in topics and seq is not None:
                found.setdefault(topic, seq)
        if len(page) < _PAGE:
            break
        at = f"({page[-1][0].decode()}"
    return found


def _topic_of(fields: Any) -> tuple[str, int | None]:
    try:
        envelope = decode(fields[1])
    except EnvelopeError:
        return "", None
    return envelope.topic, envelope.seq


def _hash(reply: list[bytes]) -> dict[str, bytes]:
    return {name.decode(errors="replace"): value for name, value in zip(reply[::2], reply[1::2], strict=True)}

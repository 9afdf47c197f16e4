"""Reading a scope's candle log: the closed candles that those under way continue from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange.candles import INTERVAL_MS
from agentexchange_schemas import EnvelopeError, envelope
from agentexchange_schemas.layout import LOG_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agentexchange.redis import RespStream

__all__ = ["read_history"]

_PAGE: Final = 500
_MARGIN_MS: Final = 3_600_000
_MINUTE: Final = "1m"


async def read_history(
    stream: RespStream, log: str, topics: Collection[str], *, take: Callable[[dict[str, Any]], None]
) -> None:
    """Give the closed candles of ``topics``, and the one-minute candles of their symbols, to ``take``, oldest first.

    It begins with the longest span among ``topics`` that was under way an hour before the log's last entry, so that
    what ended shortly before and was not published is among them, too.

    Raises:
        RedisLinkError: the connection is gone, or the server refuses.
    """
    last = await stream.command("XREVRANGE", log, "+", "-", "COUNT", 1)
    if not last:
        return
    longest = max(INTERVAL_MS[topic.rpartition(":")[2]] for topic in topics)
    since = _ms_of(last[0][0]) - _MARGIN_MS
    wanted = {*topics, *(f"{topic.rpartition(':')[0]}:{_MINUTE}" for topic in topics)}
    place = str(max(0, since - since % longest))
    while page := await stream.command("XRANGE", log, place, "+", "COUNT", _PAGE):
        for _, fields in page:
            candle = _candle(fields, wanted)
            if candle is not None:
                take(candle)
        place = f"({page[-1][0].decode()}"


def _candle(fields: list[bytes], wanted: Collection[str]) -> dict[str, Any] | None:
    """The candle of an entry; None where it is none, or not wanted: a log may hold foreign entries."""
    found = dict(zip(fields[::2], fields[1::2], strict=False)).get(LOG_FIELD.encode())
    try:
        event = envelope.decode(found) if found is not None else None
    except EnvelopeError:
        return None
    return event.data if event is not None and event.topic in wanted else None


def _ms_of(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])

"""What was handed out last of an account, by whichever worker: read from the scope's latest keys."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import EnvelopeError, Kind
from agentexchange_schemas.envelope import decode
from agentexchange_schemas.layout import order_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["LastKnown"]

_CHUNK: Final = 500  # keys of one MGET


class LastKnown:
    """Reads one account's scope. Every method raises `RedisLinkError` where Redis does not answer.

    What is unreadable there is as if it were not: a publisher of nonsense costs what it wrote, and nothing else.
    """

    def __init__(self, scope: str, layout: Layout, connect: Callable[[], Awaitable[RespStream]]) -> None:
        self._scope = scope
        self._layout = layout
        self._connect = connect

    async def load(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The open orders, and the portfolio (None where there never was one)."""
        stream = await self._connect()
        try:
            ids = await stream.command("SMEMBERS", self._layout.latest(self._scope, Kind.ORDERS))
            orders = await self._orders(stream, [raw.decode(errors="replace") for raw in ids])
            packed = await stream.command("GET", self._layout.latest(self._scope, Kind.PORTFOLIO))
        finally:
            stream.close()
        return orders, _fields(packed, Kind.PORTFOLIO)

    async def orders(self, order_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Those of the orders that were handed out: open ones, and final ones of the last day."""
        wanted = list(order_ids)
        if not wanted:
            return []
        stream = await self._connect()
        try:
            return await self._orders(stream, [order_key(order_id) for order_id in wanted])
        finally:
            stream.close()

    async def _orders(self, stream: RespStream, names: list[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for chunk in _chunks(names):
            keys = [self._layout.latest(self._scope, Kind.ORDERS, name) for name in chunk]
            read = [_fields(packed, Kind.ORDERS) for packed in await stream.command("MGET", *keys)]
            found += [fields for fields in read if fields is not None and "order_id" in fields and "status" in fields]
        return found


def _fields(packed: Any, kind: Kind) -> dict[str, Any] | None:
    try:
        envelope = decode(packed) if isinstance(packed, bytes) else None
    except EnvelopeError:
        return None
    return envelope.data if envelope is not None and envelope.topic == kind else None


def _chunks(names: list[str]) -> Iterator[list[str]]:
    left = iter(names)
    while chunk := list(islice(left, _CHUNK)):
        yield chunk

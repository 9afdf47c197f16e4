"""The one command connection of a shared client: what it asks Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange_schemas import Layout
from agentexchange_schemas.layout import LOG_ID_FIELD

from ._shared_read import envelope_of, layout_of, pairs, report_of
from .redis import ReplyError, RespStream, pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentexchange_schemas import Envelope, FeedStatus

    from ._shared_flow import Flow

__all__ = ["START", "Commands", "ScopeLook"]

_CHUNK: Final = 500  # keys of one MGET
START: Final = b"0-0"
"""Before every entry of a log."""


class ScopeLook(NamedTuple):
    """What a look at a scope found: its status if its lease is held, and the name of its log if it has one."""

    report: FeedStatus | None
    log_id: bytes | None


class Commands:
    """Typed reads over a `RespStream`.

    Every method raises `ReplyError` where the server refuses, and `LinkClosedError` where the connection goes.
    """

    def __init__(self, stream: RespStream, prefix: str) -> None:
        self._stream = stream
        self._prefix = prefix

    async def layout(self) -> Layout | None:
        """The installation's layout, None where no bridge has been here.

        Raises:
            ConnectionError: a layout that this client does not read.
        """
        meta = await self._stream.command("HGETALL", Layout(self._prefix).meta)
        return layout_of(pairs(meta), self._prefix)

    async def look(self, layout: Layout, scopes: Sequence[str]) -> list[ScopeLook]:
        """Look at each scope; one round trip."""
        packed = [
            pack("EXISTS", layout.lease(scope))
            + pack("HGETALL", layout.status(scope))
            + pack("HGET", layout.seq(scope), LOG_ID_FIELD)
            for scope in scopes
        ]
        replies = await self._ask(packed, 3 * len(scopes))
        found = zip(scopes, replies[::3], replies[1::3], replies[2::3], strict=True)
        return [ScopeLook(report_of(scope, leased, pairs(fields)), log_id) for scope, leased, fields, log_id in found]

    async def latest(self, layout: Layout, flows: Sequence[Flow]) -> list[Envelope | None]:
        """The newest envelope of each topic of one scope, None where there is none."""
        keys = [layout.latest(flow.scope, flow.topic) for flow in flows]
        packed = [pack("MGET", *keys[at : at + _CHUNK]) for at in range(0, len(keys), _CHUNK)]
        values = [value for part in await self._ask(packed, len(packed)) for value in part]
        return [envelope_of(value, flow.topic) for value, flow in zip(values, flows, strict=True)]

    async def tickers(self, layout: Layout, scope: str) -> list[str]:
        """Every ticker topic that the scope has ever written."""
        fields = await self._stream.command("HKEYS", layout.seq(scope))
        return [field.decode(errors="replace") for field in fields if field.startswith(b"ticker:")]

    async def log_ends(self, layout: Layout, scopes: Iterable[str]) -> dict[str, bytes]:
        """The last entry id of each scope's log of ticks; of an empty one, the id before every other."""
        names = list(scopes)
        replies = await self._ask(
            [pack("XREVRANGE", layout.log(scope), "+", "-", "COUNT", 1) for scope in names], len(names)
        )
        return {scope: reply[0][0] if reply else START for scope, reply in zip(names, replies, strict=True)}

    async def _ask(self, packed: list[bytes], replies: int) -> list[Any]:
        if not packed:
            return []
        answers = await self._stream.send(b"".join(packed), replies=replies)
        for answer in answers:
            if isinstance(answer, ReplyError):
                raise answer
        return answers

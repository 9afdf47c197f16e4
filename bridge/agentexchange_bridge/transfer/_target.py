"""A Redis namespace that a recording is put into, as a bridge would have left it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from agentexchange._shared.read import layout_of, pairs
from agentexchange.errors import AgentExchangeError
from agentexchange.recording import place_of
from agentexchange.redis import ReplyError, pack
from agentexchange_schemas import Kind
from agentexchange_schemas.envelope import log_id
from agentexchange_schemas.layout import LAYOUT_VERSION, LOG_FIELD, LOG_ID_FIELD, RECEIVED_FIELD

from ._state import ScopeState, order_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentexchange.recording import LaneRun
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Layout

__all__ = ["ImportTarget", "OccupiedError"]

_FINAL_ORDER_TTL_S: Final = 86_400  # as a bridge has it
_KEYS_AT_ONCE: Final = 500
_BATCH: Final = 1000  # events of one write


class OccupiedError(AgentExchangeError):
    """The namespace is in use, or holds data."""


class ImportTarget:
    """Writes into one namespace.

    Attributes:
        scopes: what was imported, by scope.
        events: how many were.
    """

    def __init__(self, stream: RespStream, layout: Layout) -> None:
        self._stream = stream
        self._layout = layout
        self.scopes: dict[str, ScopeState] = {}
        self.events = 0

    async def prepare(self, scopes: Iterable[str], *, replace: bool) -> None:
        """Make room.

        Raises:
            OccupiedError: a bridge holds a lease there, or there is data and not ``replace``.
            ConnectionError: another layout version.
            RedisLinkError: Redis is away, or refuses.
        """
        layout = self._layout
        meta = pairs(await self._stream.command("HGETALL", layout.meta))
        found = layout_of(meta, layout.prefix)
        occupied = found is not None
        for scope in scopes:
            if await self._stream.command("EXISTS", layout.lease(scope)):
                raise OccupiedError(
                    f"a bridge writes {scope} under the prefix '{layout.prefix}': stop it, or use another prefix"
                )
            keys = (layout.log(scope), layout.candle_log(scope), layout.seq(scope))
            occupied |= bool(await self._stream.command("EXISTS", *keys))
        if occupied and not replace:
            raise OccupiedError(
                f"there is data under the prefix '{layout.prefix}': use another prefix, or --replace to delete it"
            )
        for scope in scopes:
            await self._clear(scope)

    async def write(self, runs: Iterable[LaneRun]) -> None:
        """Append every event to its log, in batches.

        Raises:
            RedisLinkError: Redis is away, or refuses.
        """
        for lane, raws in runs:
            state = self.scopes.setdefault(lane.scope, ScopeState())
            for begin in range(0, len(raws), _BATCH):
                await self._send(self._commands(lane.scope, state, raws[begin : begin + _BATCH]))

    async def finish(self) -> None:
        """Write what stands beside the logs; the layout at last, since readers look there first."""
        for scope, state in self.scopes.items():
            await self._send(self._scope_commands(scope, state))
        layout = self._layout
        await self._send([pack("HSET", layout.meta, "version", LAYOUT_VERSION, "partitions", layout.partitions)])

    def _commands(self, scope: str, state: ScopeState, raws: Sequence[bytes]) -> list[bytes]:
        logs = {False: self._layout.log(scope), True: self._layout.candle_log(scope)}
        commands = []
        for raw in raws:
            place = place_of(raw)
            is_candle = state.take(place, raw)
            if is_candle is None:
                continue
            self.events += 1
            commands.append(pack("XADD", logs[is_candle], log_id(place.received_us), LOG_FIELD, raw))
            if place.topic == Kind.ORDERS:
                commands += self._order_commands(scope, raw)
        return commands

    def _order_commands(self, scope: str, raw: bytes) -> list[bytes]:
        order, layout = order_state(raw), self._layout
        key, open_orders = layout.latest(scope, Kind.ORDERS, order.order_id), layout.latest(scope, Kind.ORDERS)
        name = key.removeprefix(f"{open_orders}:")
        if order.is_final:
            return [pack("SET", key, raw, "EX", _FINAL_ORDER_TTL_S), pack("SREM", open_orders, name)]
        return [pack("SET", key, raw), pack("SADD", open_orders, name)]

    def _scope_commands(self, scope: str, state: ScopeState) -> list[bytes]:
        layout = self._layout
        fields: dict[str, Any] = {LOG_ID_FIELD: secrets.token_hex(8), RECEIVED_FIELD: state.last_us} | state.seqs
        flat = [part for pair in fields.items() for part in pair]
        return [
            *(pack("SET", layout.latest(scope, topic), raw) for topic, raw in state.latest.items()),
            pack("SET", layout.epoch(scope), state.epoch),
            pack("HSET", layout.seq(scope), *flat),
        ]

    async def _clear(self, scope: str) -> None:
        """Delete what a bridge or an import has left of a scope; groups and positions of readers stay."""
        layout = self._layout
        topics = pairs(await self._stream.command("HGETALL", layout.seq(scope)))
        orders = await self._stream.command("SMEMBERS", layout.latest(scope, Kind.ORDERS))
        open_orders = layout.latest(scope, Kind.ORDERS)
        keys = [layout.log(scope), layout.candle_log(scope), layout.seq(scope), layout.status(scope), open_orders]
        keys += [layout.latest(scope, topic) for topic in topics]
        keys += [f"{open_orders}:{name.decode(errors='replace')}" for name in orders]
        for begin in range(0, len(keys), _KEYS_AT_ONCE):
            await self._send([pack("DEL", *keys[begin : begin + _KEYS_AT_ONCE])])

    async def _send(self, commands: Sequence[bytes]) -> None:
        if not commands:
            return
        for reply in await self._stream.send(b"".join(commands), replies=len(commands)):
            if isinstance(reply, ReplyError):
                raise reply

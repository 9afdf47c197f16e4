"""The one connection that reads logs: every market scope's ticks, in batches, always from a concrete id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentexchange.redis import ReplyError, RespStream, pack

from .commands import place_of

if TYPE_CHECKING:
    from agentexchange_schemas import Layout

    from .inbox import Inbox
    from .options import SharedOptions

__all__ = ["LogReader"]


class LogReader:
    """Reads on from ``cursors``, and moves them as it goes: they outlive the connection.

    Args:
        stream: a connection of its own, since its reads block.
        layout: the names.
        cursors: scope to the id of the last entry that was handed over.
        missed: scope to the place up to which entries were written while this client was away.
        inbox: takes the entries.
        options: batch size, waiting and gathering times.
    """

    def __init__(
        self,
        stream: RespStream,
        layout: Layout,
        cursors: dict[str, bytes],
        *,
        missed: dict[str, int],
        inbox: Inbox,
        options: SharedOptions,
    ) -> None:
        self._stream = stream
        self._cursors = cursors
        self._missed = missed
        self._inbox = inbox
        self._options = options
        self._scopes = {layout.log(scope).encode(): scope for scope in cursors}

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            ReplyError: the server refuses.
            LinkClosedError: the connection is gone.
        """
        while True:
            reply = await self._read()
            read = sum(self._hand_over(key, entries) for key, entries in reply or ())
            if 0 < read < self._options.log_count:
                await self._options.sleep(self._options.log_gather_s)

    async def _read(self) -> Any:
        options = self._options
        packed = pack(
            "XREAD",
            "COUNT",
            options.log_count,
            "BLOCK",
            int(options.log_block_s * 1000),
            "STREAMS",
            *self._scopes,
            *(self._cursors[scope] for scope in self._scopes.values()),
        )
        timeout_s = options.log_block_s + options.stream.reply_timeout_s
        reply = (await self._stream.send(packed, timeout_s=timeout_s))[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def _hand_over(self, key: bytes, entries: list[Any]) -> int:
        scope = self._scopes[key]
        self._cursors[scope] = entries[-1][0]
        self._inbox.on_entries(scope, entries, self._source(scope, entries))
        return len(entries)

    def _source(self, scope: str, entries: list[Any]) -> str:
        if scope in self._missed:
            if place_of(entries[0][0]) <= self._missed[scope]:
                return "recovered"
            del self._missed[scope]
        return "live"

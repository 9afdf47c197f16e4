"""A bare client: the websockets library and json, nothing of ours."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

KEY = "ak_live_sandbox"
QUIET = logging.getLogger("tests.bare")
QUIET.setLevel(logging.INFO)  # below, the library prints the address, key included


class Bare:
    """One connection that can ask and be told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def raw(self) -> str | bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.socket.recv()

    async def next(self) -> Any:
        return json.loads(await self.raw())

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.next()

    async def subscribe(self, channel: str, **fields: Any) -> Any:
        return await self.ask({"action": "subscribe", "channel": channel, **fields})

    async def unsubscribe(self, channel: str, **fields: Any) -> Any:
        return await self.ask({"action": "unsubscribe", "channel": channel, **fields})

    async def proves_silent(self) -> None:
        """Nothing was sent before the answer to a question asked now."""
        assert await self.ask({"action": "silent?"}) == error("UNKNOWN_ACTION")

    async def close_code(self) -> int | None:
        """The close code, once the server has closed; frames before it are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        return self.socket.protocol.close_code


class _AnyText:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(other)

    __hash__ = None  # type: ignore[assignment]


def error(code: str) -> dict[str, Any]:
    """An error frame: no channel, no id, some message."""
    return {"type": "error", "code": code, "message": _AnyText()}


@asynccontextmanager
async def bare(url: str, *, key: str = KEY, path: str = "/ws/v1", **options: Any) -> AsyncIterator[Bare]:
    target = f"{url}{path}?api_key={key}"
    async with connect(target, open_timeout=PATIENCE_S, close_timeout=1, logger=QUIET, **options) as socket:
        yield Bare(socket)

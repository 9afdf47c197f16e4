"""The one connection for questions: opened when first used, and again after it was lost."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from agentexchange.errors import ConnectionError as PublicConnectionError
from agentexchange.redis import RedisLinkError, ReplyError, RespStream, StreamOptions, final_error, pack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentexchange._urls import RedisUrl

__all__ = ["Link"]

Command = tuple[str | bytes | int, ...]
_OPTIONS: Final = StreamOptions()


class Link:
    """Shared by all who ask; answers come in the order of asking.

    Args:
        url: the server.
        name: of the connection, for ``CLIENT LIST``.
        options: its limits.
    """

    def __init__(self, url: RedisUrl, *, name: str, options: StreamOptions = _OPTIONS) -> None:
        self.url = url
        self._name = name
        self._options = options
        self._stream: RespStream | None = None
        self._opening = asyncio.Lock()

    async def stream(self) -> RespStream:
        """The connection.

        Raises:
            RedisLinkError: it cannot be opened; so does each method here.
        """
        async with self._opening:
            if self._stream is None or self._stream.is_closed:
                self._stream = await RespStream.connect(self.url, name=self._name, options=self._options)
            return self._stream

    async def command(self, *command: str | bytes | int) -> Any:
        """One command, its reply.

        Raises:
            ReplyError: the server refuses it.
        """
        return await (await self.stream()).command(*command)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """All in one round trip; a refusal stands as `ReplyError` in its place."""
        if not commands:
            return []
        stream = await self.stream()
        return await stream.send(b"".join(pack(*command) for command in commands), replies=len(commands))

    @contextmanager
    def public_errors(self) -> Iterator[None]:
        """What is raised within leaves as `agentexchange.ConnectionError`."""
        try:
            yield
        except ReplyError as exc:
            raise final_error(exc, self.url) from exc
        except RedisLinkError as exc:
            raise PublicConnectionError(f"Redis at {self.url} does not answer: {exc}") from exc

    def close(self) -> None:
        """End the connection; the next question opens another. Idempotent."""
        if self._stream is not None:
            self._stream.close()

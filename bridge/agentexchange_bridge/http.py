"""A small HTTP server on the worker's own loop: GET and HEAD of a few pages, bounded in size, time and number.

On the loop and not in a thread, so that an answer is proof that the loop runs.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from agentexchange._urls import address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["HttpAddress", "HttpServer", "Page"]

MAX_REQUEST_BYTES: Final = 8192  # request line and headers
MAX_CONNECTIONS: Final = 16
REQUEST_TIMEOUT_S: Final = 5.0  # to send the request, and again to take the answer

TEXT: Final = "text/plain; charset=utf-8"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``host:port``, with an IPv6 host in brackets.

        Raises:
            ValueError: anything else; the message names the form.
        """
        host, _, port = text.strip().rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not bare or (":" in bare) != host.startswith("[") or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - TCP
            raise ValueError(f"{text[:60]!r} is not host:port such as 127.0.0.1:9464 (port 0: a free one), or 'off'")
        return cls(bare, int(port))

    def __str__(self) -> str:
        return address(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT

    def encode(self, *, head: bool) -> bytes:
        """The bytes on the wire; without the body for HEAD."""
        lines = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else self.body)


class HttpServer:
    """Serves ``pages``: a path to a function that makes its page, called on the loop at each request.

    From `open` to `close`. One request per connection; connections beyond `MAX_CONNECTIONS` are closed at once.
    A page that raises is logged and answered with 500.
    """

    def __init__(self, pages: Mapping[str, Callable[[], Page]]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, address: HttpAddress) -> HttpAddress:
        """Bind, and return the address with the real port.

        Raises:
            OSError: the address cannot be bound.
        """
        self._server = await asyncio.start_server(
            self._accept, address.host, address.port, limit=MAX_REQUEST_BYTES, backlog=MAX_CONNECTIONS
        )
        return HttpAddress(address.host, self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and end the connections that are open."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="http")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await _read_head(reader)
            writer.write(self._answer(request))
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError):
            pass  # the other side went away or is too slow
        finally:
            writer.transport.abort()

    def _answer(self, request: bytes | None) -> bytes:
        if request is None:
            return Page(b"too large\n", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE).encode(head=False)
        match request.split(b"\r\n", 1)[0].split(b" "):
            case [b"GET" | b"HEAD" as method, target, version] if version.startswith(b"HTTP/1."):
                return self._page(target).encode(head=method == b"HEAD")
            case [_, _, version] if version.startswith(b"HTTP/1."):
                return Page(b"GET only\n", HTTPStatus.METHOD_NOT_ALLOWED).encode(head=False)
        return Page(b"not HTTP/1\n", HTTPStatus.BAD_REQUEST).encode(head=False)

    def _page(self, target: bytes) -> Page:
        path = target.split(b"?", 1)[0].decode("ascii", "replace")
        make = self._pages.get(path)
        if make is None:
            return Page(f"there is: {' '.join(sorted(self._pages))}\n".encode(), HTTPStatus.NOT_FOUND)
        try:
            return make()
        except Exception:  # noqa: BLE001 - one page that fails must not end the worker
            _log.exception("page %s failed", path)
            return Page(b"failed: see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR)


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    """The request up to its blank line; None where it is larger than the limit."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None

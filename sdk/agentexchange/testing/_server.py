"""The life of a local exchange: it listens, receives clients, lets its own work run, and closes all of them."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self
from weakref import WeakSet

from websockets.asyncio.server import Server, ServerConnection, serve

from agentexchange._urls import address
from agentexchange.testing._reception import CLOSE_TIMEOUT, Reception
from agentexchange.testing._session import RESTART

if TYPE_CHECKING:
    from agentexchange.testing._door import Door
    from agentexchange.testing._hub import Hub
    from agentexchange.testing._observe import Observations
    from agentexchange.testing._options import ServerOptions
    from agentexchange.testing._reception import Floor
    from agentexchange.testing._rest import RestDesk

__all__ = ["LocalExchange"]

_HANDSHAKE_TIMEOUT = 60.0
_MAX_MESSAGE = 64 * 1024


def _server_log() -> logging.Logger:
    """A logger below which the library's own DEBUG lines, with the key in the request line, never appear."""
    logger = logging.getLogger("agentexchange.testing.server")
    logger.setLevel(logging.ERROR)
    logger.filters[:] = [lambda record: "opening handshake failed" not in record.getMessage()]
    return logger


class LocalExchange(ABC):
    """A WebSocket server that plays the platform; ``async with`` starts and stops it.

    Args:
        options: where it listens and how it behaves.
        hub: all open sessions.
        floor: where received clients get their events.
        door: who is let in.
        rest: what answers REST.
        seen: what is counted.
    """

    _noun: ClassVar[str]

    def __init__(
        self, options: ServerOptions, *, hub: Hub, floor: Floor, door: Door, rest: RestDesk, seen: Observations
    ) -> None:
        self._listens = options
        self._knobs = options.knobs()
        self._seen = seen
        self._hub = hub
        self._door = door
        self._rest = rest
        self._reception = Reception(options=options, knobs=self._knobs, floor=floor, door=door, rest=rest, seen=seen)
        self._accepted: WeakSet[ServerConnection] = WeakSet()
        self._port = 0
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    async def _work(self) -> None:
        """Let events come until cancelled."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._listens.dialect} {self.url if self._task else 'not started'}>"

    @property
    def port(self) -> int:
        """The port that it listens on, 0 before it runs."""
        return self._port

    @property
    def url(self) -> str:
        """The base URL for a client, such as ``ws://127.0.0.1:43210``."""
        return f"ws://{self._place}"

    @property
    def rest_url(self) -> str:
        """The base URL of REST, such as ``http://127.0.0.1:43210``."""
        return f"http://{self._place}"

    @property
    def _place(self) -> str:
        return address(self._listens.host, self._port)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen and let events come.

        Raises:
            OSError: the address cannot be listened on.
            RuntimeError: it was started before; it runs once.
        """
        if self._task is not None:
            raise RuntimeError(f"a {self._noun} runs once: make another one")
        listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(listening), name=type(self).__name__)
        try:
            await asyncio.wait((self._task, listening), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self._task.done():
            listening.cancel()
            await self._task

    async def stop(self) -> None:
        """Close every connection with 1012 and stop listening; again, or before a start: nothing.

        Raises:
            Exception: what ended it before, if anything did.
        """
        if self._task is not None and not self._closing:
            self._task.cancel()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Return when it has stopped, raise when it failed."""
        if self._task is not None:
            await asyncio.wait((self._task,))
            if not self._task.cancelled():
                self._task.result()

    async def _run(self, listening: asyncio.Future[None]) -> None:
        server = await self._serve()
        try:
            self._port = server.sockets[0].getsockname()[1]
            listening.set_result(None)
            await self._work()
        except Exception as failure:
            self._seen.fail(failure)
            raise
        finally:
            self._closing = True  # from here on a stop waits: a cancellation would cut the clean-up short
            for session in tuple(self._hub.sessions.values()):
                session.end(RESTART)
            self._door.open_gate()
            self._rest.hurry()
            await _accept_no_more(server)
            server.close(close_connections=False)  # each handler closes its own with 1012
            await self._cut_off_rest(server)

    async def _cut_off_rest(self, server: Server) -> None:
        """Cut off those that never asked for a handshake, and after a while those that do not close."""
        self._cut_off([connection for connection in self._accepted if connection.request is None])
        closed = asyncio.ensure_future(server.wait_closed())
        await asyncio.wait((closed,), timeout=2 * CLOSE_TIMEOUT)
        self._cut_off(list(self._accepted))
        await closed

    @staticmethod
    def _cut_off(connections: list[ServerConnection]) -> None:
        for connection in connections:
            if hasattr(connection, "transport"):  # not in the turn in which it is accepted
                connection.transport.abort()

    async def _serve(self) -> Server:
        options = self._listens
        return await serve(
            self._reception.attend,
            options.host,
            options.port,
            process_request=self._reception.admit,
            create_connection=self._connection,  # type: ignore[arg-type]  # documented: "a wrapper or a subclass"
            compression="deflate" if options.compression else None,
            server_header=None,
            ping_interval=None,
            open_timeout=_HANDSHAKE_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            max_size=_MAX_MESSAGE,
            logger=_server_log(),
        )

    def _connection(self, *args: Any, **kwargs: Any) -> ServerConnection:
        connection = ServerConnection(*args, **kwargs)
        self._accepted.add(connection)
        return connection


async def _accept_no_more(server: Server) -> None:
    """Let those connections begin that are accepted: asyncio begins none for a closed server, and loses its socket."""
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener)
    await asyncio.sleep(0)

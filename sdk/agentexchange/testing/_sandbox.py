"""The sandbox exchange: a local WebSocket server that behaves as the platform does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Self, Unpack
from weakref import WeakSet

from websockets.asyncio.server import Server, ServerConnection, serve

from agentexchange.testing._control import SandboxControl
from agentexchange.testing._door import Door
from agentexchange.testing._engine import Engine, Pacer
from agentexchange.testing._hub import Hub
from agentexchange.testing._observe import Observations
from agentexchange.testing._options import SandboxKeywords, SandboxOptions
from agentexchange.testing._reception import CLOSE_TIMEOUT, Reception
from agentexchange.testing._rest import RestDesk
from agentexchange.testing._session import RESTART

__all__ = ["SandboxExchange"]

_TURN = 0.005  # seconds between two batches of ticks
_IDLE_TURN = 0.1
_HANDSHAKE_TIMEOUT = 60.0
_MAX_MESSAGE = 64 * 1024


def _server_log() -> logging.Logger:
    """A logger below which the library's own DEBUG lines, with the key in the request line, never appear."""
    logger = logging.getLogger("agentexchange.testing.server")
    logger.setLevel(logging.ERROR)
    logger.filters[:] = [lambda record: "opening handshake failed" not in record.getMessage()]
    return logger


class SandboxExchange:
    """A local exchange to test against; ``async with`` starts and stops it.

    It speaks the platform's WebSocket protocol as strictly as the live platform does (``dialect="live"``),
    or as its documentation page promises (``dialect="page"``). ``docs/sandbox.md`` has the whole list.

    Args:
        host: address to listen on.
        port: port, 0 for a free one (see ``port`` and ``url`` once it runs).
        pairs: number of pairs; BTCUSDT, ETHUSDT and SOLUSDT come first.
        rate: ticks per second over all pairs, 0 for those of ``control.tick`` alone.
        seed: same seed, same pairs, prices, quantities and orders.
        api_keys: the keys that are let in; each has an account of its own.
        api_secret: what REST requests must name beside a key; None: the key will do.
        dialect: ``live`` or ``page``.
        push_candles: push candles; None as the dialect does (page: yes, live: no).
        order_rate: order updates per second and key.
        heartbeat_interval: seconds between two pings.
        pong_timeout: seconds that an answer may take before the connection is closed.
        subscription_limit: per connection, None for no limit; by default as the dialect (live: 10).
        slow_client: what happens when a client does not read: ``skip`` (it gets no ticks), ``freeze``
            (nobody gets ticks, as on the live platform) or ``disconnect``.
        max_buffer: unsent bytes from which a client is slow; at twice that it is cut off.
        compression: offer permessage-deflate.
        clock: Unix seconds; all timestamps and candles follow it.
        journal: called with every event sent, in order.

    Raises:
        ValueError: an option outside its range.
        OSError: on entering, when the address cannot be listened on.
    """

    def __init__(self, **options: Unpack[SandboxKeywords]) -> None:
        self._options = SandboxOptions(**options)
        self._knobs = self._options.knobs()
        self._seen = Observations()
        self._hub = Hub(
            dialect=self._options.rules,
            seen=self._seen,
            slow_client=self._options.slow_client,
            journal=self._options.journal,
        )
        self._engine = Engine(self._options, self._hub)
        self._door = Door(self._options)
        self._rest = RestDesk(
            engine=self._engine, door=self._door, seen=self._seen, api_secret=self._options.api_secret
        )
        self.control = SandboxControl(
            knobs=self._knobs, hub=self._hub, engine=self._engine, door=self._door, rest=self._rest, seen=self._seen
        )
        self._reception = Reception(
            options=self._options, knobs=self._knobs, hub=self._hub, door=self._door, rest=self._rest, seen=self._seen
        )
        self._accepted: WeakSet[ServerConnection] = WeakSet()
        self._port = 0
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<SandboxExchange {self._options.dialect} {self.url if self._task else 'not started'}>"

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
        host = self._options.host
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen and let the market run.

        Raises:
            OSError: the address cannot be listened on.
            RuntimeError: it was started before; a sandbox runs once.
        """
        if self._task is not None:
            raise RuntimeError("a sandbox runs once: make another one")
        listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(listening), name="sandbox-exchange")
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
            Exception: what ended the sandbox before, if anything did.
        """
        if self._task is not None and not self._closing:
            self._task.cancel()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Return when the sandbox has stopped, raise when it failed."""
        if self._task is not None:
            await asyncio.wait((self._task,))
            if not self._task.cancelled():
                self._task.result()

    async def _run(self, listening: asyncio.Future[None]) -> None:
        server = await self._serve()
        try:
            self._port = server.sockets[0].getsockname()[1]
            listening.set_result(None)
            await self._market()
        except Exception as failure:
            self._seen.fail(failure)
            raise
        finally:
            self._closing = True  # from here on a stop waits: a cancellation would cut the clean-up short
            for session in tuple(self._hub.sessions.values()):
                session.end(RESTART)
            self._door.open_gate()
            self._rest.hurry()
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
        options = self._options
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

    async def _market(self) -> None:
        """Let ticks and orders come at their rates until cancelled."""
        clock = asyncio.get_running_loop().time
        ticks, orders = Pacer(clock()), Pacer(clock())
        while True:
            fastest = max(self._knobs.rate, self._knobs.order_rate, 1 / _IDLE_TURN)
            await asyncio.sleep(max(1 / fastest, _TURN))
            now = clock()
            self._engine.ticks(ticks.due(now, self._knobs.rate))
            updates = orders.due(now, self._knobs.order_rate)
            if updates:
                for key in self._door.known:
                    self._engine.orders(key, updates)

    def _connection(self, *args: Any, **kwargs: Any) -> ServerConnection:
        connection = ServerConnection(*args, **kwargs)
        self._accepted.add(connection)
        return connection

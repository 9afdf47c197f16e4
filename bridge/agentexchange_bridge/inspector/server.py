"""The inspector's web server: NiceGUI's pages behind the guard, on a socket of our own, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from agentexchange import AgentExchangeError

from .guard import LOOPBACK_NAMES, Guard
from .page import show_pages
from .sign_in import SignIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr

    from .feed import Inspection

__all__ = ["ServerOptions", "bind", "is_loopback", "serve"]

RECONNECT_S: Final = 8.0  # a viewer's page lives on for so long without a connection
_STOP_S: Final = 2  # for answers that are under way
_MAX_CONNECTIONS: Final = 256
_MAX_MESSAGE: Final = 1 << 20  # bytes, from a browser


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where to listen, and the token to ask for; None: everybody who reaches the port may look."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: SecretStr | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on ``host``."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def bind(options: ServerOptions) -> socket.socket:
    """The listening socket.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    return socket.create_server((options.host, options.port), family=family, backlog=64)


async def serve(
    inspection: Inspection,
    sock: socket.socket,
    options: ServerOptions,
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Serve the pages of ``inspection``, which must be entered, until ``stop`` is set. Once per process, as NiceGUI.

    Args:
        inspection: what is shown.
        sock: from `bind`; closed at the end.
        options: those that it was bound with.
        stop: ends it within seconds.
        ready: called when the first page can be opened.
    """
    _quiet()
    viewers = show_pages(inspection)
    server = _Server(uvicorn.Config(
        _guarded(options),
        http="h11",
        ws="wsproto",
        ws_max_size=_MAX_MESSAGE,
        ws_per_message_deflate=False,  # costs more than it saves on a local network
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_STOP_S,
    ))  # fmt: skip
    running = asyncio.create_task(server.serve(sockets=[sock]), name="inspector")
    stopped = asyncio.create_task(_stop(server, stop), name="stop inspector")
    try:
        await _started(server, running)
        ready()
        await running
    finally:
        stopped.cancel()
        server.should_exit = True
        await asyncio.gather(running, stopped, *(viewer.close() for viewer in viewers), return_exceptions=True)
        sock.close()


class _Server(uvicorn.Server):
    """Leaves the signals to the command, which stops everything in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _guarded(options: ServerOptions) -> Guard:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    ui.run_with(
        app,
        title="AgentExchange inspector",
        dark=None,
        language="en-US",
        tailwind=False,  # its runtime watches every change of the page, and the pages have a style sheet of their own
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_S,
        show_welcome_message=False,
    )
    sign_in = None if options.token is None else SignIn(options.token)
    is_open = sign_in is None and is_loopback(options.host)
    hosts = LOOPBACK_NAMES | {options.host} if is_open else None  # a token is asked for under any name, as of a proxy
    return Guard(app, sign_in=sign_in, hosts=hosts)


async def _stop(server: _Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


async def _started(server: _Server, running: asyncio.Task[None]) -> None:
    while not (server.started or running.done()):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)


def _quiet() -> None:
    """Requests carry moments and names: what is logged of them is only what failed, without addresses."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "socketio", "engineio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("nicegui").addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    """That Redis is away is told on the page, and needs no traceback in the log."""
    return not isinstance(record.msg, AgentExchangeError)

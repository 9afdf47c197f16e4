"""The examples run as they are, straight and shared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentexchange_bridge.demo._processes import Process, child_environment
from tests.bridge.cli._run import KEY, start

if TYPE_CHECKING:
    from agentexchange.testing import SandboxExchange
    from tests._servers import RedisServer

EXAMPLES = Path(__file__).parents[1] / "examples"
EXPECTED = {
    "crew_consumer": r"^ticks=[1-9]\d* orders=[1-9]\d* BTCUSDT=\d",
    "price_stream": r"^ETHUSDT \d+\.\d+ \(\d+ ms old\)",
    "async_loop": r"^\d+ pairs; \w+ moved [+-]\d",
}


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.sandbox_exchange(rate=300, pairs=10, api_keys=(KEY,), order_rate=20)
@pytest.mark.parametrize("name", EXPECTED)
async def test_it_runs_straight_and_shared(
    name: str, sandbox_exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    flags = ("--upstream-url", sandbox_exchange.url, "--redis-url", redis_server.url, "--http", "off")
    async with start("bridge", *flags):
        for url in (sandbox_exchange.url, redis_server.url):
            environment = child_environment(
                AGENTEXCHANGE_API_KEY=KEY, AGENTEXCHANGE_WS_URL=url, ROUNDS="1", CREW_REPORT_S="0.3"
            )
            argv = [sys.executable, str(EXAMPLES / f"{name}.py")]
            async with Process(name, argv, environment=environment) as example:
                await example.wait_line(EXPECTED[name])
                assert not any("Traceback" in line or KEY in line for line in example._lines)

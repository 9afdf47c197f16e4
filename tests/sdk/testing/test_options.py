"""Options are checked where the sandbox is made, in words."""

from __future__ import annotations

from typing import Any

import pytest

import agentexchange.testing
from agentexchange.testing import SandboxExchange, SandboxThread
from tests.sdk.testing._bare import bare


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dialect": "other"}, "dialect must be one of live, page"),
        ({"pairs": 0}, "pairs must be 1 to"),
        ({"pairs": 10**6}, "pairs must be 1 to"),
        ({"rate": -1}, "rate must be 0 to"),
        ({"rate": float("nan")}, "rate must be 0 to"),
        ({"order_rate": -1}, "order_rate must be"),
        ({"port": 70000}, "port must be 0 to 65535"),
        ({"api_keys": ()}, "api_keys"),
        ({"api_keys": ("ak", "")}, "api_keys"),
        ({"api_keys": "ak_live_one"}, "api_keys"),
        ({"heartbeat_interval": 0}, "heartbeat_interval must be above 0"),
        ({"pong_timeout": float("inf")}, "pong_timeout must be above 0"),
        ({"max_buffer": 0}, "max_buffer must be above 0"),
        ({"slow_client": "hug"}, "slow_client must be one of skip, freeze, disconnect"),
        ({"subscription_limit": -1}, "subscription_limit must be 0 or more"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    for kind in (SandboxExchange, SandboxThread):
        with pytest.raises(ValueError, match=words):
            kind(**options)


async def test_a_sandbox_runs_once() -> None:
    exchange = SandboxExchange(rate=0, pairs=1)
    await exchange.stop()  # before a start: nothing to do
    async with exchange:
        with pytest.raises(RuntimeError, match="runs once"):
            await exchange.start()
    await exchange.stop()
    with pytest.raises(RuntimeError, match="runs once"):
        await exchange.start()


async def test_a_taken_port_is_an_os_error() -> None:
    async with SandboxExchange(rate=0, pairs=1) as first:
        assert first.url == f"ws://127.0.0.1:{first.port}"
        with pytest.raises(OSError, match="address already in use"):
            await SandboxExchange(rate=0, pairs=1, port=first.port).start()


async def test_a_failing_journal_ends_the_sandbox_and_is_told() -> None:
    def journal(_: object) -> None:
        raise LookupError("full")

    exchange = SandboxExchange(rate=1000, pairs=1, journal=journal)
    await exchange.start()
    async with bare(exchange.url) as client:
        await client.subscribe("ticker_all")
        with pytest.raises(LookupError, match="full"):
            await exchange.control.wait_for_pongs(1)
        assert await client.close_code() == 1012
    with pytest.raises(LookupError, match="full"):
        await exchange.stop()


def test_public_names_both_ways() -> None:
    package = agentexchange.testing
    for name in package.__all__:
        assert getattr(package, name).__class__ is not None
    assert set(package.__all__) == set(package._HOMES)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = package.nothing_here

"""A client that stops reading: bounded memory, and three ways to treat it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.sdk.testing._bare import Bare, bare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.testing import SandboxExchange

BUFFER = 64 * 1024
pytestmark = pytest.mark.sandbox_exchange(rate=0, pairs=5, max_buffer=BUFFER)


@asynccontextmanager
async def deaf(exchange: SandboxExchange, channel: str = "ticker_all") -> AsyncIterator[asyncio.StreamWriter]:
    """A client by hand that subscribes and then reads nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", exchange.port, limit=1024)
    writer.write(
        b"GET /ws/v1?api_key=ak_live_sandbox HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    message = b'{"action":"subscribe","channel":"%s"}' % channel.encode()
    writer.write(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    try:
        await exchange.control.wait_for_subscriptions("ticker:all" if channel == "ticker_all" else channel)
        yield writer
    finally:
        writer.transport.abort()


def unsent(exchange: SandboxExchange) -> int:
    return sum(session.unsent for session in exchange._hub.sessions.values())


async def flood(exchange: SandboxExchange) -> None:
    """Ticks until the deaf client's system buffers are full and more than its share is held back."""
    for _ in range(1000):
        exchange.control.tick(500)
        await asyncio.sleep(0)
        if any(session.slow for session in exchange._hub.sessions.values()):
            return
    pytest.fail("the client never became slow")


async def test_skip_holds_back_its_ticks_and_no_one_else_s(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with deaf(sandbox_exchange):
        await flood(sandbox_exchange)
        held = unsent(sandbox_exchange)
        async with bare(sandbox_exchange.url) as client:
            await client.subscribe("ticker", symbol="BTCUSDT")
            control.push_tick("BTCUSDT", price="1")
            assert (await client.next())["data"]["price"] == "1"
            control.tick(500)
        assert unsent(sandbox_exchange) <= held
        assert control.ticks_dropped == 501
        assert control.connections[0].ticks_dropped == 501


@pytest.mark.sandbox_exchange(slow_client="freeze")
async def test_freeze_stops_ticks_for_everybody_while_pings_go_on(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with deaf(sandbox_exchange) as writer, bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker", symbol="ETHUSDT")
        await flood(sandbox_exchange)
        before = control.frames_sent["tick"]
        control.tick(50)
        assert control.frames_sent["tick"] == before
        control.ping()
        await skip_to_ping(client)
        writer.transport.abort()
        await control.wait_for_connections(1)
        control.push_tick("ETHUSDT", price="2")
        assert (await client.next())["data"]["price"] == "2"


async def skip_to_ping(client: Bare) -> None:
    while (await client.next()).get("type") != "ping":
        pass


@pytest.mark.sandbox_exchange(slow_client="disconnect")
async def test_disconnect_cuts_it_off(sandbox_exchange: SandboxExchange) -> None:
    async with deaf(sandbox_exchange):
        await flood(sandbox_exchange)
        sandbox_exchange.control.tick(1)
        await sandbox_exchange.control.wait_for_connections(0)


async def test_what_is_not_a_tick_cuts_it_off_at_twice_the_bound(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with deaf(sandbox_exchange, "orders"):
        for _ in range(10_000):
            control.push_order({"order_id": "x" * 10_000})
            assert unsent(sandbox_exchange) < 2 * BUFFER + 20_000
            await asyncio.sleep(0)
            if not control.connections:
                break
        await control.wait_for_connections(0)


async def test_stopping_does_not_wait_for_it(sandbox_exchange: SandboxExchange) -> None:
    async with deaf(sandbox_exchange):
        await flood(sandbox_exchange)
        async with asyncio.timeout(10):
            await sandbox_exchange.stop()

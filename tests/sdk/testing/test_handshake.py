"""Who is let in, and the faults of the handshake."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agentexchange.testing import SandboxExchange
from tests.sdk.testing._bare import KEY, QUIET, bare

if TYPE_CHECKING:
    from agentexchange.testing._server import LocalExchange

pytestmark = pytest.mark.sandbox_exchange(rate=0, pairs=3)


async def refusal(url: str) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, logger=QUIET):
            pass
    return caught.value


@pytest.mark.parametrize(
    "path",
    [
        "/ws/v1?api_key=ak_wrong",
        "/ws/v1?api_key=",
        "/ws/v1",
        "/ws/v1?key=ak_live_sandbox",
        "/?api_key=ak_live_sandbox",
        "/ws/v2?api_key=ak_live_sandbox",
        "/ws/v1/?api_key=ak_live_sandbox",
    ],
)
async def test_403_with_an_empty_body(exchange: LocalExchange, path: str) -> None:
    refused = await refusal(exchange.url + path)
    assert refused.response.status_code == 403
    assert refused.response.body == b""
    assert exchange.control.handshakes_refused == 1
    assert exchange.control.connections_total == 0


async def test_a_revoked_key_is_refused_and_open_connections_stay(exchange: LocalExchange) -> None:
    control = exchange.control
    async with bare(exchange.url) as client:
        control.refuse_keys(KEY)
        assert (await refusal(f"{exchange.url}/ws/v1?api_key={KEY}")).response.status_code == 403
        assert (await client.subscribe("orders"))["type"] == "subscribed"
    control.accept_keys(KEY, "ak_new")
    async with bare(exchange.url), bare(exchange.url, key="ak_new"):
        await control.wait_for_connections(2)


async def test_revoking_all_keys_with_another_answer(exchange: LocalExchange) -> None:
    exchange.control.refuse_keys(code=401)
    refused = await refusal(f"{exchange.url}/ws/v1?api_key={KEY}")
    assert refused.response.status_code == 401
    exchange.control.refuse_keys(code=1008)
    async with bare(exchange.url) as client:
        assert await client.close_code() == 1008


@pytest.mark.parametrize("status", [403, 429, 500, 503, 499])
async def test_every_handshake_can_be_refused_with_any_status(exchange: LocalExchange, status: int) -> None:
    exchange.control.refuse_handshakes(status)
    refused = await refusal(f"{exchange.url}/ws/v1?api_key={KEY}")
    assert (refused.response.status_code, refused.response.body) == (status, b"")
    await exchange.control.wait_for_refusals(1)
    exchange.control.accept_handshakes()
    async with bare(exchange.url):
        pass


@pytest.mark.parametrize("code", [0, 101, 200, 302, 999, 1005, 1006, 1015, 5000])
async def test_refusals_that_cannot_be_are_refused(exchange: LocalExchange, code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        exchange.control.refuse_handshakes(code)
    with pytest.raises(ValueError, match=str(code)):
        exchange.control.refuse_keys(code=code)


async def test_held_handshakes_are_answered_when_let_go(exchange: LocalExchange) -> None:
    control = exchange.control
    control.hold_handshakes()

    async def come() -> None:
        async with bare(exchange.url):
            pass

    async with asyncio.TaskGroup() as group:
        coming = group.create_task(come())
        with pytest.raises(TimeoutError, match="no 1 accepted connections within"):
            await control.wait_for_connections_total(1, timeout=0.05)
        assert not coming.done()
        control.accept_handshakes()
        await control.wait_for_connections_total(1)


async def test_a_delayed_handshake_is_answered(exchange: LocalExchange) -> None:
    exchange.control.delay_handshakes(0.01)
    async with bare(exchange.url) as client:
        assert (await client.subscribe("orders"))["type"] == "subscribed"


async def test_stopping_does_not_wait_for_one_that_never_shakes_hands(
    exchange: LocalExchange,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", exchange.port)
    async with asyncio.timeout(10):
        await exchange.stop()
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_the_key_is_in_no_log_line_and_no_repr(exchange: LocalExchange, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("websockets.client", "websockets"):  # the bare client's own lines are not ours to answer for
        caplog.set_level(logging.ERROR, logger=name)
    with caplog.at_level(logging.DEBUG):
        async with bare(exchange.url) as client:
            await client.subscribe("orders")
            texts = [repr(exchange), repr(exchange.control.connections), str(exchange._options)]
        await refusal(f"{exchange.url}/ws/v1?api_key=ak_wrong")
        reader, writer = await asyncio.open_connection("127.0.0.1", exchange.port)
        writer.write(b"GET /ws/v1?api_key=" + KEY.encode() + b"\r\n\r\n")
        await reader.read()
        writer.close()
    assert KEY not in caplog.text
    assert "ak_wrong" not in caplog.text
    assert not any(KEY in text for text in texts)


async def test_a_client_that_connects_while_it_stops_leaves_no_socket_open() -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    for turns in range(6):  # of the loop, from the connection to the stop
        async with SandboxExchange(rate=0) as exchange:
            port = int(exchange.url.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)):
                for _ in range(turns):
                    await asyncio.sleep(0)
                await exchange.stop()
    assert faults == []

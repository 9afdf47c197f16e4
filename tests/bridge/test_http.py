from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from agentexchange_bridge import http
from agentexchange_bridge.http import HttpAddress, HttpServer, Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOOPBACK = HttpAddress("127.0.0.1", 0)


@pytest.fixture
async def address() -> AsyncIterator[HttpAddress]:
    def fails() -> Page:
        raise RuntimeError("out of order")

    server = HttpServer({
        "/healthz": lambda: Page(b"ok\n"),
        "/readyz": lambda: Page(b"no\n", HTTPStatus.SERVICE_UNAVAILABLE),
        "/fails": fails,
    })  # fmt: skip
    yield await server.open(LOOPBACK)
    await server.close()


async def exchange(address: HttpAddress, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await _read_or_reset(reader)
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_get_answers_the_page_and_closes(address: HttpAddress) -> None:
    head, _, body = (await exchange(address, b"GET /healthz?x=1 HTTP/1.1\r\nHost: h\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 3" in head
    assert b"Connection: close" in head
    assert body == b"ok\n"


async def test_head_answers_without_the_body(address: HttpAddress) -> None:
    answer = await exchange(address, b"HEAD /healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /readyz HTTP/1.1", 503),
        (b"GET /nothing HTTP/1.1", 404),
        (b"GET /\xff\xfe HTTP/1.1", 404),
        (b"GET /fails HTTP/1.1", 500),
        (b"POST /healthz HTTP/1.1", 405),
        (b"GET /healthz", 400),
        (b"\x16\x03\x01\x02", 400),
        (b"GET /" + b"x" * http.MAX_REQUEST_BYTES + b" HTTP/1.1", 431),
    ],
)
async def test_everything_else_gets_one_clear_status(address: HttpAddress, request_line: bytes, status: int) -> None:
    answer = await exchange(address, request_line + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_a_page_that_raises_does_not_tell_the_caller_why(address: HttpAddress) -> None:
    assert b"out of order" not in await exchange(address, b"GET /fails HTTP/1.1\r\n\r\n")


async def test_a_request_that_never_ends_is_cut(address: HttpAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_TIMEOUT_S", 0.05)
    assert await exchange(address, b"GET /healthz HT") == b""


async def test_connections_beyond_the_bound_are_closed_and_the_others_are_served(
    address: HttpAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)
    held = [await asyncio.open_connection(address.host, address.port) for _ in range(2)]
    assert await exchange(address, b"GET /healthz HTTP/1.1\r\n\r\n") == b""
    for reader, writer in held:
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        await hang_up(writer)


async def test_close_ends_open_connections_and_frees_the_port() -> None:
    server = HttpServer({})
    address = await server.open(LOOPBACK)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    await asyncio.sleep(0)  # let the server accept
    await server.close()
    async with asyncio.timeout(10):
        assert await _read_or_reset(reader) == b""
    await hang_up(writer)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(address.host, address.port)


async def _read_or_reset(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_an_address_in_use_is_an_oserror(address: HttpAddress) -> None:
    with pytest.raises(OSError, match="address already in use"):
        await HttpServer({}).open(address)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_it_works_on_both_loops(loop: str) -> None:
    async def once() -> bytes:
        server = HttpServer({"/": lambda: Page(b"here")})
        bound = await server.open(LOOPBACK)
        try:
            return await exchange(bound, b"GET / HTTP/1.1\r\n\r\n")
        finally:
            await server.close()

    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(once()).endswith(b"here")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9464", "127.0.0.1", 9464), ("[::1]:0", "::1", 0), (" localhost:80 ", "localhost", 80)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = HttpAddress.parse(text)
    assert (address.host, address.port) == (host, port)
    assert HttpAddress.parse(str(address)) == address


@pytest.mark.parametrize("text", ["", "9464", ":9464", "host:", "host:65536", "host:-1", "::1:80", "[::1]", "h:8o"])
def test_bad_addresses_name_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        HttpAddress.parse(text)

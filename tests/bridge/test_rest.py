from __future__ import annotations

import asyncio
import json
import logging
import ssl
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydantic import SecretStr

from agentexchange.testing import DEMO_KEY, SandboxExchange
from agentexchange_bridge import rest
from agentexchange_bridge.rest import RestClient, RestError, RestOptions, RestUrl, rest_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

KEY, SECRET = "ak_live_rest_test", "sk_live_rest_test"
NOW = datetime(2026, 2, 23, 15, 30, tzinfo=UTC)


class Server:
    """Answers every request with what a test says, byte by byte; keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.answer: Callable[[str], bytes] = lambda _path: http(b"{}")
        self.port = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(cast("asyncio.Task[Any]", asyncio.current_task()))
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.requests.append(head)
                writer.write(self.answer(head.split(" ")[1]))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def asks(self, **options: Any) -> RestClient:
        secret = SecretStr(SECRET)
        return RestClient(
            rest_url(f"http://127.0.0.1:{self.port}"), SecretStr(KEY), secret, options=RestOptions(**options)
        )


def http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def told(value: Any) -> bytes:
    return http(json.dumps(value).encode())


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.attend, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks)


@asynccontextmanager
async def closing(client: RestClient) -> AsyncIterator[RestClient]:
    try:
        yield client
    finally:
        await client.close()


# The address


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("https://exchange.example", RestUrl(True, "exchange.example", 443), "https://exchange.example:443"),
        ("http://localhost:8000/", RestUrl(False, "localhost", 8000), "http://localhost:8000"),
        ("http://[::1]:80/base/", RestUrl(False, "::1", 80, "/base"), "http://[::1]:80/base"),
    ],
)
def test_an_address_is_read(text: str, expected: RestUrl, shown: str) -> None:
    assert rest_url(text) == expected
    assert str(rest_url(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "ws://host", "https://", "https://u:pa55word@host", "https://host?k=pa55word", "https://h#pa55word",
     "https://host:pa55word", "https://ho st", "https://" + "h" * 3000],
)  # fmt: skip
def test_what_is_no_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|malformed") as caught:
        rest_url(text)
    assert "pa55word" not in str(caught.value)


# Against the sandbox exchange


async def test_the_sandboxs_account_is_read_as_events() -> None:
    async with SandboxExchange(rate=0, pairs=3, api_secret=SECRET) as exchange:
        exchange.control.step_orders(300)
        url = rest_url(exchange.rest_url)
        async with closing(RestClient(url, SecretStr(DEMO_KEY), SecretStr(SECRET))) as client:
            opened, newest = await client.open_orders(), await client.newest_orders(NOW - timedelta(days=1))
            assert (opened.gaps, newest.gaps) == ((), ())
            assert {fields["status"] for fields in opened.orders} <= {"pending", "partially_filled"}
            filled = next(fields for fields in newest.orders if fields["status"] == "filled")
            assert filled["executed_quantity"] == filled["quantity"]
            assert "executed_qty" not in filled
            assert await client.order(filled["order_id"]) == filled
            assert await client.order("no/such order") is None
            worth = await client.portfolio()
            assert list(worth)[:4] == ["total_equity", "available_cash", "unrealized_pnl", "roi_pct"]
        async with closing(RestClient(url, SecretStr(DEMO_KEY))) as client:
            with pytest.raises(RestError, match=r"refused \(HTTP 401\)"):
                await client.portfolio()


@pytest.mark.parametrize("count", [199, 200, 201, 600])
async def test_every_page_of_open_orders_is_read(count: int) -> None:
    async with SandboxExchange(rate=0, pairs=3) as exchange:
        for number in range(count):
            exchange.control.push_order({"order_id": str(number), "status": "pending"})
        async with closing(RestClient(rest_url(exchange.rest_url), SecretStr(DEMO_KEY))) as client:
            assert len((await client.open_orders()).orders) == count


# Against any answer


def numbered(first: int, count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"order_id": f"o{number}", "status": "filled", **more} for number in range(first, first + count)]


async def test_newest_orders_are_read_back_to_before_the_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "PAGE", 3)
    ages = {"0": "2026-02-23T15:30:05Z", "3": "2026-02-23T15:29:59Z"}
    async with serving() as server, closing(server.asks()) as client:

        def answer(path: str) -> bytes:
            offset = path.rpartition("=")[2]
            return told({"orders": numbered(int(offset), 3, created_at=ages[offset])})

        server.answer = answer
        page = await client.newest_orders(NOW)
        assert (len(page.orders), page.gaps) == (6, ())
        server.answer = lambda path: told(numbered(int(path.rpartition("=")[2]), 3))
        page = await client.newest_orders(NOW)
        assert (len(page.orders), page.gaps) == (12, ("the platform has more than the 12 orders that were looked at",))
        server.answer = lambda _path: told(numbered(0, 3))
        assert len((await client.newest_orders(NOW)).orders) == 3, "a server that knows no pages is asked twice"
        assert "/api/v1/trade/orders?limit=3&offset=0 " in server.requests[0]


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: {"orders": x}, lambda x: {"data": x}, lambda x: {"data": {"orders": x}}]
)
async def test_lists_are_found_in_any_common_shape(wrap: Callable[[Any], Any]) -> None:
    raw = [{"id": "1", "status": "pending", "quantity": 1.50, "price": None}, {"status": "no id"}, 7]
    async with serving() as server, closing(server.asks()) as client:
        server.answer = lambda _path: told(wrap(raw))
        page = await client.open_orders()
    (fields,) = page.orders
    assert (fields["order_id"], fields["quantity"], fields["executed_quantity"]) == ("1", "1.5", None)
    assert page.gaps == ("2 of the platform's orders are unreadable",)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"order": x, "portfolio": x}, lambda x: {"data": x}])
async def test_single_things_are_found_in_any_common_shape(wrap: Callable[[Any], Any]) -> None:
    raw = {"order_id": "a/b", "status": "filled", "filled_qty": "3", "total_equity": "12"}
    async with serving() as server, closing(server.asks()) as client:
        server.answer = lambda _path: told(wrap(raw))
        order = await client.order("a/b")
        assert order is not None
        assert order["executed_quantity"] == "3"
        assert (await client.portfolio())["total_equity"] == "12"
        assert server.requests[0].startswith("GET /api/v1/trade/order/a%2Fb HTTP/1.1\r\n")


@pytest.mark.shows_secret("httpcore's own debug log repeats what this server says; a worker's log masks it")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http(b"<html>"), "not JSON"),
        (http(b"[" * 4000), "not JSON"),
        (http(b"\xff"), "not JSON"),
        (http(b'{"order_id": NaN}'), "not JSON"),
        (http(b"7"), "holds no"),
        (http(b"{}"), "holds no list|holds no portfolio|unreadable"),
        (http(b"", "401 Unauthorized"), r"refused \(HTTP 401\)"),
        (http(SECRET.encode(), "403 Forbidden"), r"refused \(HTTP 403\)"),
        (http(b"", "500 Oops"), "HTTP 500"),
        (http(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"), "HTTP 302"),
        (http(b"x" * 5000), "larger than 4096 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "RemoteProtocolError"),
        (f"{KEY} {SECRET}\r\n\r\n".encode(), "RemoteProtocolError"),
    ],
)
async def test_an_answer_that_is_none_is_one_plain_error_without_a_secret(
    answer: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as server, closing(server.asks(max_body_bytes=4096)) as client:
        server.answer = lambda _path: answer
        for ask in (client.open_orders, client.portfolio, lambda: client.order("1")):
            with pytest.raises(RestError, match=words) as caught:
                await ask()
            seen = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(client)
            assert KEY not in seen
            assert SECRET not in seen
    # what a server echoes, httpcore's debug lines show: the bridge's own log masks secrets in whatever it writes
    logged = "".join(record.getMessage() for record in caplog.records if KEY.encode() not in answer)
    assert KEY not in logged
    assert SECRET not in logged


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async with serving() as server, closing(server.asks(timeout_s=0.05)) as client:
        server.answer = lambda _path: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
        with pytest.raises(RestError, match=r"no answer within 0\.05 s|ReadTimeout"):
            await client.portfolio()


async def test_nobody_there_is_one_plain_error() -> None:
    async with closing(RestClient(rest_url("http://127.0.0.1:1"), SecretStr(KEY))) as client:
        with pytest.raises(RestError, match="ConnectError"):
            await client.portfolio()


async def test_certificates_are_verified(certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    trusting = ssl.create_default_context(cafile=certificates / "ca.crt")
    async with serving(context) as server:
        server.answer = lambda _path: told({"total_equity": "1"})
        here, elsewhere = (rest_url(f"https://{host}:{server.port}") for host in ("127.0.0.1", "localhost"))
        for url, trust in ((here, None), (elsewhere, trusting)):
            options = RestOptions(ssl_context=trust)
            async with closing(RestClient(url, SecretStr(KEY), options=options)) as client:
                with pytest.raises(RestError, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.portfolio()
        async with closing(RestClient(here, SecretStr(KEY), options=RestOptions(ssl_context=trusting))) as client:
            assert (await client.portfolio())["total_equity"] == "1"

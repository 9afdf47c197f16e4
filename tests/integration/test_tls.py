"""Certificates of a test authority: the whole system over TLS, and whom it does not talk to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from agentexchange import AgentExchangeWS, AsyncLatestReader, ConnectionError, LatestReader  # noqa: A004 - documented
from agentexchange.testing import SandboxExchange
from tests.bridge.cli._run import KEY, one_line, run, start
from tests.integration._system import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests._servers import RedisServer

pytestmark = [pytest.mark.server, pytest.mark.debian_redis]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.crt``, for localhost ``server.crt`` and ``server.key``, and ``stranger.crt``, another authority."""
    folder = tmp_path_factory.mktemp("authority")
    own = trustme.CA()
    own.cert_pem.write_to_path(str(folder / "ca.crt"))
    trustme.CA().cert_pem.write_to_path(str(folder / "stranger.crt"))
    server = own.issue_cert("localhost")
    server.cert_chain_pems[0].write_to_path(str(folder / "server.crt"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    return folder


@contextlib.asynccontextmanager
async def over_tls(exchange: SandboxExchange, authority: Path) -> AsyncIterator[int]:
    """The port of a TLS end before the sandbox exchange."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.crt", authority / "server.key")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection("127.0.0.1", exchange.port)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, ahead), pump(behind, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def redis_of(server: RedisServer, authority: Path, *, host: str = "localhost", ca: str = "ca.crt") -> str:
    return f"rediss://{host}:{server.port}/0?ssl_ca_certs={authority / ca}"


def got_into(events: list[Any]) -> Any:
    async def handle(data: dict[str, Any]) -> None:
        events.append(data)

    return handle


async def test_the_whole_system_over_tls(make_redis: Callable[..., RedisServer], authority: Path) -> None:
    server = make_redis(tls=authority)
    url, straight, shared = redis_of(server, authority), [], []
    async with SandboxExchange(rate=100, pairs=5, api_keys=[KEY]) as exchange, over_tls(exchange, authority) as port:
        platform = f"wss://localhost:{port}"
        flags = ("--upstream-url", platform, "--redis-url", url, "--tls-ca-file", str(authority / "ca.crt"))
        async with start("bridge", *flags, "--http", "off") as bridge, contextlib.AsyncExitStack() as stack:
            await bridge.wait_line('"state": "live"')
            trust = ssl.create_default_context(cafile=authority / "ca.crt")
            for events, base_url, options in ((straight, platform, {"ssl_context": trust}), (shared, url, {})):
                ws = AgentExchangeWS(api_key=KEY, base_url=base_url, **options)  # type: ignore[arg-type]
                ws.on_ticker("BTCUSDT")(got_into(events))
                await stack.enter_async_context(ws)
            await eventually(lambda: len(straight) > 3 and len(shared) > 3)
            async with AsyncLatestReader(url) as latest:
                assert await latest.ticker("BTCUSDT") is not None


WRONG = {
    "a host name that is not in the certificate": ("127.0.0.1", "ca.crt"),
    "an authority that is not trusted": ("localhost", "stranger.crt"),
}


@pytest.mark.parametrize(("host", "ca"), WRONG.values(), ids=WRONG)
class TestRefused:
    """With one clear error, at once; the system's own authorities know the test's as little as ``stranger.crt``."""

    async def test_by_a_straight_client(self, authority: Path, redis_kind: str, host: str, ca: str) -> None:
        context = ssl.create_default_context(cafile=authority / ca)
        async with SandboxExchange(rate=0, api_keys=[KEY]) as exchange, over_tls(exchange, authority) as port:
            ws = AgentExchangeWS(api_key=KEY, base_url=f"wss://{host}:{port}", ssl_context=context)
            ws.on_ticker("BTCUSDT")(got_into([]))
            with pytest.raises(ConnectionError, match="the server's certificate is not trusted") as caught:
                await ws.connect()
            assert KEY not in str(caught.value)
            assert not exchange.control.connections_total

    async def test_by_shared_clients(
        self, make_redis: Callable[..., RedisServer], authority: Path, host: str, ca: str
    ) -> None:
        url = redis_of(make_redis(tls=authority), authority, host=host, ca=ca)
        for options in ({}, {"group": "g"}, {"resume": "r"}):
            ws = AgentExchangeWS(api_key=KEY, base_url=url, **options)  # type: ignore[arg-type]
            ws.on_order_update()(got_into([]))
            with pytest.raises(
                ConnectionError, match=r"no trusted TLS with rediss://.*(ostname|IP address|self|issuer)"
            ):
                await ws.connect()

    async def test_by_latest_readers(
        self, make_redis: Callable[..., RedisServer], authority: Path, host: str, ca: str
    ) -> None:
        url = redis_of(make_redis(tls=authority), authority, host=host, ca=ca)

        def ask() -> None:
            with LatestReader(url) as latest:
                latest.ticker("BTCUSDT")

        with pytest.raises(ConnectionError, match="certificate"):
            await asyncio.to_thread(ask)
        async with AsyncLatestReader(url) as latest:
            with pytest.raises(ConnectionError, match="certificate"):
                await latest.ticker("BTCUSDT")

    async def test_by_a_bridge(
        self, make_redis: Callable[..., RedisServer], authority: Path, host: str, ca: str
    ) -> None:
        server = make_redis(tls=authority)
        good, wrong = redis_of(server, authority), redis_of(server, authority, host=host, ca=ca)
        async with SandboxExchange(rate=0, api_keys=[KEY]) as exchange, over_tls(exchange, authority) as port:
            # a worker tries on, since its operator may mend it, and says what is wrong
            trusted = ("--upstream-url", f"wss://localhost:{port}", "--tls-ca-file", str(authority / "ca.crt"))
            async with start("bridge", *trusted, "--redis-url", wrong, "--http", "off") as bridge:
                await bridge.wait_line(r"no trusted TLS with rediss://.*(ostname|IP address|self|issuer)")
            flags = ("--upstream-url", f"wss://{host}:{port}", "--tls-ca-file", str(authority / ca))
            async with start("bridge", *flags, "--redis-url", good, "--http", "off") as bridge:
                await bridge.wait_line("the server's certificate is not trusted")
            assert not exchange.control.connections_total


async def test_a_file_without_certificates_is_bad_input(tmp_path: Path, redis_kind: str) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for file in ("empty.pem", "absent.pem"):
        ended = await run("bridge", "--tls-ca-file", str(tmp_path / file), "--upstream-url", "wss://localhost:1")
        assert ended.code == 2
        assert "--tls-ca-file" in one_line(ended)

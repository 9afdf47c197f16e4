from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from websockets.asyncio.server import serve

from agentexchange import ConnectionError  # noqa: A004 - the documented name
from agentexchange_schemas import FeedState
from tests.sdk.upstream._feeds import Sink, make_feed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from websockets.asyncio.server import ServerConnection


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An authority that nobody knows, and a certificate of its for localhost with the key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
    return folder / "ca.pem", folder / "both.pem"


@pytest.fixture
async def port(certificates: tuple[Path, Path]) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates[1])

    async def beat(connection: ServerConnection) -> None:
        await connection.send('{"type":"ping"}')
        await connection.wait_closed()

    async with serve(beat, "localhost", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def test_certificates_are_verified_by_default(port: int) -> None:
    with pytest.raises(ConnectionError, match="certificate is not trusted"):
        await make_feed(f"wss://localhost:{port}", Sink()).run()


async def test_a_context_of_the_users_own(port: int, certificates: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(certificates[0]))
    sink = Sink()
    async with running(make_feed(f"wss://localhost:{port}", sink, "orders", ssl_context=context)):
        await sink.until_state(FeedState.LIVE)


async def test_tls_spoken_to_a_plain_port_is_final() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "localhost", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError, match="no TLS there"):
            await make_feed(f"wss://localhost:{port}", Sink()).run()

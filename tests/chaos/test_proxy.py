from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WAIT = 5.0


class Echo:
    """A server that sends back what it gets and tells when connections end."""

    def __init__(self) -> None:
        self.received = 0
        self.got = asyncio.Event()
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.received += len(data)
                self.got.set()
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            self.ended.set()
            writer.close()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Echo, Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with Proxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield echo, proxy, reader, writer
        finally:
            writer.transport.abort()
    server.close()


async def exactly(reader: asyncio.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(WAIT):
        return await reader.readexactly(count)


async def nothing_comes(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes for as long as an echo takes many times over."""
    read = asyncio.ensure_future(reader.read(1))
    done, _ = await asyncio.wait((read,), timeout=0.1)
    read.cancel()
    await asyncio.wait((read,))
    return not done


async def test_bytes_pass_both_ways_and_are_counted() -> None:
    async with linked() as (_, proxy, reader, writer):
        payload = bytes(range(256)) * 4096
        writer.write(payload)
        assert await exactly(reader, len(payload)) == payload
        assert proxy.carried == (len(payload), len(payload))
        assert proxy.connections == 1


async def test_the_end_of_one_side_reaches_the_other() -> None:
    async with linked() as (echo, _, reader, writer):
        writer.write(b"last")
        writer.write_eof()
        async with asyncio.timeout(WAIT):
            assert await reader.read() == b"last"
            await echo.ended.wait()


async def test_a_cut_resets_both_ends() -> None:
    async with linked() as (echo, proxy, reader, writer):
        writer.write(b"x")
        await exactly(reader, 1)
        assert proxy.cut() == 1
        with pytest.raises(ConnectionError):
            await exactly(reader, 1)
        async with asyncio.timeout(WAIT):
            await echo.ended.wait()
        new_reader, new_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        new_writer.write(b"y")
        assert await exactly(new_reader, 1) == b"y"
        new_writer.close()


async def test_a_held_link_keeps_its_connections_and_goes_on_where_it_stopped() -> None:
    async with linked() as (echo, proxy, reader, writer):
        writer.write(b"a")
        await exactly(reader, 1)
        proxy.hold()
        writer.write(b"bc")
        assert await nothing_comes(reader)
        assert echo.received == 1
        proxy.heal()
        assert await exactly(reader, 2) == b"bc"


async def test_held_towards_the_server_only() -> None:
    async with linked() as (echo, proxy, reader, writer):
        proxy.hold("to")
        writer.write(b"a")
        assert await nothing_comes(reader)
        assert echo.received == 0


async def test_held_from_the_server_only_requests_still_arrive() -> None:
    async with linked() as (echo, proxy, reader, writer):
        proxy.hold("from")
        writer.write(b"a")
        async with asyncio.timeout(WAIT):
            await echo.got.wait()
        assert await nothing_comes(reader)
        proxy.heal()
        assert await exactly(reader, 1) == b"a"


async def test_a_cut_while_held_loses_what_was_on_its_way() -> None:
    async with linked() as (echo, proxy, reader, writer):
        proxy.hold("to")
        writer.write(b"lost")
        assert await nothing_comes(reader)
        proxy.cut()
        with pytest.raises(ConnectionError):
            await exactly(reader, 1)
        proxy.heal()
        assert echo.received == 0


async def test_an_end_that_goes_while_held_is_not_noticed_by_the_other() -> None:
    async with linked() as (echo, proxy, reader, writer):
        writer.write(b"a")
        await exactly(reader, 1)
        proxy.hold()
        writer.close()
        done, _ = await asyncio.wait((asyncio.ensure_future(echo.ended.wait()),), timeout=0.1)
        assert not done
        proxy.heal()
        async with asyncio.timeout(WAIT):
            await echo.ended.wait()


async def test_delay_comes_both_ways_and_keeps_order() -> None:
    loop = asyncio.get_running_loop()
    async with linked() as (_, proxy, reader, writer):
        proxy.delay(0.1)
        start = loop.time()
        for number in range(50):
            writer.write(bytes([number]))
            await writer.drain()
        assert await exactly(reader, 50) == bytes(range(50))
        assert loop.time() - start >= 0.2


async def test_delay_does_not_slow_a_stream_down() -> None:
    loop = asyncio.get_running_loop()
    async with linked() as (_, proxy, reader, writer):
        proxy.delay(0.05)
        start = loop.time()
        writer.write(b"x" * 1_000_000)
        await exactly(reader, 1_000_000)
        assert loop.time() - start < 2.0  # 16 chunks and more, one after the other, would take as many delays twice


async def test_throttle_bounds_the_rate() -> None:
    loop = asyncio.get_running_loop()
    async with linked() as (_, proxy, reader, writer):
        proxy.throttle(50_000, "to")
        start = loop.time()
        writer.write(b"x" * 20_000)
        await exactly(reader, 20_000)
        assert loop.time() - start >= 0.35


async def test_refusal_resets_new_connections_and_leaves_open_ones() -> None:
    async with linked() as (_, proxy, reader, writer):
        writer.write(b"a")
        await exactly(reader, 1)
        proxy.refuse()
        late_reader, late_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionError):
            await exactly(late_reader, 1)
        late_writer.close()
        writer.write(b"b")
        assert await exactly(reader, 1) == b"b"


async def test_a_server_that_is_not_there_looks_like_a_reset() -> None:
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with Proxy(port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        async with asyncio.timeout(WAIT):
            with pytest.raises(ConnectionError):
                await reader.readexactly(1)
        writer.close()


async def test_leaving_ends_every_connection() -> None:
    async with linked() as (echo, proxy, reader, writer):
        writer.write(b"a")
        await exactly(reader, 1)
        await proxy.__aexit__()
        assert proxy.connections == 0
        async with asyncio.timeout(WAIT):
            await echo.ended.wait()

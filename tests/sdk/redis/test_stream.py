"""RespStream against real servers, and against peers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._urls import redis_url
from agentexchange.redis import LinkClosedError, NotRedisError, ReplyError, RespStream, StreamOptions, pack
from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests._servers import RedisServer

QUICK = StreamOptions(open_timeout_s=10.0, reply_timeout_s=0.5, idle_probe_s=None)
"""To be given up at soon."""


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(url), **options)
    try:
        yield stream
    finally:
        stream.close()


@contextlib.asynccontextmanager
async def peer(answer: Callable[[bytes], bytes | None]) -> AsyncIterator[str]:
    """A server that answers each chunk it reads with ``answer(chunk)``; None ends the connection."""
    served: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served[writer] = asyncio.current_task()
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                reply = answer(chunk)
                if reply is None:
                    break
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in served:
            writer.transport.abort()
        await asyncio.gather(*(task for task in served.values() if task))


def greet_then(after: bytes) -> Callable[[bytes], bytes]:
    """Answer the handshake as Redis does, and everything later with ``after``."""
    replies = iter((b"+OK\r\n+PONG\r\n",))
    return lambda _: next(replies, after)


@pytest.mark.server
class TestServer:
    async def test_commands_and_values(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url, name="a-name") as stream:
            assert await stream.command("SET", "key", b"\x00\xff") == b"OK"
            assert await stream.command("GET", "key") == b"\x00\xff"
            assert await stream.command("GET", "none") is None
            assert await stream.command("EXISTS", "none") == 0
            assert b"name=a-name" in await stream.command("CLIENT", "INFO")

    async def test_an_error_reply_is_raised_and_the_connection_stays(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url) as stream:
            await stream.command("SET", "key", "text")
            with pytest.raises(ReplyError) as caught:
                await stream.command("INCR", "key")
            assert caught.value.code == "ERR"
            replies = await stream.send(pack("INCR", "key") + pack("PING"), replies=2)
            assert isinstance(replies[0], ReplyError)
            assert replies[1] == b"PONG"

    async def test_requests_are_pipelined_in_order(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url) as stream:
            futures = [stream.send(pack("INCR", "n") * 3, replies=3) for _ in range(50)]
            assert [reply for future in futures for reply in await future] == list(range(1, 151))

    async def test_a_cancelled_request_does_not_shift_the_answers(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url) as stream:
            first, second = stream.send(pack("ECHO", "1")), stream.send(pack("ECHO", "2"))
            first.cancel()
            assert await second == [b"2"]

    async def test_large_writes_wait_for_the_peer(self, redis_server: RedisServer) -> None:
        value = b"x" * 20_000_000
        async with connected(redis_server.url) as stream:
            for _ in range(3):
                last = stream.send(pack("SET", "key", value))
                await stream.drain()
            assert await last == [b"OK"]
            assert await stream.command("GET", "key") == value

    async def test_a_subscriber_gets_whole_batches(self, redis_server: RedisServer) -> None:
        batches: list[list[Any]] = []
        done = asyncio.Event()

        def take(replies: list[Any]) -> None:
            batches.append(replies)
            if replies[-1] == [b"message", b"c", b"last"]:
                done.set()

        async with connected(redis_server.url, on_replies=take) as subscriber, connected(redis_server.url) as stream:
            subscriber.write(pack("SUBSCRIBE", "c"))
            while await stream.command("PUBSUB", "NUMSUB", "c") != [b"c", 1]:
                pass
            await stream.send(b"".join(pack("PUBLISH", "c", number) for number in range(5000)), replies=5000)
            await stream.command("PUBLISH", "c", "last")
            await asyncio.wait_for(done.wait(), 10)
        payloads = [reply[2] for batch in batches for reply in batch]
        assert payloads == [1, *(b"%d" % number for number in range(5000)), b"last"]
        assert len(batches) < 2500

    async def test_unix_socket_database_and_password(self, make_redis: Callable[..., RedisServer]) -> None:
        server = make_redis(options={"requirepass": "s3cret"})
        async with connected(f"unix://:s3cret@{server.socket_path}?db=3") as stream:
            assert b" db=3 " in await stream.command("CLIENT", "INFO")
        async with connected(f"redis://:s3cret@127.0.0.1:{server.port}/2") as stream:
            assert b" db=2 " in await stream.command("CLIENT", "INFO")

    @pytest.mark.parametrize(
        ("credentials", "code"), [("", "NOAUTH"), (":wrong@", "WRONGPASS"), ("nobody:s3cret@", "WRONGPASS")]
    )
    async def test_wrong_credentials(self, make_redis: Callable[..., RedisServer], credentials: str, code: str) -> None:
        server = make_redis(options={"requirepass": "s3cret"})
        with pytest.raises(ReplyError) as caught:
            await RespStream.connect(redis_url(f"redis://{credentials}127.0.0.1:{server.port}"))
        assert caught.value.code == code

    async def test_a_user_who_may_not_name_the_connection_gets_in(self, make_redis: Callable[..., RedisServer]) -> None:
        server = make_redis(options={"user crew": "on >pw +ping +get ~*"})
        async with connected(f"redis://crew:pw@127.0.0.1:{server.port}") as stream:
            assert await stream.command("GET", "key") is None

    async def test_a_killed_server_ends_everything_under_way(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url) as stream:
            redis_server.stop()
            future = stream.send(pack("PING"))
            redis_server.kill()
            with pytest.raises(LinkClosedError):
                await future
            assert "closed the connection" in (await stream.wait_closed()).reason
            with pytest.raises(LinkClosedError):
                stream.send(pack("PING"))
            with pytest.raises(LinkClosedError):
                await stream.drain()
        with pytest.raises(LinkClosedError, match="cannot connect"):
            await RespStream.connect(redis_url(redis_server.url))

    async def test_a_stopped_server_is_given_up_at_the_deadline(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url, options=QUICK) as stream:
            redis_server.stop()
            early = stream.send(pack("PING"))
            late = stream.send(pack("PING"), timeout_s=60)
            with pytest.raises(LinkClosedError, match="did not answer in time"):
                await early
            assert isinstance(late.exception(), LinkClosedError)

    async def test_a_stopped_server_ends_a_write_that_waits(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url, options=QUICK) as stream:
            redis_server.stop()
            future = stream.send(pack("SET", "key", b"x" * 50_000_000))
            with pytest.raises(LinkClosedError):
                await stream.drain()
            assert future.done()

    async def test_a_stopped_server_does_not_hang_the_connect(self, redis_server: RedisServer) -> None:
        redis_server.stop()
        with pytest.raises(LinkClosedError, match="did not answer within"):
            await RespStream.connect(redis_url(redis_server.url), options=StreamOptions(open_timeout_s=0.2))

    @pytest.mark.parametrize("is_subscriber", [True, False])
    async def test_a_silent_connection_is_probed_and_given_up(
        self, redis_server: RedisServer, *, is_subscriber: bool
    ) -> None:
        replies: list[Any] = []
        options = StreamOptions(idle_probe_s=0.05, reply_timeout_s=1.0)
        on_replies = replies.extend if is_subscriber else None
        async with connected(redis_server.url, on_replies=on_replies, options=options) as stream:
            if is_subscriber:
                stream.write(pack("SUBSCRIBE", "c"))
            before = stream.bytes_received
            async with asyncio.timeout(PATIENCE_S):
                while stream.bytes_received <= before + 60:  # noqa: ASYNC110 - until several probes were answered
                    await asyncio.sleep(0.01)
            assert not stream.is_closed
            redis_server.stop()
            assert isinstance(await asyncio.wait_for(stream.wait_closed(), PATIENCE_S), LinkClosedError)

    async def test_connections_end_with_close(self, redis_server: RedisServer) -> None:
        async with connected(redis_server.url) as stream:
            future = stream.send(pack("PING"))
            stream.close("enough")
            stream.close("twice")
            with pytest.raises(LinkClosedError, match="enough"):
                await future
            assert (await stream.wait_closed()).reason == "enough"


class TestPeers:
    @pytest.mark.parametrize(
        "junk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"\x00" * 99]
    )
    async def test_what_is_no_redis_server_is_final(self, junk: bytes) -> None:
        async with peer(lambda _: junk) as url:
            with pytest.raises(NotRedisError, match="does not speak the Redis protocol"):
                await RespStream.connect(redis_url(url))

    async def test_a_peer_that_closes_at_once(self) -> None:
        async with peer(lambda _: None) as url:
            with pytest.raises(LinkClosedError, match="closed the connection"):
                await RespStream.connect(redis_url(url))

    async def test_junk_later_ends_the_connection_for_a_retry(self) -> None:
        async with peer(greet_then(b"?")) as url, connected(url) as stream:
            with pytest.raises(LinkClosedError) as caught:
                await stream.command("PING")
            assert not isinstance(caught.value, NotRedisError)

    async def test_a_reply_that_nothing_asked_for_ends_the_connection(self) -> None:
        async with peer(greet_then(b"+OK\r\n+OK\r\n")) as url, connected(url) as stream:
            assert await stream.command("PING") == b"OK"
            await asyncio.wait_for(stream.wait_closed(), PATIENCE_S)

    async def test_a_reply_beyond_the_bound_ends_the_connection(self) -> None:
        options = StreamOptions(max_reply_bytes=1_000_000)
        reply = b"$5000000000\r\n" + b"x" * 2_000_000
        async with peer(greet_then(reply)) as url, connected(url, options=options) as stream:
            with pytest.raises(LinkClosedError, match="above 1000000 bytes"):
                await stream.command("GET", "key")

    async def test_many_small_pieces_of_one_reply_are_bounded_too(self) -> None:
        options = StreamOptions(max_reply_bytes=1_000_000)
        reply = b"*1000000\r\n" + b"$4\r\nabcd\r\n" * 200_000
        async with peer(greet_then(reply)) as url, connected(url, options=options) as stream:
            with pytest.raises(LinkClosedError, match="above 1000000 bytes"):
                await stream.command("GET", "key")

    async def test_an_array_larger_than_memory_ends_the_connection(self) -> None:
        async with peer(greet_then(b"*4294967295\r\n$1\r\n")) as url, connected(url, options=QUICK) as stream:
            with pytest.raises(LinkClosedError):
                await stream.command("GET", "key")

    async def test_nesting_beyond_the_parsers_depth_ends_the_connection(self) -> None:
        async with peer(greet_then(b"*1\r\n" * 100)) as url, connected(url, options=QUICK) as stream:
            with pytest.raises(LinkClosedError):
                await stream.command("GET", "key")

    async def test_a_reply_in_pieces_is_put_together(self) -> None:
        replies = iter((b"+OK\r\n+PO", b"NG\r\n"))

        def answer(_: bytes) -> bytes:
            return next(replies, b"")

        async def poke(url: str) -> None:
            async with connected(url, options=StreamOptions(open_timeout_s=0.3)):
                pytest.fail("the handshake was answered in half")

        async with peer(answer) as url:
            with pytest.raises(LinkClosedError, match="did not answer within"):
                await poke(url)


@pytest.mark.server
@pytest.mark.debian_redis
class TestTls:
    async def test_a_verified_connection(self, make_redis: Callable[..., RedisServer], certificates: Path) -> None:
        server = make_redis(tls=certificates)
        own = f"ssl_certfile={certificates}/server.crt&ssl_keyfile={certificates}/server.key"
        async with connected(f"{server.url}?ssl_ca_certs={certificates}/ca.crt&{own}") as stream:
            assert await stream.command("PING") == b"PONG"

    async def test_an_unknown_certificate_is_final(
        self, make_redis: Callable[..., RedisServer], certificates: Path
    ) -> None:
        server = make_redis(tls=certificates)
        with pytest.raises(NotRedisError, match=r"(?i)self.signed|unable to get"):
            await RespStream.connect(redis_url(server.url))

    async def test_a_name_that_is_not_in_the_certificate_is_final(
        self, make_redis: Callable[..., RedisServer], certificates: Path
    ) -> None:
        server = make_redis(tls=certificates)
        url = f"rediss://localhost:{server.port}?ssl_ca_certs={certificates}/ca.crt"
        with pytest.raises(NotRedisError, match="ostname"):
            await RespStream.connect(redis_url(url))
        async with connected(f"{url}&ssl_check_hostname=false") as stream:
            assert await stream.command("PING") == b"PONG"

    async def test_tls_to_a_plain_server_and_plain_to_tls(
        self, make_redis: Callable[..., RedisServer], certificates: Path
    ) -> None:
        plain, secure = make_redis(), make_redis(tls=certificates)
        brief = StreamOptions(open_timeout_s=1.0)
        with pytest.raises(LinkClosedError):
            await RespStream.connect(redis_url(plain.url.replace("redis:", "rediss:")), options=brief)
        with pytest.raises(LinkClosedError):
            await RespStream.connect(redis_url(secure.url.replace("rediss:", "redis:")), options=brief)

    async def test_a_missing_file_is_named(self, redis_kind: str) -> None:
        with pytest.raises(NotRedisError, match="cannot be used"):
            await RespStream.connect(redis_url("rediss://127.0.0.1:1?ssl_ca_certs=/nonexistent/ca.crt"))


@pytest.mark.server
def test_uvloop_does_the_same(redis_server: RedisServer) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def work(run: Callable[[RespStream], Awaitable[Any]], **options: Any) -> Any:
        async with connected(redis_server.url, **options) as stream:
            return await run(stream)

    async def stopped(stream: RespStream) -> str:
        redis_server.stop()
        with pytest.raises(LinkClosedError) as caught:
            await stream.command("PING")
        redis_server.cont()
        return str(caught.value)

    assert uvloop.run(work(lambda stream: stream.command("ECHO", "x"))) == b"x"
    assert "did not answer in time" in uvloop.run(work(stopped, options=QUICK))

"""What a server, a network or an environment may do to a session."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, cast

import pytest
from websockets.asyncio.server import serve

from agentexchange.testing import SandboxExchange
from agentexchange_schemas import FeedState, Topic
from tests._patience import PATIENCE_S
from tests.sdk._timeline import Timeline
from tests.sdk.upstream._feeds import Sink, make_feed, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

BTC, ETH = "ticker:BTCUSDT", "ticker:ETHUSDT"


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(pairs=10, rate=0) as exchange:
        yield exchange


def mutated(chance: random.Random) -> bytes:
    """A valid frame with some of its bytes changed, cut or doubled; or only bytes."""
    frames = [
        {"channel": "ticker", "symbol": "BTCUSDT", "data": {"price": "1", "timestamp": "2026-02-23T15:30:45.123Z"}},
        {"channel": "orders", "data": {"order_id": "1", "status": "filled", "symbol": "BTCUSDT"}},
        {"type": "subscribed", "channel": BTC},
        {"type": "error", "code": "INVALID_CHANNEL", "message": "no"},
        {"type": "ping"},
    ]
    raw = bytearray(json.dumps(chance.choice(frames)).encode())
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(raw))
        match chance.randrange(3):
            case 0:
                raw[place] = chance.randrange(256)
            case 1:
                del raw[place : place + 3]
            case _:
                raw[place:place] = raw[place : place + 9]
    return bytes(raw) if chance.random() < 0.8 else chance.randbytes(chance.randrange(200))


async def test_no_frame_ends_a_session(sandbox: SandboxExchange) -> None:
    sink, chance = Sink(), random.Random(7)
    feed = make_feed(sandbox.url, sink, BTC, "orders")
    async with running(feed):
        await sandbox.control.wait_for_subscriptions(BTC, "orders")
        for _ in range(3000):
            sandbox.control.push(mutated(chance), binary=chance.random() < 0.1)
        sandbox.control.push_tick("BTCUSDT", price="424242")
        await sink.until(lambda: "424242" in sink.prices)
    assert feed.stats.sessions == 1
    assert feed.stats.junk


async def test_a_server_that_stops_reading_and_closing_does_not_hold_up_the_end() -> None:
    release = asyncio.Event()

    async def deaf(connection: ServerConnection) -> None:
        await connection.send('{"type":"ping"}')
        cast("asyncio.Transport", connection.transport).pause_reading()
        await release.wait()
        connection.transport.abort()

    sink = Sink()
    async with serve(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        feed = make_feed(f"ws://127.0.0.1:{port}", sink, BTC, close_timeout_s=0.1)
        async with running(feed) as task:
            await sink.until_state(FeedState.LIVE)
            feed.stop()
            async with asyncio.timeout(PATIENCE_S):
                await task
        release.set()


async def test_a_handshake_that_takes_too_long_is_tried_again(sandbox: SandboxExchange) -> None:
    time = Timeline()
    sandbox.control.hold_handshakes()
    async with running(make_feed(sandbox.url, Sink(), BTC, time=time, open_timeout_s=0.5)):
        await time.until_asleep(1)
        sandbox.control.accept_handshakes()
        time.advance(1)
        await sandbox.control.wait_for_subscriptions(BTC)


async def test_no_proxy_comes_between_on_this_machine(
    sandbox: SandboxExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with running(make_feed(sandbox.url, Sink(), BTC)):
        await sandbox.control.wait_for_subscriptions(BTC)


async def test_compression_on_request() -> None:
    async with SandboxExchange(pairs=10, rate=0, compression=True) as sandbox:
        sink = Sink()
        async with running(make_feed(sandbox.url, sink, BTC, compression=True)):
            await sandbox.control.wait_for_subscriptions(BTC)
            sandbox.control.push_tick("BTCUSDT", price="1")
            await sink.until(lambda: sink.events)


async def test_what_is_subscribed_while_away_is_asked_for_on_the_next_session(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    feed = make_feed(sandbox.url, sink, BTC, time=time)
    async with running(feed):
        await sink.until_state(FeedState.LIVE)
        sandbox.control.drop()
        await time.until_asleep(1)
        feed.subscribe(Topic.parse(ETH))
        feed.unsubscribe(Topic.parse(BTC))
        time.advance(1)
        await sandbox.control.wait_for_subscriptions(ETH)
        assert sandbox.control.connections[0].subscriptions == {ETH}


async def test_a_feed_without_topics_is_live(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_feed(sandbox.url, sink)):
        await sink.until_state(FeedState.LIVE)
        sandbox.control.step_orders(1)
        await sink.until(lambda: sink.events)  # private events come subscribed or not


async def test_an_error_of_the_sink_is_not_hidden(sandbox: SandboxExchange) -> None:
    class Broken(Sink):
        def on_event(self, topic: str, fields: dict[str, object]) -> None:
            raise ZeroDivisionError(topic)

    async with running(make_feed(sandbox.url, Broken(), BTC)) as task:
        await sandbox.control.wait_for_subscriptions(BTC)
        sandbox.control.push_tick("BTCUSDT", price="1")
        with pytest.raises(ZeroDivisionError):
            await task

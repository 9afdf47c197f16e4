"""More topics than one session takes: the market over several sessions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from agentexchange._urls import redis_url
from agentexchange.candles import CandleSource
from agentexchange.redis import RespStream
from agentexchange.testing import SandboxExchange
from agentexchange_bridge.accounts import MarketKeys
from agentexchange_schemas import FeedState, FeedStatus, Kind, Topic
from tests.bridge._kit import LAYOUT, read_log, until
from tests.bridge.test_worker import KEY, is_live, log, new_worker, running, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

CANDLE = {"open": "1", "high": "2", "low": "1", "close": "2", "volume": "9", "time": "2026-02-23T15:30:00Z"}


@pytest.fixture
async def exchange() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(rate=0, api_keys=(KEY,), pairs=200) as sandbox:
        yield sandbox


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(redis_server.url))
    yield stream
    stream.close()


@pytest.mark.parametrize(("tickers", "subscribed"), [(90, 200), (110, 91)], ids=["one by one", "as ticker:all"])
async def test_two_hundred_topics_over_few_sessions(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream, tickers: int, subscribed: int
) -> None:
    symbols, max_sessions = exchange.control.symbols, 10 if tickers > 100 else 21
    topics = (
        *(Topic.ticker(symbol) for symbol in symbols[:tickers]),
        *(Topic.candles(symbol, "1m") for symbol in symbols[: 200 - tickers]),
    )
    options = {"max_sessions": max_sessions, "candles": CandleSource.UPSTREAM}
    worker = new_worker(exchange, redis_server, topics=topics, **options)
    async with running(worker):
        await is_live(worker)
        market = [one for one in exchange.control.connections if "orders" not in one.subscriptions]
        assert sum(len(one.subscriptions) for one in market) == subscribed
        assert len(market) == (subscribed + 9) // 10 <= max_sessions
        for symbol in symbols:
            exchange.control.push_tick(symbol, price="1")
            exchange.control.push_candle(symbol, "1m", CANDLE | {"is_closed": True})
        exchange.control.push_order({"order_id": "o1", "status": "pending"})
        await until(lambda: worker.stats.received[Kind.TICKER] >= tickers)
        await until(lambda: worker.stats.received[Kind.CANDLES] >= 200 - tickers)
        await until(lambda: worker.stats.received[Kind.ORDERS] == 1)
        await settled(worker)
    written = Counter(event.topic for event in await log(redis, "m0") if event.topic != "status")
    written += Counter(event.topic for _, event in await read_log(redis, LAYOUT.candle_log("m0")))
    assert written == Counter(map(str, topics)), "each once, and nothing that nobody wants"


async def test_topics_without_room_are_told_and_the_others_served(
    exchange: SandboxExchange, redis_server: RedisServer, redis: RespStream
) -> None:
    topics = tuple(Topic.candles(symbol, "1m") for symbol in exchange.control.symbols[:12])
    options = {"max_sessions": 1, "account": False, "candles": CandleSource.UPSTREAM}
    worker = new_worker(exchange, redis_server, topics=topics, **options)
    async with running(worker):
        await is_live(worker)
        exchange.control.push_candle(topics[0].symbol or "", "1m", CANDLE | {"is_closed": True})
        await until(lambda: worker.stats.received[Kind.CANDLES] == 1)
        await settled(worker)
    statuses = [FeedStatus.from_fields(event.data) for event in await log(redis, "m0") if event.topic == "status"]
    out = [status for status in statuses if status.state is FeedState.UNAVAILABLE]
    assert {status.topic for status in out} == set(map(str, topics[10:]))
    assert all("no room: 1 sessions of 10" in (status.message or "") for status in out)


async def test_one_session_that_is_refused_changes_no_key(exchange: SandboxExchange, redis_server: RedisServer) -> None:
    """What is told of single topics was taken for the feed's own trouble, once for each of them."""
    worker = new_worker(exchange, redis_server, topics=(Topic.ticker("all"),))
    keys = worker._keys = MarketKeys(worker.config.accounts * 3)
    status = FeedStatus(topic="ticker:BTCUSDT", state=FeedState.AUTH_FAILED, since="2026-02-23T15:30:00Z")
    worker._market_said(status)
    assert not keys._refused

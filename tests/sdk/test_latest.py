"""The latest readers, sync and async alike, against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.errors import ConnectionError as PublicConnectionError
from agentexchange.errors import StaleValueError, UsageError
from agentexchange.latest import AsyncLatestReader, LatestReader
from agentexchange_schemas import Candle, FeedState, Layout, OrderUpdate, Portfolio, Ticker
from tests._patience import PATIENCE_S
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._shared_client import KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests._servers import RedisServer

pytestmark = pytest.mark.server
LIVE_SINCE = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture(params=[LatestReader, AsyncLatestReader])
async def ask(
    request: pytest.FixtureRequest, redis_server: RedisServer
) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """``await ask("ticker", "BTCUSDT")``: one reader's method, sync or async."""
    reader = request.param(redis_server.url, KEY)

    async def call(method: str, *args: Any, **options: Any) -> Any:
        result = getattr(reader, method)(*args, **options)
        return await result if inspect.isawaitable(result) else result

    yield call
    await call("close")
    await call("close")


async def test_a_ticker_with_age_state_and_model(writer: LayoutWriter, ask: Any) -> None:
    writer.ticker("BTCUSDT", "64521.30000000", quantity="0.012")
    value = await ask("ticker", "BTCUSDT")
    assert value.data == {"symbol": "BTCUSDT", "price": "64521.30000000", "timestamp": None, "quantity": "0.012"}
    assert isinstance(value.model, Ticker)
    assert value.model.price_decimal == Decimal("64521.3")
    assert value.topic == "ticker:BTCUSDT"
    assert value.state is FeedState.LIVE
    assert 0 <= value.age < 30
    assert value.received_at.timestamp() * 1e6 == pytest.approx(writer.received_us, abs=2)
    assert value.written_at == value.received_at
    assert value.since == LIVE_SINCE


async def test_many_at_once_by_the_names_asked_for(writer: LayoutWriter, ask: Any) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.ticker("ETHUSDT", "2")
    values = await ask("tickers", ["btcusdt", "NONEUSDT", "ETHUSDT"])
    assert list(values) == ["btcusdt", "NONEUSDT", "ETHUSDT"]
    assert values["btcusdt"].data["price"] == "1"
    assert values["NONEUSDT"] is None
    assert values["ETHUSDT"].data["price"] == "2"
    assert await ask("tickers", []) == {}


async def test_candle_portfolio_and_orders(writer: LayoutWriter, account: LayoutWriter, ask: Any) -> None:
    writer.event(
        "candles:BTCUSDT:1m",
        {"symbol": "BTCUSDT", "interval": "1m", "open": "1", "high": "1", "low": "1", "close": "9"},
    )
    account.event("portfolio", {"total_equity": "10"})
    for order_id in ("o-1", "weird id/π"):
        raw = account.envelope("orders", {"order_id": order_id, "status": "pending"}, seq=1)
        account.client.set(account.layout.latest(account.scope, "orders", order_id), raw)
        account.client.sadd(account.layout.latest(account.scope, "orders"), order_id)
    account.client.sadd(account.layout.latest(account.scope, "orders"), "vanished")

    candle = await ask("candle", "BTCUSDT", "1m")
    assert isinstance(candle.model, Candle)
    assert candle.data["close"] == "9"
    portfolio = await ask("portfolio", max_age=60)
    assert isinstance(portfolio.model, Portfolio)
    order = await ask("order", "weird id/π")
    assert isinstance(order.model, OrderUpdate)
    assert order.data["order_id"] == "weird id/π"
    assert await ask("order", "unknown") is None
    assert sorted(await ask("open_orders")) == ["o-1", "weird id/π"]


async def test_no_lease_is_no_bridge_and_the_value_is_still_there(writer: LayoutWriter, ask: Any) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.release()
    value = await ask("ticker", "BTCUSDT")
    assert value.state is FeedState.NO_BRIDGE
    assert value.data["price"] == "1"


async def test_a_topic_with_a_state_of_its_own_says_so_and_since_when(writer: LayoutWriter, ask: Any) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        writer.ticker(symbol, "1")
    since = "2026-11-22T10:30:00.000000Z"
    states = {"ticker:BTCUSDT": ["stale", since, "upstream_silent", "no tick"]}
    writer.state(FeedState.LIVE, topic_states=json.dumps(states), kinds='{"candles":["stale","2026-11-22T11:00:00Z"]}')
    values = await ask("tickers", ["BTCUSDT", "ETHUSDT"])
    assert (values["BTCUSDT"].state, values["BTCUSDT"].since) == (FeedState.STALE, datetime.fromisoformat(since))
    assert (values["ETHUSDT"].state, values["ETHUSDT"].since) == (FeedState.LIVE, LIVE_SINCE)
    with pytest.raises(StaleValueError, match="the feed is stale"):
        await ask("candle", "ETHUSDT", "1m", max_age=60.0)
    writer.release()
    value = await ask("ticker", "BTCUSDT")
    assert (value.state, value.since) == (FeedState.NO_BRIDGE, None)


@pytest.mark.parametrize("fields", [{"topic_states": "{"}, {"topic_states": "[]"}, {"kinds": "[" * 5000}])
async def test_a_malformed_list_of_topics_spoils_no_answer(
    writer: LayoutWriter, ask: Any, fields: dict[str, str]
) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.state(FeedState.LIVE, **fields)
    assert (await ask("ticker", "BTCUSDT")).state is FeedState.LIVE


async def test_the_age_allows_for_a_bridge_whose_clock_is_wrong(writer: LayoutWriter, ask: Any) -> None:
    writer.received_us -= 60_000_000
    writer.ticker("BTCUSDT", "1")
    assert (await ask("ticker", "BTCUSDT")).age == pytest.approx(60, abs=10)
    writer.state(FeedState.LIVE, clock_offset_us=59_000_000)
    assert (await ask("ticker", "BTCUSDT")).age == pytest.approx(1, abs=10)


async def test_the_state_of_the_scope_comes_with_the_value(writer: LayoutWriter, ask: Any) -> None:
    writer.ticker("BTCUSDT", "1")
    writer.state(FeedState.STALE)
    assert (await ask("ticker", "BTCUSDT")).state is FeedState.STALE


async def test_an_empty_redis_has_no_values(ask: Any) -> None:
    assert await ask("ticker", "BTCUSDT") is None
    assert await ask("portfolio") is None
    assert await ask("open_orders") == {}


async def test_max_age_refuses_an_old_value(writer: LayoutWriter, ask: Any) -> None:
    writer.received_us -= 10_000_000
    writer.ticker("BTCUSDT", "1")
    assert (await ask("ticker", "BTCUSDT", max_age=60)).data["price"] == "1"
    with pytest.raises(StaleValueError, match=r"BTCUSDT.*1\d\.\d s old, more than 5 s; the feed is live") as caught:
        await ask("ticker", "BTCUSDT", max_age=5)
    assert caught.value.age_s is not None
    assert 10 <= caught.value.age_s < 20
    with pytest.raises(StaleValueError):
        await ask("tickers", ["ETHUSDT", "BTCUSDT"], max_age=5)


async def test_max_age_refuses_a_missing_value(writer: LayoutWriter, ask: Any) -> None:
    with pytest.raises(StaleValueError, match="no value") as caught:
        await ask("ticker", "BTCUSDT", max_age=5)
    assert caught.value.age_s is None


async def test_age_is_by_the_servers_clock(writer: LayoutWriter, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.ticker("BTCUSDT", "1")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= (await ask("ticker", "BTCUSDT")).age < 30


async def test_a_bridge_clock_ahead_of_the_server_gives_age_zero(writer: LayoutWriter, ask: Any) -> None:
    writer.received_us += 3_600_000_000
    writer.ticker("BTCUSDT", "1")
    assert (await ask("ticker", "BTCUSDT", max_age=1)).age == 0


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x80"])
async def test_an_unreadable_value_is_none(writer: LayoutWriter, ask: Any, raw: bytes) -> None:
    writer.client.set("ax:{m0}:latest:ticker:BTCUSDT", raw)
    assert await ask("ticker", "BTCUSDT") is None


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("ticker", ("",)),
        ("ticker", ("all",)),
        ("ticker", ("BTC USDT",)),
        ("tickers", ("BTCUSDT",)),
        ("tickers", ([f"S{number}" for number in range(5001)],)),
        ("candle", ("BTCUSDT", "2m")),
    ],
)
async def test_names_that_are_none_are_refused_at_the_call(ask: Any, method: str, args: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        await ask(method, *args)


@pytest.mark.parametrize("max_age", [0, -1, float("nan")])
async def test_a_max_age_that_is_none_is_refused(ask: Any, max_age: float) -> None:
    with pytest.raises(ValueError, match="max_age"):
        await ask("ticker", "BTCUSDT", max_age=max_age)


async def test_another_layout_version_is_refused_in_words(writer: LayoutWriter, ask: Any) -> None:
    writer.install(version=7)
    with pytest.raises(PublicConnectionError, match="layout version 7"):
        await ask("ticker", "BTCUSDT")


async def test_a_redis_that_is_gone_is_a_connection_error_and_comes_back(
    writer: LayoutWriter, redis_server: RedisServer, ask: Any
) -> None:
    await ask("ticker", "BTCUSDT")
    redis_server.kill()
    with pytest.raises(PublicConnectionError) as caught:
        await ask("ticker", "BTCUSDT")
    assert isinstance(caught.value, ConnectionError)
    redis_server.start()
    assert await ask("ticker", "BTCUSDT") is None


async def test_partitions_take_one_round_trip(redis_server: RedisServer, ask: Any) -> None:
    layout = Layout(partitions=4)
    symbols = [f"S{number}USDT" for number in range(20)]
    with contextlib.ExitStack() as stack:
        writers = {}
        for scope in layout.market_scopes:
            writers[scope] = stack.enter_context(
                contextlib.closing(LayoutWriter(redis_server.url, scope, layout=layout))
            )
            writers[scope].install()
        writers["m1"].lease()
        for symbol in symbols:
            writers[layout.market_scope(symbol)].ticker(symbol, symbol)
        values = await ask("tickers", symbols)
    assert [values[symbol].data["price"] for symbol in symbols] == symbols
    live = {symbol for symbol in symbols if values[symbol].state is FeedState.LIVE}
    assert live == {symbol for symbol in symbols if layout.market_scope(symbol) == "m1"}


def test_a_reader_without_key_refuses_private_values(redis_server: RedisServer) -> None:
    with LatestReader(redis_server.url) as reader:
        for call in (reader.portfolio, reader.open_orders, lambda: reader.order("o-1")):
            with pytest.raises(UsageError, match="api_key"):
                call()


def test_threads_share_a_reader_and_its_bounded_pool(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.ticker("BTCUSDT", "1")
    prices: list[str] = []
    with LatestReader(redis_server.url) as reader:

        def work() -> None:
            for _ in range(20):
                value = reader.ticker("BTCUSDT")
                assert value is not None
                prices.append(value.data["price"])

        threads = [threading.Thread(target=work) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(writer.client.client_list()) <= 17
    assert prices == ["1"] * 480


async def test_nothing_stays_open_after_close(writer: LayoutWriter, redis_server: RedisServer) -> None:
    async with AsyncLatestReader(redis_server.url) as reader:
        await asyncio.gather(*(reader.ticker("BTCUSDT") for _ in range(5)))
    with LatestReader(redis_server.url) as sync_reader:
        sync_reader.ticker("BTCUSDT")
    async with asyncio.timeout(PATIENCE_S):
        while len(writer.client.client_list()) > 1:  # noqa: ASYNC110 - only the server can tell
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(("user", "code"), [("nobody:pw", "WRONGPASS"), ("weak:pw", "NOPERM"), ("", "NOAUTH")], ids=str)
async def test_a_refused_login_or_command_says_which(
    make_redis: Callable[..., RedisServer], user: str, code: str
) -> None:
    server = make_redis(options={"requirepass": "s3cret", "user weak": "on >pw +ping"})
    url = f"redis://{user}@127.0.0.1:{server.port}"
    with LatestReader(url) as reader, pytest.raises(PublicConnectionError, match=code) as caught:
        reader.ticker("BTCUSDT")
    async with AsyncLatestReader(url) as async_reader:
        with pytest.raises(PublicConnectionError, match=code):
            await async_reader.ticker("BTCUSDT")
    assert caught.value.code == code


async def test_unix_sockets_databases_and_passwords(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(options={"requirepass": "s3cret"})
    for url in (f"redis://:s3cret@127.0.0.1:{server.port}/3", f"unix://:s3cret@{server.socket_path}?db=3"):
        with contextlib.closing(LayoutWriter(f"redis://:s3cret@127.0.0.1:{server.port}/3")) as writer:
            writer.ticker("BTCUSDT", "1")
        with LatestReader(url) as reader:
            assert reader.ticker("BTCUSDT") is not None
        async with AsyncLatestReader(url) as async_reader:
            assert await async_reader.ticker("BTCUSDT") is not None


async def test_a_prefix_of_its_own(redis_server: RedisServer) -> None:
    with contextlib.closing(LayoutWriter(redis_server.url, layout=Layout("other"))) as writer:
        writer.ticker("BTCUSDT", "1")
    with LatestReader(redis_server.url) as plain, LatestReader(redis_server.url, prefix="other") as by_argument:
        assert plain.ticker("BTCUSDT") is None
        assert by_argument.ticker("BTCUSDT") is not None
    with LatestReader(f"{redis_server.url}?prefix=other") as by_url:
        assert by_url.ticker("BTCUSDT") is not None


def test_no_secret_shows() -> None:
    reader = LatestReader("redis://crew:s3cret@127.0.0.1:1/0", KEY, timeout=0.2)
    with pytest.raises(PublicConnectionError) as caught, reader:
        reader.ticker("BTCUSDT")
    for text in (repr(reader), str(caught.value), repr(caught.value)):
        assert "s3cret" not in text
        assert KEY not in text


@pytest.mark.parametrize("url", ["ws://localhost", "http://x", "", "redis://h?nope=1"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        LatestReader(url)


TLS_ONLY = "ssl_ca_certs={folder}/ca.crt&ssl_certfile={folder}/server.crt&ssl_keyfile={folder}/server.key"


@pytest.mark.debian_redis
async def test_tls_is_verified(make_redis: Callable[..., RedisServer], certificates: Path) -> None:
    server = make_redis(tls=certificates)
    trusted = f"{server.url}?{TLS_ONLY.format(folder=certificates)}"
    with LatestReader(trusted) as reader:
        assert reader.ticker("BTCUSDT") is None
    async with AsyncLatestReader(trusted) as async_reader:
        assert await async_reader.ticker("BTCUSDT") is None
    with LatestReader(server.url) as stranger, pytest.raises(PublicConnectionError, match=r"(?i)certificate"):
        stranger.ticker("BTCUSDT")

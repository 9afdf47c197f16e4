"""Candles that agree with the ticks, in both dialects, under a clock of the test's own."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.testing import JournalEntry, SandboxExchange
from agentexchange.testing._candles import CandleBook
from agentexchange.testing._dialect import INTERVAL_MINUTES
from agentexchange.testing._frames import timestamp
from agentexchange.testing._market import Market
from agentexchange.testing._pairs import make_pairs
from tests.sdk.testing._bare import bare

if TYPE_CHECKING:
    from collections.abc import Iterable

MIDNIGHT = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Clock:
    def __init__(self) -> None:
        self.now = MIDNIGHT

    def __call__(self) -> float:
        return self.now


def ohlcv(ticks: Iterable[dict[str, Any]]) -> dict[str, Decimal]:
    prices = [Decimal(tick["data"]["price"]) for tick in ticks]
    volume = sum(Decimal(tick["data"]["quantity"]) for tick in ticks)
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": Decimal(volume),
    }


def numbers(candle: dict[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(candle[name]) for name in ("open", "high", "low", "close", "volume")}


async def test_live_candles_form_and_close_in_step_with_the_ticks() -> None:
    clock = Clock()
    async with (
        SandboxExchange(rate=0, pairs=3, push_candles=True, clock=clock) as exchange,
        bare(exchange.url) as client,
    ):
        await client.subscribe("ticker", symbol="BTCUSDT")
        await client.subscribe("candles", symbol="BTCUSDT", interval="1m")
        await client.subscribe("candles", symbol="BTCUSDT", interval="5m")
        for _ in range(5):
            exchange.control.tick(40)
            clock.now += 30
            exchange.control.tick(40)
            clock.now += 30
        exchange.control.tick(0)
        exchange.control.push({"end": True})
        await check_live_frames([frame async for frame in until_end(client)])


async def until_end(client: Any) -> Any:
    while "end" not in (frame := await client.next()):
        yield frame


async def check_live_frames(frames: list[dict[str, Any]]) -> None:
    minute: list[dict[str, Any]] = []
    whole: list[dict[str, Any]] = []
    closed = {"1m": 0, "5m": 0}
    for frame in frames:
        if frame["channel"] == "ticker":
            minute.append(frame)
            whole.append(frame)
            continue
        assert (frame["channel"], frame["symbol"]) == ("candles", "BTCUSDT")
        candle, interval = frame["data"], frame["interval"]
        assert list(candle) == ["time", "open", "high", "low", "close", "volume", "is_closed"]
        assert numbers(candle) == ohlcv(minute if interval == "1m" else whole)
        if candle["is_closed"]:
            assert candle["time"] == timestamp(MIDNIGHT + 60 * closed[interval])
            closed[interval] += 1
            if interval == "1m":
                minute = []
    assert closed == {"1m": 5, "5m": 1}
    assert sum(not frame["data"]["is_closed"] for frame in frames if frame["channel"] == "candles") >= 10


async def test_forming_frames_are_throttled() -> None:
    clock = Clock()
    async with (
        SandboxExchange(rate=0, pairs=1, push_candles=True, clock=clock) as exchange,
        bare(exchange.url) as client,
    ):
        await client.subscribe("candles", symbol="BTCUSDT", interval="1m")
        for _ in range(10):
            exchange.control.tick(5)
        assert exchange.control.frames_sent.get("candle", 0) <= 1
        clock.now += 1
        exchange.control.tick(5)
        clock.now += 1
        exchange.control.tick(0)  # nothing changed: nothing to say
        assert exchange.control.frames_sent["candle"] <= 2


async def test_the_page_pushes_closed_candles_only_and_in_its_own_names() -> None:
    clock = Clock()
    async with SandboxExchange(rate=0, pairs=1, dialect="page", clock=clock) as exchange, bare(exchange.url) as client:
        await client.subscribe("candles", symbol="BTCUSDT", interval="1m")
        exchange.control.tick(20)
        await client.proves_silent()
        clock.now += 60
        exchange.control.tick(0)
        candle = await client.next()
        assert list(candle) == ["type", "symbol", "interval", "open", "high", "low", "close", "volume", "open_time"]
        assert candle["type"] == "candle"
        assert candle["open_time"] == "2026-01-01T00:00:00.000Z"


async def test_a_pushed_tick_is_in_the_candle() -> None:
    clock = Clock()
    async with SandboxExchange(rate=0, pairs=1, dialect="page", clock=clock) as exchange, bare(exchange.url) as client:
        await client.subscribe("candles", symbol="BTCUSDT", interval="1m")
        exchange.control.push_tick("BTCUSDT", price="100.00", quantity="2")
        exchange.control.push_tick("BTCUSDT", price="90.50", quantity="0.5")
        clock.now += 61
        exchange.control.tick(0)
        candle = await client.next()
        expected = {"open": "100", "high": "100", "low": "90.5", "close": "90.5", "volume": "2.5"}
        assert numbers(candle) == {name: Decimal(text) for name, text in expected.items()}


async def test_a_candle_of_the_test_s_own() -> None:
    sent: list[JournalEntry] = []
    async with (
        SandboxExchange(rate=0, pairs=1, journal=sent.append) as exchange,
        bare(exchange.url) as client,
    ):
        await client.subscribe("candles", symbol="BTCUSDT", interval="1h")
        exchange.control.push_candle("BTCUSDT", "1h", {"time": "t", "open": "1", "is_closed": True})
        assert await client.next() == {
            "channel": "candles",
            "symbol": "BTCUSDT",
            "interval": "1h",
            "data": {"time": "t", "open": "1", "is_closed": True},
        }
        assert [(entry.kind, entry.topic, entry.connections) for entry in sent] == [
            ("candle", "candles:BTCUSDT:1h", (1,))
        ]


@pytest.mark.parametrize("interval", INTERVAL_MINUTES)
def test_every_interval_closes_at_its_boundary_with_everything_in_it(interval: str) -> None:
    market = Market(make_pairs(2, 1), 1)
    pair = market.pairs["ETHUSDT"]
    book, closed = CandleBook(), []
    minutes = INTERVAL_MINUTES[interval]
    for minute in range(0, 3 * 1440 + 1, 7):
        closed += [bar for _, name, bar in book.roll(MIDNIGHT + 60 * minute) if name == interval]
        book.trade(pair, 1000 + minute, 1)
    closed += [bar for _, name, bar in book.roll(MIDNIGHT + 60 * 3 * 1440) if name == interval]
    assert sum(bar.volume for bar in closed) == len(range(0, 3 * 1440, 7))
    for bar in closed:
        assert bar.start % minutes == 0
        first = bar.start - int(MIDNIGHT // 60)
        inside = [1000 + m for m in range(0, 3 * 1440, 7) if first <= m < first + minutes]
        assert (bar.open, bar.high, bar.low, bar.close) == (inside[0], inside[-1], inside[0], inside[-1])


def test_a_forming_long_candle_holds_the_running_minute() -> None:
    pair = Market(make_pairs(1, 1), 1).pairs["BTCUSDT"]
    book = CandleBook()
    book.roll(MIDNIGHT)
    assert book.forming(pair, "5m") is None
    book.trade(pair, 10, 1)
    book.roll(MIDNIGHT + 60)
    book.trade(pair, 7, 2)
    bar = book.forming(pair, "5m")
    assert bar is not None
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (10, 10, 7, 7, 3)
    assert book.forming(pair, "5m") is not bar

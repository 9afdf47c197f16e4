"""A served recording in the place of the platform: for our own client, a whole bridge, and documented programs."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.recording import Lane, Recording
from agentexchange.serving import RecordedExchange
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import decode, encode
from tests.integration._pages import prepared, run_block
from tests.integration._system import KEY, TICKS_ON_DEMAND, client, eventually, worker
from tests.sdk.recording._samples import write
from tests.test_docs import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentexchange import AgentExchangeWS
    from tests._servers import RedisServer

START_US = 1_795_341_530_000_000  # 2026-11-22T09:58:50Z: its 10 o'clock is 70 s later
MARKET = Lane("m0", "log", "0123456789abcdef")
CANDLES = Lane("m0", "log:candles", "0123456789abcdef")
ACCOUNT = Lane(account_scope(KEY), "log", "fedcba9876543210")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
DOCUMENTED = ("README.md-1", "sdk.md-1", "sdk.md-3", "security.md-1", "order-truth.md-1")


def time_of(at_us: int) -> str:
    minutes, seconds = divmod(at_us // 1000 - 1_795_341_480_000, 60_000)
    hours, minutes = divmod(9 * 60 + 58 + minutes, 60)
    return f"2026-11-22T{hours:02d}:{minutes:02d}:{seconds / 1000:06.3f}Z"


class Day:
    """140 seconds: fifteen ticks a second, an order that fills each second, and the candles that close."""

    def __init__(self) -> None:
        self._seqs: dict[str, int] = defaultdict(int)
        ticks = [self.tick(number, START_US + number * 66_667) for number in range(2100)]
        orders = [raw for second in range(140) for raw in self.order(second, START_US + second * 1_000_000 + 500)]
        candles = [self.candle("1m", "09:58", 12), self.candle("1m", "09:59", 72), self.candle("1h", "09:00", 72.5)]
        self.parts = [(MARKET, ticks), (ACCOUNT, orders), (CANDLES, candles)]

    def event(self, topic: str, fields: dict[str, Any], at_us: int) -> bytes:
        self._seqs[topic] += 1
        return encode(topic, 7, self._seqs[topic], at_us // 1000, at_us, fields)

    def tick(self, number: int, at_us: int) -> bytes:
        symbol = SYMBOLS[number % 3]
        fields = {"symbol": symbol, "price": f"{100 + number % 37}.{number:08d}", "timestamp": time_of(at_us)}
        return self.event(f"ticker:{symbol}", fields | {"quantity": "0.5", "is_buyer_maker": number % 2 == 0}, at_us)

    def order(self, number: int, at_us: int) -> list[bytes]:
        fields = {"order_id": f"o-{number}", "symbol": "BTCUSDT", "side": "buy", "status": "pending"}
        placed = fields | {"executed_price": None, "executed_quantity": None, "type": "market", "quantity": "1"}
        filled = placed | {"status": "filled", "executed_price": "100.5", "executed_quantity": "1"}
        portfolio = {"total_equity": f"{number}.5", "available_cash": "9", "unrealized_pnl": "0", "roi_pct": None}
        return [
            self.event("orders", placed, at_us),
            self.event("orders", filled, at_us + 1_000),
            self.event("portfolio", portfolio, at_us + 2_000),
        ]

    def candle(self, interval: str, start: str, after_s: float) -> bytes:
        time = f"2026-11-22T{start}:00.000Z"
        fields = {"symbol": "BTCUSDT", "interval": interval, "open": "1", "high": "3", "low": "1", "close": "2"}
        more = {"volume": "9", "open_time": time, "time": time, "is_closed": True}
        return self.event(f"candles:BTCUSDT:{interval}", fields | more, START_US + int(after_s * 1_000_000))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("day") / "day.axlog", Day().parts)


def fields_of(day: Path, *topics: str) -> list[dict[str, Any]]:
    with Recording(day) as recording:
        return [decode(raw).data for _, raws in recording.runs(topics=topics, notices=False) for raw in raws]


def listening(calls: dict[str, list[dict[str, Any]]], **waiting: Any) -> Callable[[AgentExchangeWS], None]:
    def register(ws: AgentExchangeWS) -> None:
        ws.on_ticker("all", **waiting)(calls["ticker:all"].append)
        ws.on_ticker("ETHUSDT", **waiting)(calls["ticker:ETHUSDT"].append)
        ws.on_candles("BTCUSDT", "1m")(calls["candles:BTCUSDT:1m"].append)
        ws.on_order_update()(calls["orders"].append)
        ws.on_portfolio(**waiting)(calls["portfolio"].append)

    return register


def check(calls: dict[str, list[dict[str, Any]]], day: Path) -> None:
    for topic in ("ticker:all", "ticker:ETHUSDT", "orders", "portfolio"):
        assert calls[topic] == fields_of(day, topic), topic
    candles = [
        {name: fields[name] for name in ("open_time", "close", "is_closed")} for fields in calls["candles:BTCUSDT:1m"]
    ]
    recorded = fields_of(day, "candles:BTCUSDT:1m")
    assert candles[:2] == [{name: fields[name] for name in ("open_time", "close", "is_closed")} for fields in recorded]


def check_built(candles: list[dict[str, Any]], day: Path) -> None:
    expected = defaultdict(list)
    for fields in fields_of(day, "ticker:BTCUSDT"):
        expected[fields["timestamp"][:16]].append(fields["price"])
    assert [candle["complete"] for candle in candles] == [False, True, True], "where it began may have been missed"
    for candle in candles[1:]:
        prices = expected[candle["open_time"][:16]]
        assert (candle["open"], candle["close"], candle["trades"]) == (prices[0], prices[-1], len(prices))
        assert (candle["high"], candle["low"]) == (max(prices, key=float), min(prices, key=float))
        assert candle["source"] == "built"


WAIT = {"policy": "wait", "max_queue": 10_000}


@pytest.mark.parametrize("speed", [0, 50])
async def test_our_own_client_gets_every_recorded_event(day: Path, speed: float) -> None:
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    async with RecordedExchange(day, speed=speed) as exchange, client(exchange.url, listening(calls, **WAIT)):
        await exchange.control.wait_for_ends(1)
        await eventually(lambda: len(calls["ticker:all"]) == 2100 and len(calls["portfolio"]) == 140)
    check(calls, day)


async def test_our_own_client_builds_the_candles_that_are_not_pushed(day: Path) -> None:
    """On the ticks' own time, as the recording is of long ago and goes by fifty times as fast."""
    candles: list[dict[str, Any]] = []

    def register(ws: AgentExchangeWS) -> None:
        ws.on_candles("BTCUSDT", "1m")(candles.append)

    async with RecordedExchange(day, speed=50, candles=False) as exchange, client(exchange.url, register):
        await exchange.control.wait_for_ends(1)
        await eventually(lambda: len(candles) == 3)
    check_built(candles, day)


@pytest.mark.server
async def test_a_whole_bridge_is_fed_by_it(day: Path, redis_server: RedisServer, tmp_path: Path) -> None:
    """The market and the account come over connections of their own: a shared clock keeps them in step."""
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    async with RecordedExchange(day, speed=50, shared_clock=True) as exchange:
        exchange.control.pause()
        with worker(exchange.url, redis_server.url, log=tmp_path / "worker.log", args=TICKS_ON_DEMAND):
            async with client(redis_server.url, listening(calls, **WAIT)):
                await exchange.control.wait_for_subscriptions("ticker:all", "orders", "candles:BTCUSDT:1m")
                exchange.control.resume()
                await exchange.control.wait_for_ends(1)
                await eventually(lambda: len(calls["ticker:all"]) == 2100 and len(calls["portfolio"]) == 140)
    check(calls, day)


@pytest.mark.server
async def test_a_bridge_builds_the_candles_that_are_not_pushed(
    day: Path, redis_server: RedisServer, tmp_path: Path
) -> None:
    candles: list[dict[str, Any]] = []

    def register(ws: AgentExchangeWS) -> None:
        ws.on_candles("BTCUSDT", "1m")(candles.append)

    async with RecordedExchange(day, speed=50, shared_clock=True, candles=False) as exchange:
        exchange.control.pause()
        with worker(exchange.url, redis_server.url, log=tmp_path / "worker.log", args=TICKS_ON_DEMAND):
            async with client(redis_server.url, register):
                await exchange.control.wait_for_subscriptions("ticker:all", "candles:BTCUSDT:1m")
                exchange.control.resume()
                await exchange.control.wait_for_ends(1)
                await eventually(lambda: len(candles) == 3)
    check_built(candles, day)


@pytest.mark.parametrize("speed", [1, 50])
async def test_documented_programs_run_against_it(day: Path, tmp_path: Path, speed: float) -> None:
    async with RecordedExchange(day, speed=speed) as exchange:

        async def run(name: str) -> None:
            folder = tmp_path / name
            folder.mkdir()
            outcome = await run_block(
                prepared(BLOCKS[name], key=KEY, url=exchange.url),
                folder=folder,
                key=KEY,
                urls={"AGENTEXCHANGE_WS_URL": exchange.url},
                until=re.compile(r"\S"),
                wait_s=20,
            )
            assert outcome.complaints == "", name
            assert outcome.printed, name

        async with asyncio.TaskGroup() as group:
            for name in DOCUMENTED:
                group.create_task(run(name))

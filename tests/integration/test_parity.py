"""The product's first promise: the same frames give the same handler calls, straight and shared."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.testing import SandboxExchange
from tests.integration._system import KEY, TICKS_ON_DEMAND, client, eventually, worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agentexchange import AgentExchangeWS
    from tests._servers import RedisServer

Calls = dict[str, list[dict[str, Any]]]

SYMBOLS = [f"PAIR{number}USDT" for number in range(40)]
WATCHED = SYMBOLS[:8]
HELLO, BEGIN, LAST = "111111.5", "555555.5", "999999.5"  # in every handler's topic: is it there, from here, to here
JUNK: list[str | bytes] = [
    b"\xff\xfe not utf-8",
    b"",
    "[1, 2, 3]",
    "17",
    "null",
    '{"channel": 5}',
    '{"channel": "ticker", "symbol": "{A}", "data": {"price": "1"}}',
    '{"channel": "ticker", "symbol": "A B", "data": {"price": "1"}}',
    '{"channel": "ticker", "symbol": "PAIR0USDT", "data": {}}',
    '{"channel": "ticker", "symbol": "PAIR0USDT", "data": {"price": null}}',
    '{"channel": "ticker", "symbol": "PAIR0USDT", "data": {"price": "1", "deep": ' + "[" * 40 + "]" * 40 + "}}",
    '{"channel": "orders", "data": {"status": "filled"}}',
    '{"type": "welcome", "message": "hello"}',
]


def recorded(count: int, seed: int) -> list[str | bytes]:
    """Frames of every kind and dialect, odd values and junk among them."""
    rng = random.Random(seed)
    return [_frame(rng, number) for number in range(count)]


def _frame(rng: random.Random, number: int) -> str | bytes:
    make = rng.choices([_ticker, _order, _portfolio, _candle, _junk], [70, 8, 5, 9, 8])[0]
    return make(rng, number)


def _junk(rng: random.Random, number: int) -> str | bytes:
    return rng.choice(JUNK) if rng.random() < 0.8 else rng.randbytes(rng.randint(1, 40))


def _ticker(rng: random.Random, number: int) -> str:
    symbol = rng.choice(SYMBOLS)
    data: dict[str, Any] = {"price": f"{rng.uniform(0.001, 1e5):.{rng.randint(0, 8)}f}"}
    if rng.random() < 0.9:
        data |= {"quantity": f"{rng.random():.8f}", "timestamp": f"2026-02-23T15:30:45.{number % 1000:03d}Z"}
    if rng.random() < 0.1:
        data |= {"note": "é\u2028😀", "big": 2**80, "nested": {"a": [1, None, 0.1]}}
    if rng.random() < 0.05:
        data["quantity"] = rng.random()
    form = rng.randrange(4)
    if form == 0:
        return json.dumps({"type": "ticker", "symbol": symbol.lower(), **data})
    if form == 1:
        return json.dumps({"channel": f"ticker:{symbol}", "data": data})
    if form == 2:
        return json.dumps({"channel": "ticker_all", "data": data | {"symbol": symbol}})
    return json.dumps({"channel": "ticker", "symbol": symbol, "data": data})


def _candle(rng: random.Random, number: int) -> str:
    data = {
        "time": f"2026-02-{20 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00Z",
        "open": "1",
        "high": "3.0",
        "low": "0.5",
        "close": f"{number}",
    }
    if rng.random() < 0.8:
        data |= {"volume": "12.5", "is_closed": rng.random() < 0.5}
    if rng.random() < 0.5:
        return json.dumps({"type": "candle", "symbol": "PAIR0USDT", "interval": "1m", **data})
    return json.dumps({"channel": "candles", "symbol": "PAIR0USDT", "interval": "1m", "data": data})


def _order(rng: random.Random, number: int) -> str:
    status = rng.choice(["pending", "partially_filled", "filled", "cancelled", "rejected"])
    data = {"order_id": f"order {number // 3}", "status": status, "symbol": rng.choice(SYMBOLS), "side": "buy"}
    if status == "filled":
        data |= {"executed_price": "1.25", "executed_quantity": "3", "fee": 0.1}
    if rng.random() < 0.3:
        return json.dumps({"type": "order_update", **data})
    return json.dumps({"channel": "orders", "data": data | {"type": "limit"}})


def _portfolio(rng: random.Random, number: int) -> str:
    return json.dumps({"channel": "portfolio", "data": {"total_equity": f"{number}.00", "roi_pct": None}})


def marks(mark: str) -> list[str]:
    """One frame with ``mark`` in it to each handler's topic."""
    candle = {"open": mark, "high": mark, "low": mark, "close": mark, "is_closed": True}
    return [
        *(json.dumps({"channel": "ticker", "symbol": symbol, "data": {"price": mark}}) for symbol in WATCHED),
        json.dumps({"channel": "candles", "symbol": "PAIR0USDT", "interval": "1m", "data": candle}),
        json.dumps({"channel": "orders", "data": {"order_id": mark, "status": "filled"}}),
        json.dumps({"channel": "portfolio", "data": {"total_equity": mark}}),
    ]


def recording(calls: Calls) -> Callable[[AgentExchangeWS], None]:
    """Handlers of every kind that note each call, in order."""

    def register(ws: AgentExchangeWS) -> None:
        def note(name: str) -> Callable[[dict[str, Any]], Any]:
            async def handler(data: dict[str, Any]) -> None:
                calls[name].append(data)

            return handler

        for symbol in WATCHED:  # all of them wait: on a busy machine one may lag, and conflate
            ws.on_ticker(symbol, policy="wait")(note(f"ticker {symbol}"))
        ws.on_candles("PAIR0USDT", "1m")(note("closed candles"))
        ws.on_candles("PAIR0USDT", "1m", closed_only=False)(note("all candles"))
        ws.on_order_update()(note("orders"))
        ws.on_portfolio(policy="wait")(note("portfolio"))

    return register


def everything(calls: Calls) -> Callable[[AgentExchangeWS], None]:
    """One handler for the whole market."""

    def register(ws: AgentExchangeWS) -> None:
        @ws.on_ticker("all", policy="wait")
        async def note(data: dict[str, Any]) -> None:
            calls["all"].append(data)

    return register


def have(calls: Calls, handlers: int, mark: str) -> bool:
    """Whether every handler was given ``mark``."""
    return len(calls) == handlers and all(any(mark in row.values() for row in rows) for rows in calls.values())


def between(calls: Calls) -> Calls:
    """What each handler was given from the last frame that begins the run to the frame that ends it."""
    cut: Calls = {}
    for name, rows in calls.items():
        begins = max(number for number, row in enumerate(rows) if BEGIN in row.values())
        cut[name] = rows[begins:]
    return cut


HANDLERS = len(WATCHED) + 4


@pytest.mark.server
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_frames_give_the_same_calls(redis_server: RedisServer, tmp_path: Path, seed: int) -> None:
    calls: dict[str, Calls] = {way: defaultdict(list) for way in ("straight", "shared", "straight all", "shared all")}

    def are_at(mark: str) -> bool:
        return all(have(seen, 1 if way.endswith("all") else HANDLERS, mark) for way, seen in calls.items())

    async with SandboxExchange(rate=0, api_keys=[KEY], subscription_limit=None) as exchange:

        def push(*frames: str | bytes) -> bool:
            for frame in frames:
                exchange.control.push(frame)
            return True

        # what is built differs by when each of the two was started; tests/integration/test_candles.py compares that
        topics = ("--topic", "ticker:all", "--topic", "candles:PAIR0USDT:1m", "--candles", "upstream", *TICKS_ON_DEMAND)
        with worker(exchange.url, redis_server.url, log=tmp_path / "worker.log", args=topics):
            await exchange.control.wait_for_subscriptions("ticker:all", "candles:PAIR0USDT:1m", "orders", "portfolio")
            async with (
                client(exchange.url, recording(calls["straight"]), candles="upstream"),
                client(exchange.url, everything(calls["straight all"])),
                client(redis_server.url, recording(calls["shared"])),
                client(redis_server.url, everything(calls["shared all"])),
            ):
                await eventually(lambda: push(*marks(HELLO)) and are_at(HELLO), what="every handler to be reached")
                push(*marks(BEGIN), *recorded(4000, seed), *marks(LAST))
                await eventually(lambda: are_at(LAST), what="every handler to be given everything")

    got = {way: between(seen) for way, seen in calls.items()}
    assert got["shared"] == got["straight"]
    assert got["shared all"] == got["straight all"]
    assert len(got["straight all"]["all"]) > 2000
    for name, rows in got["straight"].items():
        assert [list(row) for row in rows] == [list(row) for row in got["shared"][name]], "keys in another order"

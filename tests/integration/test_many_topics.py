"""More topics than a connection of the platform takes: every handler is fed, straight and shared."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.testing import SandboxExchange
from tests.integration._system import KEY, TICKS_ON_DEMAND, client, eventually, worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from agentexchange import AgentExchangeWS
    from tests._servers import RedisServer

CAP = 10
"""Subscriptions of one connection, as on the live platform; so are the twins, and private events on every session."""


@pytest.fixture
async def exchange() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(rate=0, pairs=220, api_keys=(KEY,), dialect="live") as sandbox:
        yield sandbox


class Agent:
    """Counts what its handlers are given."""

    def __init__(self, *topics: str) -> None:
        self.topics = topics
        self.got: Counter[str] = Counter()
        self.states: list[tuple[str | None, str]] = []

    def register(self, ws: AgentExchangeWS) -> None:
        for topic in self.topics:
            ws.subscribe(topic, self._counting(topic))

        @ws.on_status()
        async def on_status(status: Any) -> None:
            self.states.append((status.topic, str(status.state)))

    def _counting(self, topic: str) -> Any:
        async def handle(data: dict[str, Any]) -> None:
            del data
            self.got[topic] += 1

        return handle


def push(exchange: SandboxExchange, symbols: Iterable[str], price: str) -> None:
    for symbol in symbols:
        exchange.control.push_tick(symbol, price=price)


async def test_twenty_five_single_handlers_and_the_account_straight(exchange: SandboxExchange) -> None:
    symbols = exchange.control.symbols[:25]
    singles = [f"ticker:{symbol}" for symbol in symbols]
    agent = Agent(*singles, "orders", "portfolio")
    async with client(exchange.url, agent.register) as ws:
        await exchange.control.wait_for_subscriptions(*agent.topics)
        await eventually(lambda: (None, "live") in agent.states)
        connections = exchange.control.connections
        assert [len(one.subscriptions) for one in connections] == [9, 9, 9], "as many as needed, evenly filled"
        for price in ("1", "2", "3"):
            push(exchange, symbols, price)
            exchange.control.push_order({"order_id": f"o{price}", "status": "pending"})
            exchange.control.push_portfolio({"total_equity": price})
        await eventually(lambda: all(agent.got[topic] == 3 for topic in agent.topics), what="three of each")
        push(exchange, symbols, "4")
        await eventually(lambda: all(agent.got[topic] == 4 for topic in singles), what="what comes after")
        assert agent.got["orders"] == 3, "once, though every session gets them"
        assert ws.stats().transport["sessions_open"] == 3
    assert not [state for state in agent.states if state[1] == "unavailable"]


@pytest.mark.server
async def test_two_hundred_topics_of_shared_clients_over_ten_sessions_at_most(
    exchange: SandboxExchange, redis_server: RedisServer, tmp_path: Path
) -> None:
    symbols = exchange.control.symbols
    candles = [f"candles:{symbol}:1m" for symbol in symbols[:50]]
    crews = [
        Agent(*(f"ticker:{symbol}" for symbol in symbols[:80]), *candles, "orders"),
        Agent(*(f"ticker:{symbol}" for symbol in symbols[70:149])),
    ]
    config = tmp_path / "bridge.toml"
    config.write_text("topics = []\nmax_sessions = 10\n")
    topics = {topic for crew in crews for topic in crew.topics} - {"orders"}
    assert len(topics) == 199
    with worker(
        exchange.url, redis_server.url, log=tmp_path / "worker.log", args=("--config", str(config), *TICKS_ON_DEMAND)
    ):
        async with client(redis_server.url, crews[0].register), client(redis_server.url, crews[1].register):
            await exchange.control.wait_for_subscriptions("ticker:all", "orders", *candles)
            await eventually(lambda: all((None, "live") in crew.states for crew in crews))
            await eventually(lambda: _is_settled(exchange), what="the folding to be over")
            begun = [Counter(crew.got) for crew in crews]
            for price in ("1", "2"):
                push(exchange, symbols, price)
            exchange.control.push_order({"order_id": "o1", "status": "pending"})
            for crew, before in zip(crews, begun, strict=True):
                tickers = [topic for topic in crew.topics if topic.startswith("ticker:")]
                await eventually(lambda crew=crew, tickers=tickers, before=before: all(
                    crew.got[topic] - before[topic] == 2 for topic in tickers
                ), what="two of each")  # fmt: skip
            await eventually(lambda: crews[0].got["orders"] == 1)
            for topic in candles:
                _, symbol, interval = topic.split(":")
                fields = {"open": "1", "high": "2", "low": "1", "close": "2", "volume": "9"}
                exchange.control.push_candle(
                    symbol, interval, fields | {"time": "2026-02-23T15:30:00Z", "is_closed": True}
                )
            await eventually(lambda: all(crews[0].got[topic] == 1 for topic in candles), what="every candle")
            assert len(exchange.control.connections) <= 10 + 1, "the market's, and the account's"
            assert all(len(one.subscriptions) <= CAP for one in exchange.control.connections)
    unavailable = [state for crew in crews for state in crew.states if state[1] == "unavailable"]
    assert not unavailable


def _is_settled(exchange: SandboxExchange) -> bool:
    """Whether single tickers are left, so that no tick comes both ways."""
    topics = [topic for one in exchange.control.connections for topic in one.subscriptions]
    return not [topic for topic in topics if topic.startswith("ticker:") and topic != "ticker:all"]

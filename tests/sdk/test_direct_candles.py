"""Candles of a client that talks to the platform itself: built where the platform pushes none."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, FeedState, FeedStatus
from agentexchange.testing import DEMO_KEY
from tests._candle_market import SYMBOL, CandleMarket, at, fast
from tests.integration._system import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange.client import CandlesName

MINUTE, QUARTER, FOUR = (f"candles:{SYMBOL}:{interval}" for interval in ("1m", "15m", "4h"))
TICKER = f"ticker:{SYMBOL}"


class Noting:
    """Handlers that note what they are given, by name."""

    def __init__(self) -> None:
        self.got: dict[str, list[Any]] = defaultdict(list)

    def __call__(self, name: str) -> Callable[[Any], Any]:
        async def handler(data: Any) -> None:
            self.got[name].append(data)

        return handler


def straight(market: CandleMarket, *, candles: CandlesName = "auto") -> AgentExchangeWS:
    """A client on the market's clock."""
    ws = AgentExchangeWS(DEMO_KEY, market.exchange.url, candles=candles)
    ws._transports._options = fast(market.clock)
    market.arrived = lambda: int(ws.stats().transport.get("events", 0))
    return ws


def closed_of(market: CandleMarket, interval: str, *, wanted_at: float) -> list[dict[str, Any]]:
    """The closed candles of the interval by plain computing."""
    closed = market.reference(interval, wanted_at=wanted_at).close_due(market.clock.us())
    return [fields for topic, fields in closed if topic == f"candles:{SYMBOL}:{interval}"]


async def test_long_candles_are_right_on_a_platform_that_refuses_them_and_pushes_none() -> None:
    start, note = at("11:58:30"), Noting()
    market = CandleMarket(start)
    async with market.exchange as exchange:
        ws = straight(market)
        for topic in (QUARTER, FOUR):
            ws.on_candles(*topic.split(":")[1:])(note(topic))
        ws.on_status()(note("status"))
        async with ws:
            await exchange.control.wait_for_subscriptions(TICKER)
            await eventually(lambda: FeedState.LIVE in [status.state for status in note.got["status"]])
            await market.trade(at("16:00:03"))
            await eventually(lambda: len(note.got[FOUR]) == 2)
    assert note.got[QUARTER] == closed_of(market, "15m", wanted_at=start)
    assert note.got[FOUR] == closed_of(market, "4h", wanted_at=start)
    assert [fields["complete"] for fields in note.got[FOUR]] == [False, True]
    assert [fields["complete"] for fields in note.got[QUARTER]] == [False] + [True] * 16
    told = [status.topic for status in note.got["status"]]
    assert told == [None] * len(told), "a refusal of candles that are built is nobody's trouble"


async def test_a_blind_span_is_said_by_the_candles_it_touches() -> None:
    start, note = at("12:00:30"), Noting()
    market = CandleMarket(start)
    async with market.exchange as exchange:
        ws = straight(market)
        ws.on_candles(SYMBOL, "1m")(note(MINUTE))
        ws.on_status()(note("status"))

        def told(state: FeedState) -> int:
            return sum(status.state is state for status in note.got["status"])

        async with ws:
            await exchange.control.wait_for_subscriptions(TICKER)
            await market.trade(at("12:03:20"), pace_s=10)
            exchange.control.hold_handshakes()
            exchange.control.drop()
            await eventually(lambda: told(FeedState.BLIND))
            market.clock.now = at("12:03:50")
            exchange.control.accept_handshakes()
            await eventually(lambda: told(FeedState.LIVE) >= 2)
            await exchange.control.wait_for_subscriptions(TICKER)
            await eventually(lambda: not ws._life.transport._desk._sight.waiting())  # type: ignore[union-attr]
            await market.trade(at("12:05:03"), pace_s=10)
            await eventually(lambda: len(note.got[MINUTE]) == 5)
    complete = {fields["open_time"][14:16]: fields["complete"] for fields in note.got[MINUTE]}
    assert complete == {"00": False, "01": True, "02": True, "03": False, "04": True}


async def test_auto_takes_the_platforms_candles_when_it_begins_to_push_them_and_builds_again_when_it_stops() -> None:
    start, note = at("12:00:30"), Noting()
    market = CandleMarket(start)
    async with market.exchange as exchange:
        ws = straight(market)
        ws.on_candles(SYMBOL, "1m")(note(MINUTE))
        async with ws:
            await exchange.control.wait_for_subscriptions(TICKER, MINUTE)
            for minute in range(1, 6):
                await market.trade(at(f"12:0{minute}:00.300"), pace_s=10)
                if 2 <= minute <= 3:
                    prices = dict.fromkeys(("open", "high", "low", "close"), "1")
                    opened = f"2026-03-02T12:0{minute - 1}:00Z"
                    candle = {"time": opened, **prices, "volume": "1", "is_closed": True}
                    exchange.control.push_candle(SYMBOL, "1m", candle)
                    await eventually(lambda minute=minute: len(note.got[MINUTE]) == minute)
                market.clock.now = at(f"12:0{minute}:06")
                await eventually(lambda minute=minute: len(note.got[MINUTE]) == minute)
        stats = ws.stats().transport
    sources = [fields["source"] for fields in note.got[MINUTE]]
    assert sources == ["built", "upstream", "upstream", "built", "built"]
    assert [fields["open_time"][14:16] for fields in note.got[MINUTE]] == ["00", "01", "02", "03", "04"]
    assert stats["candle_source_switches"] == 2
    assert (stats["candles_built"], stats["candles_from_upstream"]) == (3, 2)


async def test_what_candles_are_built_from_reaches_no_handler_that_did_not_ask() -> None:
    market, note = CandleMarket(at("12:00:30")), Noting()
    async with market.exchange as exchange:
        ws = straight(market)
        ws.on_ticker("all")(note("all"))
        ws.on_candles(SYMBOL, "15m")(note(QUARTER))
        ws.on_candles(SYMBOL, "15m", closed_only=False)(note("forming"))
        ws.on_candles(SYMBOL, "1m")(note(MINUTE))
        ws.unsubscribe("ticker:all")
        ws.unsubscribe(MINUTE)
        async with ws:
            await exchange.control.wait_for_subscriptions(TICKER)
            await market.trade(at("12:05:00"))
            await eventually(lambda: note.got["forming"])
        assert [note.got[name] for name in ("all", MINUTE, QUARTER)] == [[], [], []]
        assert {fields["is_closed"] for fields in note.got["forming"]} == {False}
        assert [stats.delivered for stats in ws.stats().handlers if stats.topic != QUARTER] == [0, 0]


async def test_the_ticker_stays_subscribed_as_long_as_somebody_needs_it() -> None:
    market, note = CandleMarket(at("12:00:30")), Noting()
    async with market.exchange as exchange:
        control, ws = exchange.control, straight(market)
        ws.on_candles(SYMBOL, "1m")(note(MINUTE))
        async with ws:
            await control.wait_for_subscriptions(TICKER, MINUTE)
            ws.subscribe(TICKER, note(TICKER))
            ws.subscribe(FOUR, note(FOUR))
            ws.unsubscribe(MINUTE)
            await control.wait_for_no_subscriptions(MINUTE)
            ws.unsubscribe(FOUR)
            ws.subscribe("ticker:ETHUSDT", note("ETH"))
            await control.wait_for_subscriptions(TICKER, "ticker:ETHUSDT")
            ws.subscribe(FOUR)
            ws.unsubscribe(TICKER)
            ws.subscribe("ticker:BTCUSDT", note("BTC"))
            await control.wait_for_subscriptions(TICKER, "ticker:BTCUSDT")
            ws.unsubscribe(FOUR)
            await control.wait_for_no_subscriptions(TICKER)


async def test_with_upstream_as_the_only_source_a_refusal_is_told() -> None:
    market, note = CandleMarket(at("12:00:30")), Noting()
    async with market.exchange as exchange:
        ws = straight(market, candles="upstream")
        ws.on_candles(SYMBOL, "1m")(note(MINUTE))
        ws.on_candles(SYMBOL, "15m")(note(QUARTER))
        ws.on_status()(note("status"))
        async with ws:
            await exchange.control.wait_for_subscriptions(MINUTE)
            status: FeedStatus = await eventually(
                lambda: next((status for status in note.got["status"] if status.topic), None)
            )
        assert (status.topic, status.state) == (QUARTER, FeedState.UNAVAILABLE)
        assert {topic for info in exchange.control.connections for topic in info.subscriptions} <= {MINUTE}


async def test_candles_that_are_always_built_are_not_asked_for() -> None:
    market, note = CandleMarket(at("12:00:30")), Noting()
    async with market.exchange as exchange:
        ws = straight(market, candles="build")
        ws.on_candles(SYMBOL, "1m")(note(MINUTE))
        async with ws:
            await exchange.control.wait_for_subscriptions(TICKER)
            (connection,) = exchange.control.connections
            assert connection.subscriptions == {TICKER}


def test_the_source_is_one_of_three() -> None:
    with pytest.raises(ValueError, match="candles must be one of auto, upstream, build, not 'both'"):
        AgentExchangeWS(DEMO_KEY, candles="both")  # type: ignore[arg-type]
    AgentExchangeWS(DEMO_KEY, "redis://localhost", candles="build")  # there the bridge decides: nothing else changes

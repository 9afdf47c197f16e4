"""How fresh a topic is at a client, straight and shared; most of it in a simulated time."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, EventMeta, FeedState, FeedStatus, Freshness
from agentexchange._direct_freshness import DirectFreshness
from agentexchange._dispatch import Dispatcher
from agentexchange._freshness import freshness_of
from agentexchange._transport import Outlook
from agentexchange.freshness import LOOK_S
from agentexchange.testing import DEMO_KEY, SandboxExchange
from agentexchange.upstream import FeedOptions
from agentexchange_schemas import Cause, Envelope, Topic
from tests.sdk._shared_client import KEY, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

BTC, ETH = Topic.ticker("BTCUSDT"), Topic.ticker("ETHUSDT")
T0 = datetime(2026, 2, 23, 15, 30, 45, tzinfo=UTC)
LIVE_SINCE = datetime(2026, 11, 22, 10, tzinfo=UTC)


def tick(symbol: str = "BTCUSDT", time: str = "2026-02-23T15:30:45.123Z") -> dict[str, Any]:
    return {"symbol": symbol, "price": "1", "timestamp": time}


class Teller(Dispatcher):
    """A dispatcher that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[FeedStatus] = []

    def status(self, status: FeedStatus) -> None:
        self.told.append(status)
        super().status(status)


class Straight:
    """A straight feed in a simulated time."""

    def __init__(self, *topics: Topic) -> None:
        self.now = 100.0
        self.dispatcher = Teller()
        self.wanted = dict.fromkeys(topics)
        options = FeedOptions(clock=lambda: self.now)
        self.freshness = DirectFreshness(self.dispatcher, options, self.wanted)
        self.says(FeedState.LIVE)
        self.dispatcher.told.clear()

    def says(self, state: FeedState, topic: Topic | None = None) -> None:
        self.freshness.on_status(FeedStatus(state=state, topic=str(topic) if topic else None, since=T0))

    def runs(self, seconds: float, *topics: Topic) -> list[tuple[str | None, FeedState]]:
        before, until = len(self.dispatcher.told), self.now + seconds
        while self.now < until:
            self.now += LOOK_S
            for topic in topics:
                self.dispatcher.event(str(topic), tick(topic.symbol or ""))
            self.freshness.look()
        return [(status.topic, status.state) for status in self.dispatcher.told[before:]]

    def state(self, topic: Topic) -> FeedState:
        return freshness_of(topic, self.dispatcher, Outlook()).state


# Straight: judged by the client


def test_a_mute_feed_is_stale_and_only_orders_and_portfolio_stay_as_live_as_the_connection() -> None:
    feed = Straight(BTC, ETH)
    feed.runs(30.0, BTC, ETH)
    assert feed.runs(4.0) == [(None, FeedState.STALE)]
    candles = Topic.candles("BTCUSDT", "1m")
    assert [feed.state(topic) for topic in (BTC, ETH, candles)] == [FeedState.STALE] * 3
    assert [feed.state(topic) for topic in (Topic.orders(), Topic.portfolio())] == [FeedState.LIVE] * 2
    assert feed.runs(1.0, ETH) == [(None, FeedState.LIVE)]
    assert feed.state(BTC) is FeedState.LIVE


def test_a_mute_pair_is_stale_by_itself_with_its_candles() -> None:
    feed = Straight(BTC, ETH)
    feed.runs(30.0, BTC, ETH)
    assert feed.runs(6.0, BTC) == [("ticker:ETHUSDT", FeedState.STALE)]
    assert (feed.state(BTC), feed.state(ETH)) == (FeedState.LIVE, FeedState.STALE)
    assert feed.state(Topic.candles("ETHUSDT", "4h")) is FeedState.STALE


def test_a_pair_with_one_tick_a_minute_raises_no_alarm() -> None:
    feed = Straight(BTC)
    for _ in range(120):
        assert feed.runs(LOOK_S, BTC) == []
        assert feed.runs(60.0 - LOOK_S) == []
    assert feed.state(BTC) is FeedState.LIVE


def test_pairs_that_come_unasked_are_not_missed() -> None:
    feed = Straight(BTC)
    feed.runs(30.0, BTC, ETH)
    assert feed.runs(60.0, BTC) == []


def test_for_the_wildcard_and_for_candles_ticks_are_watched() -> None:
    for topic in (Topic.ticker("all"), Topic.candles("ETHUSDT", "1m")):
        feed = Straight(topic, BTC)
        feed.runs(30.0, BTC, ETH)
        assert feed.runs(6.0, BTC) == [("ticker:ETHUSDT", FeedState.STALE)]


def test_a_pair_that_is_unsubscribed_is_not_missed() -> None:
    feed = Straight(BTC, ETH)
    feed.runs(30.0, BTC, ETH)
    del feed.wanted[ETH]
    assert feed.runs(60.0, BTC) == []


def test_the_least_delay_against_upstream_is_measured() -> None:
    feed = Straight(BTC)
    assert feed.freshness.upstream_delay_s is None
    stamp = (datetime.now(UTC) - timedelta(seconds=7)).isoformat(timespec="milliseconds")
    feed.dispatcher.event(str(BTC), tick(time=stamp))
    feed.freshness.look()
    assert feed.freshness.upstream_delay_s == pytest.approx(7.0, abs=1.0)


# The answer


def test_before_anything_came_there_are_no_times() -> None:
    ws = AgentExchangeWS(DEMO_KEY)
    answer = ws.freshness("ticker:BTCUSDT")
    assert answer == Freshness("ticker:BTCUSDT", FeedState.CONNECTING, None, message="the client is not connected")
    assert not answer.is_live


@pytest.mark.parametrize("text", ["nonsense", "ticker:", "candles:BTCUSDT:7m", "ticker:{x}"])
def test_a_text_that_is_no_topic_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not valid"):
        AgentExchangeWS(DEMO_KEY).freshness(text)


def test_the_times_of_the_last_event_of_a_shared_feed() -> None:
    dispatcher = Dispatcher()
    dispatcher.status(FeedStatus(scope="m0", state=FeedState.LIVE, since=T0))
    us = 1_771_860_645_500_000
    envelope = Envelope("ticker:BTCUSDT", 7, 3, us // 1000 - 100, us, tick(), us + 800)
    dispatcher.event("ticker:BTCUSDT", tick(), envelope, "live", "m0")
    answer = freshness_of(BTC, dispatcher, Outlook(("m0",), clock_difference_s=0.25))
    assert (answer.state, answer.since, answer.clock_difference_s) == (FeedState.LIVE, T0, 0.25)
    assert answer.upstream_time == datetime(2026, 2, 23, 15, 30, 45, 400_000, UTC)
    assert answer.received_time == datetime(2026, 2, 23, 15, 30, 45, 500_000, UTC)
    assert answer.written_time == datetime(2026, 2, 23, 15, 30, 45, 500_800, UTC)
    assert answer.delivered_time is None
    assert answer.age_s is not None
    assert 0 <= answer.age_s < 5


def test_the_times_of_an_old_envelope_and_of_one_that_names_none() -> None:
    dispatcher = Dispatcher()
    dispatcher.event("ticker:BTCUSDT", tick(), Envelope("ticker:BTCUSDT", 7, 3, None, 5, tick()), "live", "m0")
    answer = freshness_of(BTC, dispatcher, Outlook(("m0",)))
    assert (answer.upstream_time, answer.written_time) == (None, None)


def test_what_a_handler_has_made_of_the_time_stamp_is_no_fault() -> None:
    dispatcher = Dispatcher()
    dispatcher.event("ticker:BTCUSDT", tick() | {"timestamp": T0})
    assert freshness_of(BTC, dispatcher, Outlook()).upstream_time is None


def test_the_wildcard_is_as_bad_as_its_worst_scope_and_as_old_as_its_newest_tick() -> None:
    dispatcher = Dispatcher()
    dispatcher.status(FeedStatus(scope="m0", state=FeedState.LIVE, since=T0))
    dispatcher.status(FeedStatus(scope="m1", state=FeedState.BLIND, since=T0, cause=Cause.UPSTREAM_LOST))
    outlook = Outlook(("m0", "m1"))
    every = Topic.ticker("all")
    assert freshness_of(every, dispatcher, outlook).state is FeedState.BLIND
    assert freshness_of(every, dispatcher, outlook).age_s is None
    dispatcher.event("ticker:BTCUSDT", tick())
    dispatcher.event("ticker:ETHUSDT", tick("ETHUSDT", "2026-02-23T15:30:46Z"))
    assert freshness_of(every, dispatcher, outlook).upstream_time == datetime(2026, 2, 23, 15, 30, 46, tzinfo=UTC)


# Whole clients


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(pairs=10, rate=0) as exchange:
        yield exchange


async def test_a_straight_client_answers_on_any_thread(sandbox: SandboxExchange) -> None:
    ws = AgentExchangeWS(DEMO_KEY, sandbox.url)
    came = asyncio.Event()
    metas: list[EventMeta] = []

    @ws.on_ticker("BTCUSDT")
    async def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
        del data
        metas.append(meta)
        came.set()

    async with ws:
        await sandbox.control.wait_for_subscriptions("ticker:BTCUSDT")
        sandbox.control.push_tick("BTCUSDT", price="64000")
        await asyncio.wait_for(came.wait(), 10)
        answer = await asyncio.to_thread(ws.freshness, "ticker:BTCUSDT")
        assert answer.is_live
        assert answer.age_s is not None
        assert (answer.written_time, answer.clock_difference_s) == (None, None)
        assert answer.received_time is not None
        assert answer.delivered_time is not None
        assert answer.received_time <= answer.delivered_time <= datetime.now(UTC)
        other = ws.freshness("ticker:ETHUSDT")
        assert (other.state, other.age_s, other.delivered_time) == (FeedState.LIVE, None, None)
    assert metas[0].received_time <= metas[0].delivered_time
    assert ws.freshness("ticker:BTCUSDT").state is FeedState.CONNECTING


@pytest.mark.server
async def test_a_shared_client_tells_a_topic_s_own_state_once_and_follows_it(
    writer: LayoutWriter, redis_server: RedisServer
) -> None:
    mute = ["stale", "2026-11-22T10:30:00.000000Z", "upstream_silent", "no tick"]
    states = {"ticker:BTCUSDT": mute, "ticker:DOGEUSDT": mute}
    writer.state(FeedState.LIVE, topic_states=json.dumps(states), clock_offset_us=250_000)
    ws = AgentExchangeWS(KEY, redis_server.url)
    told: list[FeedStatus] = []
    ws.on_ticker("BTCUSDT")(lambda _data: None)
    ws.on_status()(told.append)

    async with ws:
        await eventually(lambda: len(told) == 2)
        assert [(status.topic, status.state) for status in told] == [
            (None, FeedState.LIVE),
            ("ticker:BTCUSDT", FeedState.STALE),
        ]
        answer = ws.freshness("ticker:BTCUSDT")
        assert (answer.state, answer.message) == (FeedState.STALE, "no tick")
        assert answer.since == datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
        assert ws.freshness("ticker:ETHUSDT").state is FeedState.LIVE
        await eventually(lambda: "clock_difference_ms" in ws.stats().transport)
        assert ws.stats().transport["clock_difference_ms"] == pytest.approx(250.0, abs=20.0)
        assert ws.freshness(BTC).clock_difference_s == pytest.approx(0.25, abs=0.02)
        writer.notice(
            FeedStatus(
                scope="m0", topic="ticker:BTCUSDT", state=FeedState.LIVE, since=LIVE_SINCE, until=LIVE_SINCE
            ).to_fields()
        )
        await eventually(lambda: ws.freshness("ticker:BTCUSDT").is_live)
        writer.notice(
            FeedStatus(scope="m0", topic="ticker:ETHUSDT", state=FeedState.STALE, since=LIVE_SINCE).to_fields()
        )
        ws.subscribe("ticker:ETHUSDT", print)
        await eventually(lambda: told[-1].topic == "ticker:ETHUSDT")
        assert [status.topic for status in told[2:]] == ["ticker:BTCUSDT", "ticker:ETHUSDT"]


@pytest.mark.server
async def test_a_group_s_member_knows_how_fresh_its_topics_are(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    account.install()
    account.state(FeedState.LIVE, clock_offset_us=0)
    ws = AgentExchangeWS(KEY, redis_server.url, group="executors")
    done = threading.Event()
    ws.on_order_update()(lambda _order: done.set())
    async with ws:
        await eventually(lambda: ws.freshness("orders").is_live)
        await eventually(lambda: bool(account.client.exists(account.layout.log(account.scope))))  # the group is there
        account.event("orders", {"order_id": "1", "status": "filled", "symbol": "BTCUSDT", "side": "buy"})
        await eventually(done.is_set)
        await eventually(lambda: ws.freshness("orders").clock_difference_s is not None)
        answer = ws.freshness("orders")
        assert answer.age_s is not None
        assert answer.delivered_time is not None
        assert answer.written_time == answer.received_time

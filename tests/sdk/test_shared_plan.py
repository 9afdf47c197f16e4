"""What is read which way: pure."""

from __future__ import annotations

from agentexchange._shared.plan import Plan
from agentexchange_schemas import Layout, Topic

ACCOUNT = "a-" + "0" * 32
BTC, ETH, EVERY = Topic.ticker("BTCUSDT"), Topic.ticker("ETHUSDT"), Topic.ticker("all")
CANDLES = Topic.candles("BTCUSDT", "1m")


def plan(*topics: Topic, partitions: int = 1, keep_logs: bool = False) -> Plan:
    return Plan.of(Layout(partitions=partitions), topics, account=ACCOUNT, keep_logs=keep_logs)


def test_single_topics_come_over_channels() -> None:
    made = plan(BTC, CANDLES, Topic.orders())
    assert made.channels == {("m0", BTC), ("m0", CANDLES), (ACCOUNT, Topic.orders())}
    assert made.scopes == {"m0", ACCOUNT}
    assert made.logs == frozenset()


def test_the_wildcard_takes_every_ticker_out_of_the_logs_and_nothing_both_ways() -> None:
    made = plan(EVERY, BTC, ETH, CANDLES, partitions=3)
    assert made.logs == {"m0", "m1", "m2"}
    assert {topic for _, topic in made.channels} == {CANDLES}
    assert made.scopes == {"m0", "m1", "m2"}


def test_logs_are_kept_as_long_as_a_ticker_is_wanted() -> None:
    assert plan(BTC, keep_logs=True).logs == {"m0"}
    assert plan(CANDLES, keep_logs=True).logs == frozenset()
    assert plan(BTC).logs == frozenset()


def test_scopes_follow_the_partitions() -> None:
    layout = Layout(partitions=8)
    made = plan(BTC, ETH, partitions=8)
    assert made.scopes == {layout.market_scope("BTCUSDT"), layout.market_scope("ETHUSDT")}


def test_nothing_wanted_is_nothing_read() -> None:
    assert plan() == Plan(Layout())

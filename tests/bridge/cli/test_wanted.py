from __future__ import annotations

import pytest

from agentexchange_bridge.cli._wanted import Wanted
from agentexchange_bridge.rows import Row
from agentexchange_bridge.where import Where
from agentexchange_schemas import Topic

TOPICS = ("ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m", "orders", "portfolio", "status")


def wanted(topics: str = "", kinds: str = "") -> Wanted:
    return Wanted(tuple(map(Topic.parse, topics.split())), frozenset(kinds.split()))


@pytest.mark.parametrize(
    ("topics", "kinds", "taken", "all_kinds"),
    [
        ("", "", TOPICS, "ticker candles orders portfolio status"),
        ("ticker:all", "", TOPICS[:2], "ticker"),
        ("ticker:BTCUSDT orders", "", ("ticker:BTCUSDT", "orders"), "ticker orders"),
        ("", "ticker status", (*TOPICS[:2], "status"), "ticker status"),
        ("ticker:BTCUSDT orders", "ticker", ("ticker:BTCUSDT",), "ticker"),
        ("ticker:BTCUSDT", "ticker status", ("ticker:BTCUSDT", "status"), "ticker status"),
        ("", "candles", ("candles:BTCUSDT:1m",), "candles"),
    ],
)
def test_which_topics_are_taken(topics: str, kinds: str, taken: tuple[str, ...], all_kinds: str) -> None:
    found = wanted(topics, kinds)
    assert tuple(filter(found.takes, TOPICS)) == taken
    assert found.all_kinds == tuple(all_kinds.split())
    assert all(found.choice.wants(topic) for topic in taken if topic != "status")


@pytest.mark.parametrize(
    ("topics", "kinds", "has_key", "subscribed"),
    [
        ("", "", False, "ticker:all"),
        ("", "", True, "ticker:all orders portfolio"),
        ("", "ticker", True, "ticker:all"),
        ("", "orders", False, "orders"),
        ("", "status", True, "ticker:all orders portfolio"),
        ("candles:BTCUSDT:1m orders", "candles", True, "candles:BTCUSDT:1m"),
        ("orders", "status", True, "orders"),
    ],
)
def test_what_a_live_feed_is_asked_for(topics: str, kinds: str, has_key: bool, subscribed: str) -> None:  # noqa: FBT001
    assert " ".join(map(str, wanted(topics, kinds).subscriptions(has_key=has_key))) == subscribed


@pytest.mark.parametrize(
    ("topics", "kinds", "message"),
    [
        ("", "candles", "name them, such as candles:BTCUSDT:1m"),
        ("orders", "ticker", "no topic that is named is of kind"),
    ],
)
def test_what_no_live_feed_can_give(topics: str, kinds: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wanted(topics, kinds).subscriptions(has_key=True)


def test_a_condition_sees_fields_and_metadata() -> None:
    found = Wanted(where=Where.parse("price > 5 and seq = 2"))
    event = Row("ticker:A", "m0", 1, 2, None, 0, None, "live", {"price": "6"})
    assert found.holds(event)
    assert not found.holds(event._replace(seq=3))

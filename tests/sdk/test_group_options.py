"""`group=` and `resume=` of a client: what is refused, and which logs are read."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from agentexchange import AgentExchangeWS
from agentexchange._acked.places import places_of
from agentexchange_schemas import Layout, LayoutError, Topic

REDIS = "redis://localhost:1"


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ws://localhost:8000", {"group": "g"}, "group= needs a base_url that begins with redis://"),
        ("ws://localhost:8000", {"resume": "r"}, "resume= needs a base_url that begins with redis://"),
        (REDIS, {"group": "g", "resume": "r"}, "exclude each other"),
        (REDIS, {"group": "a b"}, "group 'a b' is not valid"),
        (REDIS, {"group": ""}, "group '' is not valid"),
        (REDIS, {"group": "x" * 65}, "is not valid"),
        (REDIS, {"resume": "../x"}, "resume '../x' is not valid"),
        (REDIS, {"group": "g", "consumer": "a:b"}, "consumer 'a:b' is not valid"),
        (REDIS, {"group": "g", "claim_after": 0}, "claim_after must be more than 0"),
        (REDIS, {"group": "g", "max_attempts": 0}, "max_attempts must be 1 or more"),
        (REDIS, {"group": "g", "start": "yesterday"}, "start 'yesterday' is not valid"),
        (REDIS, {"resume": "r", "start": datetime(2026, 1, 1)}, "with a timezone"),  # noqa: DTZ001 - that is the point
        (REDIS, {"start": "earliest"}, "give one of these too"),
        (REDIS, {"consumer": "c"}, "give one of these too"),
        (REDIS, {"resume": "r", "consumer": "c"}, "a position has one holder"),
    ],
)
def test_bad_options_are_refused_in_words(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AgentExchangeWS("ak_live_x", url, **options)


def test_each_topic_has_its_log() -> None:
    layout = Layout(partitions=2)
    topics = [Topic.parse(text) for text in ("orders", "portfolio", "candles:BTCUSDT:1m", "ticker:all")]
    account = "a-" + "0" * 32
    places = {place.log: place for place in places_of(layout, topics, account)}
    market = layout.market_scope("BTCUSDT")
    assert set(places) == {layout.log(account), layout.candle_log(market), layout.log("m0"), layout.log("m1")}
    assert places[layout.log(account)].topics == {"orders", "portfolio"}
    assert places[layout.candle_log(market)].name == "log:candles"
    assert places[layout.log("m0")].wants("ticker:ETHUSDT")
    assert not places[layout.log("m0")].wants("candles:BTCUSDT:1m")
    assert not places[layout.candle_log(market)].wants("candles:BTCUSDT:5m")


def test_every_name_of_a_group_or_position_is_in_its_scopes_slot() -> None:
    layout = Layout("ax")
    names = (
        layout.group("m0", "g"),
        layout.marks("m0", "g"),
        layout.retry(layout.candle_log("m0"), "g"),
        layout.dead("m0", "g"),
        layout.position("m0", "g"),
        layout.position_holder("m0", "g"),
    )
    assert len(set(names)) == len(names)
    assert all(name.startswith("ax:{m0}:") for name in names)
    with pytest.raises(LayoutError):
        layout.dead("m0", "g:x")

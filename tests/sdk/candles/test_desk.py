"""The desk: what is wanted, from which source, and what of its ticks was seen."""

from __future__ import annotations

from typing import Any

import pytest

from agentexchange.candles import BuiltCandle, CandleDesk, CandleSource, CandleStateError, upstream_topics
from agentexchange.candles._time import time_text
from agentexchange_schemas import Topic

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z, ms
MINUTE = 60_000


def us(time_ms: int) -> int:
    return time_ms * 1000


def wanting(*intervals: str, mode: CandleSource = CandleSource.AUTO, at: int = NOON - 3_000) -> CandleDesk:
    """A desk whose symbol A has settled."""
    desk = CandleDesk(mode)
    for interval in intervals:
        desk.want(Topic.candles("A", interval), us(at))
    desk.settle(lambda _topic: True, us(at))
    return desk


def tick(desk: CandleDesk, time_ms: int, price: str = "1") -> bool:
    return desk.tick("A", price, "1", time_ms, us(time_ms))


def closed(candles: list[BuiltCandle]) -> list[tuple[str, str, str]]:
    """Topic, source, and whether complete."""
    return [
        (candle.topic, candle.fields["source"], "complete" if candle.fields["complete"] else "part")
        for candle in candles
        if candle.fields.get("is_closed") is not False
    ]


def pushed(minute: int, interval: str = "1m", **more: Any) -> dict[str, Any]:
    text = time_text(NOON + minute * MINUTE)
    return {"symbol": "A", "interval": interval, "close": "7", "open_time": text, "time": text, **more}


def test_a_longer_interval_brings_the_one_minute_candles_along() -> None:
    desk = wanting("5m", at=NOON - 3 * MINUTE)
    assert set(desk.published) == {"candles:A:5m", "candles:A:1m"}
    for minute in range(5):
        tick(desk, NOON + minute * MINUTE)
    told = closed(desk.poll(us(NOON + 5 * MINUTE + 2_000)))
    assert told == [("candles:A:1m", "built", "complete")] * 5 + [("candles:A:5m", "built", "complete")]


def test_what_nobody_wants_any_more_is_let_go_and_the_minutes_with_the_last_longer_one() -> None:
    desk = wanting("5m", "15m", "1m")
    desk.unwant(Topic.candles("A", "1m"), us(NOON))
    desk.unwant(Topic.candles("A", "1m"), us(NOON))
    assert set(desk.published) == {"candles:A:1m", "candles:A:5m", "candles:A:15m"}
    desk.unwant(Topic.candles("A", "5m"), us(NOON))
    assert set(desk.published) == {"candles:A:1m", "candles:A:15m"}
    desk.unwant(Topic.candles("A", "15m"), us(NOON))
    assert not desk.published
    assert not desk.symbols
    assert tick(desk, NOON) is False
    assert desk.poll(us(NOON + 5 * MINUTE)) == []


def test_forming_candles_come_for_what_is_wanted_and_not_for_what_is_built_beside() -> None:
    desk = wanting("5m")
    tick(desk, NOON)
    assert [candle.topic for candle in desk.poll(us(NOON + 1_000))] == ["candles:A:5m"]
    desk.want(Topic.candles("A", "1m"), us(NOON + 1_000))
    assert [candle.topic for candle in desk.poll(us(NOON + 1_000))] == ["candles:A:1m"]


def test_ticks_before_upstream_has_answered_for_the_ticker_count_as_missed() -> None:
    desk = CandleDesk()
    desk.want(Topic.candles("A", "1m"), us(NOON - 3_000))
    desk.refused("candles:A:1m")
    desk.settle(lambda topic: topic != Topic.ticker("A"), us(NOON + 10))
    tick(desk, NOON + 20)
    desk.settle(lambda topic: topic == Topic.ticker("A"), us(NOON + 30_000))
    tick(desk, NOON + MINUTE)
    told = [source for *_, source in closed(desk.poll(us(NOON + 2 * MINUTE + 2_000)))]
    assert told == ["part", "complete"]


def test_a_blind_feed_makes_incomplete_what_it_touches_until_the_ticker_has_settled_again() -> None:
    desk = wanting("1m")
    desk.refused("candles:A:1m")
    tick(desk, NOON)
    desk.blind(us(NOON + 90_000))
    desk.blind(us(NOON + 90_000), us(NOON + 100_000))
    assert closed(desk.poll(us(NOON + 3 * MINUTE + 2_000)))[1:] == [("candles:A:1m", "built", "part")] * 2
    desk.settle(lambda _topic: True, us(NOON + 3 * MINUTE + 2_000))
    told = closed(desk.poll(us(NOON + 5 * MINUTE + 2_000)))
    assert [source for *_, source in told] == ["part", "complete"]


def test_a_ticker_in_trouble_is_not_seen_though_upstream_has_answered() -> None:
    desk = wanting("1m")
    desk.refused("candles:A:1m")
    desk.blind(us(NOON), symbol="A")
    desk.blind(us(NOON), symbol="B")
    desk.settle(lambda _topic: True, us(NOON + 1))
    tick(desk, NOON + 2)
    assert closed(desk.poll(us(NOON + MINUTE + 2_000))) == [("candles:A:1m", "built", "part")]
    desk.blind(us(NOON), us(NOON + MINUTE + 3_000), symbol="A")
    told = closed(desk.poll(us(NOON + 3 * MINUTE + 2_000)))
    assert [source for *_, source in told] == ["part", "complete"]


def test_the_wildcards_trouble_is_everybodys() -> None:
    desk = wanting("1m")
    desk.refused("candles:A:1m")
    desk.blind(us(NOON), symbol="all")
    tick(desk, NOON + 2)
    assert closed(desk.poll(us(NOON + MINUTE + 2_000))) == [("candles:A:1m", "built", "part")]


def test_upstreams_candle_goes_out_where_it_comes_first_and_the_built_one_does_not() -> None:
    desk = wanting("1m", "5m")
    tick(desk, NOON)
    told = desk.candle("candles:A:1m", pushed(0, is_closed=True), us(NOON + MINUTE + 200))
    assert closed(told) == [("candles:A:1m", "upstream", "complete")]
    assert closed(desk.poll(us(NOON + MINUTE + 2_000))) == []
    assert desk.candle("candles:B:1m", pushed(0), us(NOON + MINUTE + 200)) == []


def test_a_held_candle_goes_out_when_upstream_stays_away() -> None:
    desk = wanting("1m")
    desk.candle("candles:A:1m", pushed(-1), us(NOON))
    tick(desk, NOON)
    assert closed(desk.poll(us(NOON + MINUTE + 2_000))) == []
    assert desk.state(us(NOON + MINUTE + 2_000)) is None
    assert closed(desk.poll(us(NOON + MINUTE + 5_000))) == [("candles:A:1m", "built", "complete")]
    assert desk.state(us(NOON + MINUTE + 5_000)) is not None


def test_a_refusal_and_the_end_let_a_held_candle_go() -> None:
    desk = wanting("1m")
    desk.candle("candles:A:1m", pushed(-1), us(NOON))
    tick(desk, NOON)
    desk.poll(us(NOON + MINUTE + 2_000))
    desk.refused("candles:A:1m")
    assert closed(desk.poll(us(NOON + MINUTE + 2_000))) == [("candles:A:1m", "built", "complete")]
    desk.accepted("candles:A:1m")
    desk.candle("candles:A:1m", pushed(1), us(NOON + 2 * MINUTE))
    desk.poll(us(NOON + 3 * MINUTE + 2_000))
    assert closed(desk.flush()) == [("candles:A:1m", "built", "complete")]
    assert desk.flush() == []


def test_one_source_only() -> None:
    desk = wanting("5m", mode=CandleSource.UPSTREAM)
    assert set(desk.published) == {"candles:A:5m"}
    assert tick(desk, NOON) is False
    assert closed(desk.candle("candles:A:5m", pushed(0, "5m"), us(NOON + 5 * MINUTE))) == [
        ("candles:A:5m", "upstream", "complete")
    ]
    assert desk.state(us(NOON)) is None
    desk.unwant(Topic.candles("A", "5m"), us(NOON))
    assert not desk.published

    desk = wanting("1m", mode=CandleSource.BUILD)
    tick(desk, NOON)
    assert desk.candle("candles:A:1m", pushed(0), us(NOON + MINUTE)) == []
    assert closed(desk.poll(us(NOON + MINUTE + 2_000))) == [("candles:A:1m", "built", "complete")]


def test_a_new_desk_continues_from_the_log_and_the_state_and_publishes_nothing_twice() -> None:
    desk = wanting("5m", mode=CandleSource.BUILD)
    for minute in range(3):
        tick(desk, NOON + minute * MINUTE, str(minute + 1))
    log = [candle.fields for candle in desk.poll(us(NOON + 2 * MINUTE + 5_000)) if candle.fields["is_closed"]]
    state = desk.state(us(NOON + 2 * MINUTE + 5_000))
    again = wanting("5m", "1m", at=NOON + 2 * MINUTE + 7_000)
    again.restore(log, state, us(NOON + 2 * MINUTE + 8_000))
    assert again.candle("candles:A:1m", pushed(1), us(NOON + 2 * MINUTE + 9_000)) == []
    tick(again, NOON + 4 * MINUTE, "9")
    told = [candle for candle in again.poll(us(NOON + 5 * MINUTE + 5_000)) if candle.fields["is_closed"]]
    assert [(candle.topic[-2:], candle.fields["complete"]) for candle in told] == [
        ("1m", False),
        ("1m", True),
        ("1m", True),
        ("5m", False),
    ]
    five = told[-1].fields
    assert [five[name] for name in ("open", "high", "low", "close", "trades")] == ["1", "9", "1", "9", 4]


def test_a_symbol_that_has_not_settled_stays_unseen_after_a_restore() -> None:
    desk = wanting("1m", mode=CandleSource.BUILD)
    tick(desk, NOON)
    log = [candle.fields for candle in desk.poll(us(NOON + MINUTE + 5_000))]
    again = CandleDesk(CandleSource.BUILD)
    again.want(Topic.candles("A", "1m"), us(NOON + MINUTE + 6_000))
    with pytest.raises(CandleStateError):
        again.restore(log, b"?", us(NOON + MINUTE + 6_000))
    again.restore(log, None, us(NOON + MINUTE + 6_000))
    assert [source for *_, source in closed(again.poll(us(NOON + 3 * MINUTE + 2_000)))] == ["part", "part"]


@pytest.mark.parametrize(
    ("mode", "topics"),
    [
        (
            CandleSource.AUTO,
            {"ticker:B": False, "ticker:A": False, "orders": False, "candles:A:1m": True, "candles:A:4h": True},
        ),
        (CandleSource.BUILD, {"ticker:B": False, "ticker:A": False, "orders": False}),
        (
            CandleSource.UPSTREAM,
            {"candles:A:1m": False, "ticker:B": False, "candles:A:4h": False, "orders": False},
        ),
    ],
)
def test_candles_need_their_ticker_unless_upstream_is_the_only_source(
    mode: CandleSource, topics: dict[str, bool]
) -> None:
    wanted = map(Topic.parse, ("candles:A:1m", "ticker:B", "candles:A:4h", "orders"))
    needed = {str(topic): optional for topic, optional in upstream_topics(wanted, mode).items()}
    assert needed == topics
    assert sorted(needed.values()) == list(needed.values())

"""A feed of the past, as a served recording is one: its candles close on its own time, however fast that goes by."""

from __future__ import annotations

from typing import Any

import pytest

from agentexchange.candles import CandleDesk, CandleSource
from agentexchange.candles._feed_time import FeedTime
from agentexchange.candles._time import time_text
from agentexchange_schemas import Topic

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z, ms
YEAR = 365 * 86_400_000
S, MINUTE = 1_000, 60_000
TOPIC = Topic.candles("A", "1m")


class Listening:
    """A desk a year after the feed, and what it has closed; the wall clock goes by at a speed of its own."""

    def __init__(self, mode: CandleSource = CandleSource.AUTO, *, speed: float = 1.0) -> None:
        self.desk = CandleDesk(mode)
        self.speed = speed
        self.closed: list[tuple[str, str, str, bool]] = []
        self.desk.want(TOPIC, self.wall_us(0))
        self.desk.settle(lambda _topic: True, self.wall_us(0))
        self.take(self.desk.poll(self.wall_us(0)))

    def wall_us(self, feed_ms: int) -> int:
        return (NOON + YEAR) * 1000 + int(feed_ms * 1000 / self.speed)

    def tick(self, feed_ms: int, price: str) -> bool:
        return self.desk.tick("A", price, "1", NOON + feed_ms, self.wall_us(feed_ms))

    def poll(self, feed_ms: int) -> None:
        self.take(self.desk.poll(self.wall_us(feed_ms)))

    def candle(self, feed_ms: int, start_ms: int, close: str) -> None:
        fields = {"close": close, "open_time": time_text(NOON + start_ms), "is_closed": True}
        self.take(self.desk.candle(str(TOPIC), fields, self.wall_us(feed_ms)))

    def take(self, candles: list[Any]) -> None:
        for _, fields in candles:
            if fields["is_closed"]:
                self.closed.append((fields["open_time"][11:16], fields["close"], fields["source"], fields["complete"]))


@pytest.mark.parametrize("speed", [0.5, 1.0, 50.0, 1e6])
@pytest.mark.parametrize("mode", [CandleSource.AUTO, CandleSource.BUILD])
def test_candles_are_built_of_a_past_that_goes_by_at_any_speed(mode: CandleSource, speed: float) -> None:
    listening = Listening(mode, speed=speed)
    for second in range(10, 250, 5):
        assert listening.tick(second * S, str(second))
        listening.poll(second * S)
    assert listening.closed == [
        ("12:00", "55", "built", False),  # where it began is not known to be seen
        ("12:01", "115", "built", True),
        ("12:02", "175", "built", True),
        ("12:03", "235", "built", True),
    ]


def test_a_day_that_goes_by_between_two_looks_gives_every_candle_too() -> None:
    listening = Listening(speed=1e9)
    for minute in range(1440):
        listening.tick(minute * MINUTE, str(minute))
    listening.poll(1440 * MINUTE)
    assert len(listening.closed) == 1438, "the last but one may still get late ticks"
    assert listening.closed[-1][:2] == ("11:57", "1437")


def test_its_own_candles_are_taken_in_time() -> None:
    listening = Listening()
    for second in range(10, 130, 5):
        listening.tick(second * S, str(second))
        if second in (60, 120):
            listening.candle(second * S, second * S - MINUTE, "pushed")
        listening.poll(second * S)
    assert listening.closed == [("12:00", "pushed", "upstream", True), ("12:01", "pushed", "upstream", True)]


def test_a_late_tick_of_a_feed_of_our_time_is_late_and_nothing_else() -> None:
    """A program that was stopped for minutes gets what waited for it: that is no feed of the past."""
    desk = CandleDesk(CandleSource.BUILD)
    desk.want(TOPIC, NOON * 1000)
    assert desk.tick("A", "1", "1", NOON, NOON * 1000)
    desk.poll((NOON + 5 * MINUTE) * 1000)
    assert not desk.tick("A", "2", "1", NOON + MINUTE, (NOON + 5 * MINUTE) * 1000)
    assert desk.tick("A", "3", "1", NOON + 5 * MINUTE, (NOON + 5 * MINUTE) * 1000)


def test_a_blind_span_of_the_past_makes_its_candle_incomplete() -> None:
    listening = Listening()
    for second in range(10, 190, 5):
        listening.tick(second * S, str(second))
        if second == 90:
            listening.desk.blind(listening.wall_us(second * S), listening.wall_us(second * S) + 1)
            listening.desk.settle(lambda _topic: True, listening.wall_us(second * S))
        listening.poll(second * S)
    assert [complete for *_, complete in listening.closed] == [False, False, True]


def test_a_topic_wanted_later_begins_where_the_feed_is() -> None:
    listening = Listening()
    listening.tick(0, "1")
    listening.tick(50 * S, "2")
    five = Topic.candles("A", "5m")
    listening.desk.want(five, listening.wall_us(50 * S))
    for minute in range(1, 6):
        listening.tick(minute * MINUTE, str(minute))
    told = [(topic, fields["close"]) for topic, fields in listening.desk.poll(0) if fields["is_closed"]]
    assert (str(five), "4") not in told, "the last minute is still open for late ticks"
    listening.tick(5 * MINUTE + 3 * S, "9")
    told = [(topic, fields["close"]) for topic, fields in listening.desk.poll(0) if fields["is_closed"]]
    assert (str(five), "4") in told


def test_the_first_tick_decides_and_catching_up_is_no_jump() -> None:
    time = FeedTime()
    assert not time.see(None, 0)
    assert time.see(NOON, (NOON + 10 * MINUTE) * 1000), "back to where the feed is"
    assert time.at(0) == NOON * 1000
    assert not time.see(NOON + 9 * MINUTE, (NOON + 10 * MINUTE) * 1000)
    assert not time.see(NOON + 10 * MINUTE - 4 * S, (NOON + 10 * MINUTE) * 1000), "it has caught up with us"
    assert time.is_now
    assert time.at(7) == 7


def test_one_old_tick_before_a_feed_of_our_time_is_a_jump_back_and_forth() -> None:
    time = FeedTime()
    assert time.see(NOON - 3 * 3_600_000, NOON * 1000)
    assert time.see(NOON, NOON * 1000)
    assert time.is_now

"""Which silences are too long: pure, in a simulated time."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.freshness import LOOK_S, Change, TickWatch

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600.0
BTC, ETH, DOGE = "ticker:BTCUSDT", "ticker:ETHUSDT", "ticker:DOGEUSDT"


class Market:
    """Pairs that tick in a simulated time, and a watch that looks on."""

    def __init__(self, *, seed: int = 0, jitter: float = 0.0) -> None:
        self.watch = TickWatch()
        self.now = 1000.0
        self.excused: set[str] = set()
        self.changes: list[Change] = []
        self.arrivals: dict[str, object] = {}
        self._random = random.Random(seed)
        self._jitter = jitter
        self._pairs: dict[str, tuple[float, Callable[[], float]]] = {}

    def every(self, topic: str, seconds: float) -> None:
        """From now on ``topic`` ticks at an even pace."""
        self._pairs[topic] = (self.now + seconds, lambda: seconds)

    def about_every(self, topic: str, seconds: float) -> None:
        """From now on ``topic`` ticks at random, independent of when it did."""
        self._pairs[topic] = (self.now, lambda: self._random.expovariate(1 / seconds))

    def mute(self, *topics: str) -> None:
        for topic in topics or tuple(self._pairs):
            del self._pairs[topic]

    def unsubscribe(self, topic: str) -> None:
        self.mute(topic)
        del self.arrivals[topic]

    def run(self, seconds: float) -> list[Change]:
        """Let time pass: the changes of that time."""
        before, until = len(self.changes), self.now + seconds
        while self.now < until:
            self.now += LOOK_S * (1 + self._jitter * self._random.random())
            for topic in self._pairs:
                self._tick(topic)
            self.changes += self.watch.look(self.now, self.arrivals, self.excused)
        return self.changes[before:]

    def _tick(self, topic: str) -> None:
        due, gap = self._pairs[topic]
        while due <= self.now:
            self.arrivals[topic] = object()
            due += gap()
        self._pairs[topic] = (due, gap)

    def stand_still(self, seconds: float) -> None:
        self.now += seconds


def told(changes: list[Change]) -> list[tuple[str | None, bool]]:
    return [(change.topic, change.is_stale) for change in changes]


# No false alarm


@settings(max_examples=25, deadline=None)
@given(st.floats(-2.0, 2.0).map(lambda power: 10.0**power), st.integers(0, 2**32), st.floats(0.0, 0.5))
def test_independent_ticks_of_a_constant_rate_raise_no_alarm_for_hours(rate: float, seed: int, jitter: float) -> None:
    market = Market(seed=seed, jitter=jitter)
    market.about_every(BTC, 1 / rate)
    assert market.run(2 * HOUR) == []


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.02, 300.0), min_size=2, max_size=8), st.integers(0, 2**32))
def test_many_pairs_of_unlike_rates_raise_no_alarm(intervals: list[float], seed: int) -> None:
    market = Market(seed=seed)
    for number, seconds in enumerate(intervals):
        market.about_every(f"ticker:P{number}", seconds)
    assert market.run(HOUR) == []


def test_a_pair_with_one_tick_a_minute_raises_no_alarm() -> None:
    for make in (Market.every, Market.about_every):
        market = Market()
        make(market, BTC, 60.0)
        assert market.run(4 * HOUR) == []


def test_ticks_in_bursts_raise_no_alarm() -> None:
    market, noise = Market(), random.Random(5)
    market._pairs[BTC] = (market.now, lambda: 0.02 if noise.random() < 0.95 else noise.expovariate(1 / 20))
    assert market.run(4 * HOUR) == []


def test_before_enough_is_learned_a_single_pair_raises_no_alarm() -> None:
    market = Market()
    market.every(BTC, 1.0)
    market.every(ETH, 1.0)
    market.run(15.0)
    market.mute(ETH)
    assert market.run(HOUR) == []
    assert market.watch.bound_s(ETH) is None


def test_a_feed_that_has_never_ticked_raises_no_alarm() -> None:
    assert Market().run(HOUR) == []


# Alarm


@settings(max_examples=25, deadline=None)
@given(st.floats(-1.0, 2.0).map(lambda power: 10.0**power), st.integers(0, 2**32))
def test_a_stop_is_told_within_the_bound_and_its_end_at_the_first_tick(rate: float, seed: int) -> None:
    market = Market(seed=seed)
    market.about_every(BTC, 1 / rate)
    market.run(max(120.0, 100 / rate))
    last, bound = market.watch.last_tick_at, market.watch.bound_s()
    assert last is not None
    assert bound is not None
    assert bound <= max(4.0, 50 / rate)
    market.mute()
    (alarm,) = market.run(bound + 3 * LOOK_S)
    assert told([alarm]) == [(None, True)]
    assert alarm.since == last
    market.every(BTC, 1.0)
    assert told(market.run(1.5)) == [(None, False)]
    assert not market.watch.is_stale


def test_a_mute_feed_of_100_ticks_a_second_is_told_within_five_seconds() -> None:
    market = Market(jitter=0.5)
    market.about_every(BTC, 0.01)
    market.run(5.0)
    market.mute()
    assert told(market.run(4.5)) == [(None, True)]


def test_a_busy_pair_that_stops_among_others_is_told_by_itself() -> None:
    market = Market()
    market.about_every(BTC, 0.05)
    market.about_every(ETH, 0.05)
    market.about_every(DOGE, 60.0)
    market.run(60.0)
    market.mute(ETH)
    assert told(market.run(5.0)) == [(ETH, True)]
    assert market.watch.stale == [ETH]
    assert market.run(60.0) == []
    market.about_every(ETH, 0.05)
    assert told(market.run(1.0)) == [(ETH, False)]


def test_while_all_pairs_are_mute_single_ones_are_not_told() -> None:
    market = Market()
    for topic in (BTC, ETH):
        market.about_every(topic, 0.05)
    market.run(60.0)
    market.mute()
    assert told(market.run(60.0)) == [(None, True)]
    market.about_every(BTC, 0.05)
    assert told(market.run(1.0)) == [(None, False)]
    assert told(market.run(10.0)) == [(ETH, True)], "its silence counts from when the others came back"


def test_a_pair_told_of_before_all_went_mute_is_told_of_until_it_ticks() -> None:
    market = Market()
    for topic in (BTC, ETH):
        market.about_every(topic, 0.05)
    market.run(60.0)
    market.mute(ETH)
    (first,) = market.run(8.0)
    market.mute(BTC)
    market.run(10.0)
    market.every(BTC, 0.1)
    assert told(market.run(10.0)) == [(None, False)]
    market.every(ETH, 0.1)
    (last,) = market.run(1.0)
    assert (last.topic, last.is_stale, last.since) == (ETH, False, first.since)


def test_the_busiest_pair_is_missed_by_the_quiet_ones_only_as_itself() -> None:
    market = Market()
    market.about_every(BTC, 0.05)
    market.about_every(DOGE, 60.0)
    market.run(HOUR)
    market.unsubscribe(BTC)
    assert market.run(HOUR) == []


def test_a_feed_that_goes_mute_as_its_busiest_pair_leaves_is_told_by_the_next_busy_one() -> None:
    market = Market()
    market.about_every(BTC, 0.05)
    market.about_every(ETH, 0.1)
    market.run(60.0)
    market.unsubscribe(BTC)
    market.mute()
    assert told(market.run(6.0)) == [(None, True)]


def test_a_stale_pair_that_is_unsubscribed_is_told_of_no_more() -> None:
    market = Market()
    for topic in (BTC, ETH):
        market.about_every(topic, 0.05)
    market.run(60.0)
    market.mute(ETH)
    market.run(10.0)
    market.arrivals.pop(ETH)
    assert told(market.run(1.0)) == [(ETH, False)]


# What is nobody's silence


def test_a_pair_whose_silence_has_another_reason_is_not_told_nor_are_the_others() -> None:
    market = Market()
    market.about_every(BTC, 0.05)
    market.about_every(DOGE, 10.0)
    market.run(600.0)
    market.excused.add(BTC)
    market.mute(BTC)
    assert market.run(100.0) == []
    market.excused.clear()
    market.about_every(BTC, 0.05)
    assert market.run(100.0) == []


def test_after_a_standstill_silences_count_anew() -> None:
    market = Market()
    market.about_every(BTC, 0.05)
    market.run(60.0)
    market.stand_still(30.0)
    assert market.run(0.5) == []
    bound = market.watch.bound_s()
    market.run(10.0)
    assert market.watch.bound_s() == bound == 3.0


def test_a_restart_counts_from_then_on_and_keeps_what_was_learned() -> None:
    market = Market()
    market.about_every(BTC, 0.05)
    market.run(60.0)
    market.mute()
    market.run(2.0)
    market.watch.restart(market.now)
    again = market.now
    (alarm,) = market.run(5.0)
    assert alarm == Change(None, is_stale=True, since=again, usual_s=pytest.approx(0.02, abs=0.05))


# What is learned of an alarm


def test_a_false_alarm_makes_the_next_one_less_likely() -> None:
    market = Market()
    market.every(BTC, 1.0)
    market.run(600.0)
    bound = market.watch.bound_s()
    assert bound is not None
    market.mute()
    market.run(1.5 * bound)
    market.every(BTC, 1.0)
    market.run(5.0)
    assert market.watch.bound_s() == pytest.approx(2 * bound, rel=0.2)


def test_an_outage_teaches_nothing() -> None:
    market = Market()
    market.about_every(BTC, 0.05)
    market.run(60.0)
    for _ in range(5):
        market.mute()
        assert told(market.run(60.0)) == [(None, True)]
        market.about_every(BTC, 0.05)
        assert told(market.run(5.0)) == [(None, False)]
    assert market.watch.bound_s() == 3.0


def test_a_market_that_calms_down_slowly_raises_no_alarm() -> None:
    market = Market(seed=3)
    for seconds in (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0):
        market.about_every(BTC, seconds)
        assert market.run(max(300.0, 100 * seconds)) == []

"""What a feed says and what its ticks show, put together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentexchange.freshness import LOOK_S, FeedWatch
from agentexchange_schemas import Cause, FeedState, FeedStatus

T0 = datetime(2026, 2, 23, 15, 30, 45, tzinfo=UTC)
BTC, ETH = "ticker:BTCUSDT", "ticker:ETHUSDT"


def status(state: FeedState, topic: str | None = None, **more: Any) -> FeedStatus:
    return FeedStatus(topic=topic, state=state, since=T0, **more)


class Feed:
    """A feed of busy pairs in a simulated time."""

    def __init__(self) -> None:
        self.watch = FeedWatch("m0")
        self.clock = 100.0
        self.arrivals: dict[str, object] = {}

    @property
    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.clock)

    def says(self, state: FeedState, topic: str | None = None, **more: Any) -> bool:
        return self.watch.said(status(state, topic, **more), self.clock)

    def ticks(self, seconds: float, *topics: str) -> list[FeedStatus]:
        told: list[FeedStatus] = []
        until = self.clock + seconds
        while self.clock < until:
            self.clock += LOOK_S
            self.arrivals.update({topic: object() for topic in topics})
            told += self.watch.look(self.arrivals, clock=self.clock, now=self.now)
        return told


@pytest.fixture
def feed() -> Feed:
    feed = Feed()
    assert feed.says(FeedState.LIVE)
    assert feed.ticks(60.0, BTC, ETH) == []
    return feed


def test_a_silence_of_all_is_told_with_since_when_and_why(feed: Feed) -> None:
    last = feed.now
    (stale,) = feed.ticks(5.0)
    assert (stale.scope, stale.topic, stale.state, stale.since) == ("m0", None, FeedState.STALE, last)
    assert (stale.until, stale.cause) == (None, Cause.UPSTREAM_SILENT)
    assert stale.message == "no tick of any pair for 3.5 s, though the platform is connected"
    (live,) = feed.ticks(LOOK_S, BTC)
    assert (live.state, live.since, live.until) == (FeedState.LIVE, last, feed.now)
    assert live.message == "ticks come again after 5.5 s; some may be missing"


def test_a_silence_of_one_pair_is_told_of_its_topic(feed: Feed) -> None:
    (stale,) = feed.ticks(6.0, BTC)
    assert (stale.topic, stale.state) == (ETH, FeedState.STALE)
    assert stale.message == "no tick of ETHUSDT for 4.5 s, though the platform is connected"
    (live,) = feed.ticks(LOOK_S, BTC, ETH)
    assert (live.topic, live.state, live.cause) == (ETH, FeedState.LIVE, Cause.UPSTREAM_SILENT)


def test_a_slow_pair_is_told_with_what_is_usual() -> None:
    feed = Feed()
    feed.says(FeedState.LIVE)
    for _ in range(60):
        feed.ticks(LOOK_S, BTC, ETH)
        feed.ticks(4 * LOOK_S, BTC)
    (stale,) = feed.ticks(100.0, BTC)
    assert (stale.message or "").endswith("though the platform is connected: about one in 2.2 s is usual")


def test_while_the_feed_is_away_nothing_is_judged_and_then_it_counts_anew(feed: Feed) -> None:
    assert feed.says(FeedState.BLIND)
    assert feed.ticks(60.0) == []
    assert feed.says(FeedState.LIVE)
    back = feed.now
    (stale,) = feed.ticks(4.0)
    assert stale.since == back


def test_the_feed_s_own_word_that_it_is_stale_is_not_told_twice(feed: Feed) -> None:
    feed.ticks(5.0)
    assert not feed.says(FeedState.STALE)
    assert feed.says(FeedState.BLIND), "what it says next is"
    assert feed.says(FeedState.STALE), "a session that replaces it is mute, too"
    assert feed.ticks(60.0) == []
    assert feed.says(FeedState.LIVE)
    assert feed.ticks(2.0, BTC) == []


def test_a_topic_of_which_the_feed_has_told_is_not_told_of_again(feed: Feed) -> None:
    assert feed.says(FeedState.BLIND, ETH)
    assert feed.ticks(60.0, BTC) == []
    assert feed.says(FeedState.LIVE, ETH)
    assert [told.topic for told in feed.ticks(6.0, BTC)] == [ETH]


def test_a_topic_that_was_told_stale_and_then_blind_is_the_feed_s(feed: Feed) -> None:
    feed.ticks(6.0, BTC)
    feed.says(FeedState.BLIND, ETH)
    assert feed.ticks(6.0, BTC) == []
    feed.says(FeedState.LIVE, ETH)
    assert feed.ticks(6.0, BTC, ETH) == []


def test_a_topic_that_was_blind_when_it_was_left_is_judged_when_it_is_wanted_again(feed: Feed) -> None:
    feed.says(FeedState.BLIND, ETH)
    feed.watch.forget(ETH)
    feed.ticks(30.0, BTC, ETH)
    assert [told.topic for told in feed.ticks(6.0, BTC)] == [ETH]


def test_a_loss_is_told_and_changes_nothing(feed: Feed) -> None:
    assert feed.says(FeedState.LIVE, ETH, cause=Cause.DROPPED, count=3)
    assert feed.says(FeedState.BLIND, ETH, cause=Cause.CONFLATED, count=3)
    assert [told.topic for told in feed.ticks(6.0, BTC)] == [ETH]


def test_when_the_feed_has_ended_nothing_is_judged(feed: Feed) -> None:
    feed.watch.ended()
    assert feed.ticks(60.0) == []

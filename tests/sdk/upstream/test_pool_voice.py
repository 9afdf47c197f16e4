from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentexchange.upstream._pool_voice import PoolVoice
from agentexchange_schemas import FeedState, FeedStatus

BEGAN = datetime(2026, 2, 23, 15, 30, tzinfo=UTC)
A, B, ORDERS = "ticker:AUSDT", "ticker:BUSDT", "orders"


class Scene:
    """Two lanes: the first has A and the orders, the second B."""

    def __init__(self, lanes: int = 2) -> None:
        self.now = BEGAN
        self.topics = {1: [A, ORDERS], 2: [B], 3: []}
        self.voice = PoolVoice(self.topics.__getitem__, lambda: self.now)
        for lane in range(1, lanes + 1):
            self.voice.opened(lane)
            self.said(lane, "connecting")

    def said(self, lane: int, state: str) -> list[tuple[str | None, str]]:
        self.now += timedelta(seconds=1)
        return told(self.voice.said(lane, FeedStatus(state=FeedState(state), since=self.now, cause="why")))


def told(statuses: list[FeedStatus]) -> list[tuple[str | None, str]]:
    return [(status.topic, str(status.state)) for status in statuses]


def test_one_lanes_words_are_the_feeds() -> None:
    scene = Scene(1)
    words = ["live", "stale", "blind", "stale", "live", "auth_failed"]
    assert [scene.said(1, word) for word in words] == [[(None, word)] for word in words]


def test_the_feed_is_live_with_its_first_lane() -> None:
    scene = Scene()
    assert scene.said(2, "live") == [(None, "live")]
    assert scene.said(1, "live") == []


def test_one_lanes_trouble_is_its_topics() -> None:
    scene = Scene()
    scene.said(1, "live")
    scene.said(2, "live")
    assert scene.said(2, "blind") == [(B, "blind")]
    scene.now += timedelta(seconds=5)
    end = scene.voice.said(2, FeedStatus(state=FeedState.LIVE, since=scene.now))
    assert told(end) == [(B, "live")]
    assert (end[0].until, end[0].cause) == (scene.now, "reconnected")
    assert end[0].since == scene.now - timedelta(seconds=5)


def test_when_all_are_in_trouble_the_feed_is_and_comes_back_with_the_first() -> None:
    scene = Scene()
    scene.said(1, "live")
    scene.said(2, "live")
    scene.said(1, "blind")
    assert scene.said(2, "blind") == [(B, "blind"), (None, "blind")]
    lost = scene.now
    end = scene.voice.said(1, FeedStatus(state=FeedState.LIVE, since=scene.now))
    assert told(end) == [(None, "live"), (A, "live"), (ORDERS, "live")]
    assert end[0].since == lost
    assert scene.said(2, "live") == [(B, "live")], "what was still blind was told as that all the time"


def test_only_tickers_are_stale() -> None:
    scene = Scene()
    scene.said(2, "live")
    assert scene.said(1, "stale") == [(A, "stale")]
    assert scene.said(1, "blind") == [(A, "blind"), (ORDERS, "blind")]


def test_a_second_lane_makes_the_firsts_trouble_that_of_its_topics() -> None:
    scene = Scene(1)
    scene.said(1, "live")
    scene.said(1, "blind")
    assert told(scene.voice.opened(2)) == [(A, "blind"), (ORDERS, "blind")]
    assert scene.said(2, "live") == [(None, "live")]


def test_a_lane_that_was_never_live_is_told_once_it_cannot_be_reached() -> None:
    scene = Scene()
    scene.said(1, "live")
    assert told(scene.voice.unreached(2, "no")) == [(B, "blind")]
    assert scene.voice.unreached(2, "no") == []
    assert told(scene.voice.moved("ticker:NEWUSDT", 2)) == [("ticker:NEWUSDT", "blind")]
    assert scene.said(2, "live") == [(B, "live")]
    assert scene.voice.moved("ticker:NEXTUSDT", 2) == []


def test_an_only_lane_that_cannot_be_reached_is_told_once_it_is_not_the_only_one() -> None:
    scene = Scene(1)
    assert scene.voice.unreached(1, "no") == []
    assert told(scene.voice.opened(2)) == [(A, "blind"), (ORDERS, "blind")]
    assert scene.said(2, "connecting") == [], "the feed was never live"


def test_a_closed_lane_leaves_the_word_to_the_others() -> None:
    scene = Scene()
    scene.said(1, "live")
    scene.said(2, "live")
    scene.said(1, "blind")
    scene.topics[2] = []
    assert told(scene.voice.closed(2)) == [(None, "blind")]


@pytest.mark.parametrize("state", ["blind", "auth_failed"])
def test_an_unavailable_topic_is_that_whatever_its_lane_is_in(state: str) -> None:
    scene = Scene()
    scene.said(1, "live")
    scene.said(2, "live")
    assert told(scene.voice.unavailable(B, "no room")) == [(B, "unavailable")]
    assert scene.said(2, state) == []
    assert scene.said(2, "live") == []
    (end,) = scene.voice.served(B)
    assert (end.state, end.until) == (FeedState.LIVE, scene.now)
    assert scene.voice.served(B) == []


def test_a_topic_that_moves_into_trouble_or_out_of_it_is_told() -> None:
    scene = Scene()
    scene.said(1, "live")
    scene.said(2, "live")
    scene.said(2, "blind")
    assert told(scene.voice.moved("ticker:NEWUSDT", 2)) == [("ticker:NEWUSDT", "blind")]
    assert scene.voice.moved("ticker:NEWUSDT", 1) == []
    assert told(scene.voice.served("ticker:NEWUSDT")) == [("ticker:NEWUSDT", "live")]


def test_a_topic_that_nobody_wants_any_more_is_forgotten() -> None:
    scene = Scene()
    scene.said(1, "live")
    scene.said(2, "live")
    scene.said(2, "blind")
    scene.voice.forget(B)
    assert scene.said(2, "live") == []


def test_a_key_that_is_refused_for_good_is_the_feeds_trouble() -> None:
    scene = Scene()
    scene.said(1, "live")
    scene.said(2, "live")
    scene.said(2, "auth_failed")
    assert told(scene.voice.key_refused()) == [(None, "auth_failed")]
    assert scene.voice.key_refused() == []

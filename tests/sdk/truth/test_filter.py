from __future__ import annotations

from typing import Any

import pytest

from agentexchange.truth import TruthFilter
from agentexchange_schemas import Cause, FeedState, FeedStatus

from ._orders import at, order, portfolio


class Feed:
    """A feed with the filter behind it, and all that comes out."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.statuses: list[FeedStatus] = []
        self.filter = TruthFilter(
            lambda topic, fields: self.events.append((topic, fields)), self.statuses.append, now=lambda: at(50)
        )

    def says(self, state: FeedState, since: float, until: float | None = None, topic: str | None = None) -> None:
        ended = None if until is None else at(until)
        self.filter.on_status(FeedStatus(topic=topic, state=state, since=at(since), until=ended))

    def told(self) -> list[FeedStatus]:
        return [status for status in self.statuses if status.cause == Cause.ORDERS_UNKNOWN]


def test_market_data_and_private_events_are_handed_on() -> None:
    feed = Feed()
    events = [("ticker:BTCUSDT", {"price": "1"}), ("orders", order("1")), ("portfolio", portfolio("1", "1"))]
    for topic, fields in events:
        feed.filter.on_event(topic, fields)
    assert feed.events == events
    assert all(fields is given for (_, fields), (_, given) in zip(feed.events, events, strict=True))


def test_a_blind_span_ends_with_a_word_about_the_orders() -> None:
    feed = Feed()
    feed.says(FeedState.CONNECTING, 0)
    feed.says(FeedState.LIVE, 0)
    feed.filter.on_event("orders", order("1"))
    feed.says(FeedState.BLIND, 10)
    feed.says(FeedState.AUTH_FAILED, 10)
    assert feed.told() == []
    feed.says(FeedState.LIVE, 10, 20)
    (status,) = feed.told()
    assert (status.since, status.until, status.count) == (at(10), at(20), 1)
    assert feed.statuses.index(status) == len(feed.statuses) - 1


def test_a_market_without_ticks_is_no_blind_span_of_an_account() -> None:
    feed = Feed()
    feed.says(FeedState.LIVE, 0)
    feed.says(FeedState.STALE, 10)
    feed.says(FeedState.LIVE, 10, 20)
    feed.says(FeedState.BLIND, 10, topic="ticker:BTCUSDT")
    feed.says(FeedState.LIVE, 10, 20, topic="ticker:BTCUSDT")
    assert feed.told() == []


def test_a_span_ends_also_where_ticks_are_still_to_come() -> None:
    feed = Feed()
    feed.says(FeedState.BLIND, 10)
    feed.says(FeedState.STALE, 10)
    assert [status.until for status in feed.told()] == [at(50)]


@pytest.mark.parametrize("last", ["orders", "portfolio"])
def test_topics_that_are_blind_by_themselves_make_one_span(last: str) -> None:
    feed = Feed()
    topics = sorted(("orders", "portfolio"), key=last.__eq__)
    for number, topic in enumerate(topics):
        feed.says(FeedState.BLIND, 10 + number, topic=topic)
    feed.says(FeedState.LIVE, 10, 20, topic=topics[0])
    assert feed.told() == []
    feed.says(FeedState.LIVE, 10, 21, topic=topics[1])
    assert [(status.since, status.until) for status in feed.told()] == [(at(10), at(21))]


def test_a_portfolio_that_shows_executions_is_flagged_and_told() -> None:
    feed = Feed()
    feed.filter.on_event("portfolio", portfolio("100", "0"))
    feed.says(FeedState.BLIND, 10)
    feed.says(FeedState.LIVE, 10, 20)
    feed.filter.on_event("portfolio", portfolio("90", "-1"))
    assert feed.events[-1][1]["reconciled"] is True
    assert feed.told()[-1].topic == "portfolio"

"""Notices become spans, each once, whatever order they are read in."""

from __future__ import annotations

import random
from typing import Any

from agentexchange_bridge.inspector.board import Notices, gaps_of
from agentexchange_schemas import FeedState, FeedStatus
from tests.bridge.inspector._samples import SECOND, START_US, status

BLIND, LIVE, STALE = FeedState.BLIND, FeedState.LIVE, FeedState.STALE


def spans(*statuses: FeedStatus) -> list[tuple[Any, ...]]:
    """Topic, state, cause, and the span in seconds from the start."""
    rows = gaps_of(("m0", one) for one in statuses)
    return [
        (
            *(row.topic, row.state, row.cause, (row.since_us - START_US) // SECOND),
            None if row.until_us is None else (row.until_us - START_US) // SECOND,
        )
        for row in rows
    ]


def test_a_blind_span_lasts_until_it_is_ended() -> None:
    lost = status(BLIND, 10 * SECOND, cause="upstream_lost")
    assert spans(lost) == [(None, BLIND, "upstream_lost", 10, None)]
    back = status(LIVE, 10 * SECOND, until_us=14 * SECOND, cause="reconnected")
    assert spans(lost, back) == [(None, BLIND, "upstream_lost", 10, 14)]


def test_a_takeover_within_a_span_is_the_same_span() -> None:
    lost = status(BLIND, 10 * SECOND, cause="upstream_lost")
    taken = status(BLIND, 8 * SECOND, cause="takeover")
    done = status(LIVE, 8 * SECOND, until_us=20 * SECOND, cause="takeover")
    assert spans(lost, taken, done) == [(None, BLIND, "takeover", 8, 20)]


def test_an_end_whose_beginning_is_not_held_is_a_span() -> None:
    assert spans(status(LIVE, 1 * SECOND, until_us=3 * SECOND, cause="reconnected")) == [
        (None, BLIND, "reconnected", 1, 3)
    ]
    assert spans(status(LIVE, 1 * SECOND)) == []


def test_topics_have_spans_of_their_own() -> None:
    rows = spans(
        status(STALE, 5 * SECOND, topic="ticker:A1", cause="upstream_silent"),
        status(BLIND, 6 * SECOND, cause="upstream_lost"),
        status(LIVE, 5 * SECOND, until_us=9 * SECOND, topic="ticker:A1", cause="upstream_silent"),
    )
    assert rows == [
        (None, BLIND, "upstream_lost", 6, None),
        ("ticker:A1", STALE, "upstream_silent", 5, 9),
    ]


def test_losses_are_spans_that_are_over_and_end_nothing() -> None:
    rows = spans(
        status(BLIND, 1 * SECOND),
        status(LIVE, 2 * SECOND, until_us=3 * SECOND, cause="conflated", count=7),
    )
    assert rows == [(None, LIVE, "conflated", 2, 3), (None, BLIND, None, 1, None)]


def test_each_notice_counts_once_in_whatever_order_they_are_found() -> None:
    told = [(number, status(BLIND if number % 2 == 0 else LIVE, number * SECOND)) for number in range(40)]
    dice = random.Random(4)
    notices = Notices()
    for number, one in dice.sample(told + told, 80):
        notices.add("m0", START_US + number * SECOND, one)
    assert notices.gaps() == gaps_of(("m0", one) for _, one in told)
    assert len(notices.gaps()) == 20
    early = notices.gaps(START_US + 3 * SECOND)
    assert early == notices.gaps()[-2:]
    assert early[0].until_us == START_US + 3 * SECOND


def test_notices_are_bounded_and_the_newest_are_kept() -> None:
    notices = Notices()
    for number in range(9_000):
        notices.add("m0", START_US + number, status(LIVE, number, until_us=number, cause="dropped", count=1))
    assert len(notices._notices) <= 8_000
    rows = notices.gaps()
    assert len(rows) == 500
    assert rows[0].since_us == START_US + 8_999
    assert notices.gaps(START_US + 6_000)[0].since_us == START_US + 6_000

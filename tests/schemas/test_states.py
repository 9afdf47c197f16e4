"""The state of a scope, its kinds and its topics."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_schemas import Cause, FeedState, FeedStatus, Kind, ScopeStates, Topic, TopicState
from agentexchange_schemas.states import MAX_TOPIC_STATES

from .test_topics import topics

SINCE = datetime(2026, 2, 23, 15, 30, 45, 123_456, UTC)
LATER = SINCE + timedelta(seconds=9)
BTC, CANDLES = Topic.ticker("BTCUSDT"), Topic.candles("BTCUSDT", "1m")
MARKET, ACCOUNT = (Kind.TICKER, Kind.CANDLES), (Kind.ORDERS, Kind.PORTFOLIO)

states = st.builds(
    TopicState,
    st.sampled_from(FeedState),
    st.none() | st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.none() | st.text(max_size=20),
    st.none() | st.text(max_size=160),
)


def status(state: FeedState, topic: Topic | None = None, **more: Any) -> FeedStatus:
    return FeedStatus(topic=None if topic is None else str(topic), state=state, since=more.pop("since", SINCE), **more)


def followed(*statuses: FeedStatus) -> ScopeStates:
    states = ScopeStates()
    for told in statuses:
        states.take(told)
    return states


def test_before_anything_is_known_it_is_connecting() -> None:
    assert ScopeStates().of(BTC) == TopicState(FeedState.CONNECTING)


def test_a_topic_is_as_its_exception_says_else_as_its_scope() -> None:
    states = followed(status(FeedState.LIVE), status(FeedState.STALE, BTC, since=LATER, cause=Cause.UPSTREAM_SILENT))
    assert states.of(BTC) == TopicState(FeedState.STALE, LATER, Cause.UPSTREAM_SILENT)
    assert states.of(Topic.ticker("ETHUSDT")) == TopicState(FeedState.LIVE, SINCE)
    states.take(status(FeedState.LIVE, BTC, until=LATER))
    assert states.of(BTC) == TopicState(FeedState.LIVE, SINCE)


def test_candles_are_as_live_as_their_ticks() -> None:
    states = followed(status(FeedState.LIVE), status(FeedState.STALE, BTC, since=LATER))
    assert states.of(CANDLES).state is FeedState.STALE
    assert states.of(Topic.candles("ETHUSDT", "1m")).state is FeedState.LIVE


def test_candles_of_ticks_that_are_refused_may_come_from_upstream_itself() -> None:
    states = followed(status(FeedState.LIVE), status(FeedState.UNAVAILABLE, BTC))
    assert states.of(CANDLES).state is FeedState.LIVE
    states.take(status(FeedState.UNAVAILABLE, CANDLES))
    assert states.of(CANDLES).state is FeedState.UNAVAILABLE


def test_a_feed_that_is_away_explains_every_topic() -> None:
    states = followed(status(FeedState.LIVE), status(FeedState.STALE, BTC), status(FeedState.BLIND, since=LATER))
    assert states.of(BTC) == TopicState(FeedState.BLIND, LATER)
    states.take(status(FeedState.LIVE, since=LATER, until=LATER))
    assert states.of(BTC).state is FeedState.STALE, "it has not ticked since"


def test_private_topics_have_no_ticks_to_miss() -> None:
    states = followed(status(FeedState.LIVE), status(FeedState.STALE, since=LATER))
    assert states.of(Topic.orders()) == TopicState(FeedState.LIVE, SINCE)
    assert states.of(BTC) == TopicState(FeedState.STALE, LATER)
    states.take(status(FeedState.BLIND, since=LATER))
    assert states.of(Topic.orders()).state is FeedState.BLIND


def test_live_again_is_since_the_end_of_the_span() -> None:
    states = followed(status(FeedState.BLIND), status(FeedState.LIVE, until=LATER))
    assert states.of(BTC).since == LATER


def test_a_state_said_twice_is_since_the_first_time() -> None:
    states = followed(status(FeedState.BLIND), status(FeedState.BLIND, since=LATER))
    assert states.of(BTC).since == SINCE


@pytest.mark.parametrize("cause", [Cause.DROPPED, Cause.CONFLATED, Cause.TRIMMED, Cause.LOG_REPLACED])
def test_what_was_lost_changes_no_state(cause: Cause) -> None:
    states = followed(status(FeedState.LIVE), status(FeedState.BLIND, BTC, cause=cause))
    assert states.of(BTC).state is FeedState.LIVE
    states.take(status(FeedState.BLIND, cause=Cause.REDIS_LOST, count=3))
    assert states.of(BTC).state is FeedState.LIVE


# As fields


@given(states, st.dictionaries(topics.map(str), states, max_size=5))
def test_the_status_hash_is_a_round_trip(own: TopicState, exceptions: dict[str, TopicState]) -> None:
    states = ScopeStates(own, topics=exceptions)
    read = ScopeStates.from_fields(own, states.to_fields(MARKET))
    assert read.topics == exceptions
    assert read.kinds == dict.fromkeys(MARKET, TopicState(own.state, own.since))


def test_the_fields_are_the_documented_json() -> None:
    states = followed(
        status(FeedState.LIVE), status(FeedState.UNAVAILABLE, BTC, cause="upstream_refused", message="no")
    )
    assert states.to_fields(MARKET) == {
        "kinds": '{"ticker":["live","2026-02-23T15:30:45.123456Z"],"candles":["live","2026-02-23T15:30:45.123456Z"]}',
        "topic_states": '{"ticker:BTCUSDT":["unavailable","2026-02-23T15:30:45.123456Z","upstream_refused","no"]}',
    }
    assert ScopeStates().to_fields(ACCOUNT) == {"kinds": "{}", "topic_states": "{}"}


def test_the_fields_have_a_bound() -> None:
    many = {f"ticker:P{number}": TopicState(FeedState.STALE, SINCE, None, "x" * 5000) for number in range(5000)}
    fields = ScopeStates(topics=many).to_fields(MARKET)
    assert len(json.loads(fields["topic_states"])) == MAX_TOPIC_STATES
    assert len(fields["topic_states"]) < 64 * 1024


def test_a_hash_of_an_older_bridge_has_no_exceptions() -> None:
    own = TopicState(FeedState.LIVE, SINCE)
    assert ScopeStates.from_fields(own, {}) == ScopeStates(own)


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps))
def test_a_malformed_field_is_no_exception(text: str) -> None:
    fields = {"topic_states": text, "kinds": text}
    assert ScopeStates.from_fields(None, fields) == ScopeStates()


@pytest.mark.parametrize(
    "text",
    [
        '{"ticker:BTCUSDT":["sleepy"]}',
        '{"ticker:BTCUSDT":[]}',
        '{"ticker:BTCUSDT":["stale",5]}',
        '{"ticker:{x}":["stale"]}',
        '{"nonsense":["stale"]}',
        "[" * 100_000,
        '{"ticker:BTCUSDT":["stale","' + "x" * 300_000 + '"]}',
    ],
)
def test_a_malformed_exception_is_left_out(text: str) -> None:
    assert ScopeStates.from_fields(None, {"topic_states": text, "kinds": text}) == ScopeStates()


def test_what_a_later_version_adds_is_left_out() -> None:
    fields = {"topic_states": '{"ticker:BTCUSDT":["stale",null,"why","words","more"]}', "kinds": '{"news":["live"]}'}
    read = ScopeStates.from_fields(None, fields)
    assert read == ScopeStates(topics={"ticker:BTCUSDT": TopicState(FeedState.STALE, None, "why", "words")})

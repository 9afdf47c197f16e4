"""What status handlers are told about a scope: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._shared.commands import ScopeLook
from agentexchange._shared.read import status_of
from agentexchange._shared.scope import ScopeWatch, concerns
from agentexchange_schemas import Cause, EnvelopeError, FeedState, FeedStatus, Topic, TopicState

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
LIVE = FeedStatus(scope="m0", state=FeedState.LIVE, since=NOW)


def beat(state: str = "live", **more: Any) -> dict[str, Any]:
    return {"kind": "heartbeat", "state": state, "since": "2026-11-22T10:00:00Z"} | more


def live_watch() -> ScopeWatch:
    watch = ScopeWatch("m0")
    assert watch.looked_at(LIVE, now=NOW, clock=100.0) == LIVE
    return watch


def test_the_first_look_is_told_whatever_it_finds() -> None:
    for state in FeedState:
        report = FeedStatus(scope="m0", state=state, since=NOW)
        assert ScopeWatch("m0").looked_at(report, now=NOW, clock=0.0) == report
    told = ScopeWatch("m0").looked_at(None, now=NOW, clock=0.0)
    assert told is not None
    assert (told.scope, told.state, told.since) == ("m0", FeedState.NO_BRIDGE, NOW)


def test_what_does_not_change_is_not_told_again() -> None:
    watch = live_watch()
    assert watch.looked_at(LIVE, now=NOW, clock=101.0) is None
    assert watch.heartbeat(beat(), now=NOW, clock=102.0) is None
    gone = ScopeWatch("m0")
    assert gone.looked_at(None, now=NOW, clock=0.0) is not None
    assert gone.looked_at(None, now=NOW, clock=0.0) is None


def test_a_heartbeat_brings_a_change_that_no_notice_told() -> None:
    told = live_watch().heartbeat(beat("stale", cause="upstream_silent"), now=NOW, clock=101.0)
    assert told is not None
    assert (told.state, told.cause) == (FeedState.STALE, Cause.UPSTREAM_SILENT)


def test_a_heartbeat_ends_no_bridge() -> None:
    watch = live_watch()
    watch.looked_at(None, now=NOW, clock=105.0)
    assert not watch.is_live
    told = watch.heartbeat(beat(), now=NOW, clock=106.0)
    assert told is not None
    assert told.state is FeedState.LIVE
    assert watch.is_live


def test_silence_counts_from_the_last_beat_or_from_the_lease_found() -> None:
    watch = live_watch()
    assert watch.silence(103.0) == 3.0
    watch.looked_at(LIVE, now=NOW, clock=103.0)
    assert watch.silence(104.0) == 4.0, "a look is no sign of life"
    watch.heartbeat(beat(), now=NOW, clock=104.0)
    assert watch.silence(104.5) == 0.5
    watch.looked_at(None, now=NOW, clock=110.0)
    watch.looked_at(LIVE, now=NOW, clock=120.0)
    assert watch.silence(121.0) == 1.0


def test_redis_lost_is_told_once_and_the_span_at_return() -> None:
    watch = live_watch()
    lost = watch.lost("connection reset", now=NOW)
    assert lost is not None
    assert (lost.state, lost.since, lost.cause) == (FeedState.BLIND, NOW, Cause.REDIS_LOST)
    assert watch.lost("refused", now=LATER) is None
    back = watch.looked_at(LIVE, now=LATER, clock=200.0)
    assert back is not None
    assert (back.state, back.since, back.until, back.cause) == (FeedState.LIVE, NOW, LATER, Cause.REDIS_LOST)


def test_redis_back_without_a_bridge_is_no_bridge() -> None:
    watch = live_watch()
    watch.lost("reset", now=NOW)
    told = watch.looked_at(None, now=LATER, clock=200.0)
    assert told is not None
    assert told.state is FeedState.NO_BRIDGE


def test_a_blind_bridge_is_told_after_a_blind_client() -> None:
    watch = live_watch()
    watch.lost("reset", now=NOW)
    report = FeedStatus(scope="m0", state=FeedState.BLIND, since=NOW, cause=Cause.UPSTREAM_LOST)
    assert watch.looked_at(report, now=LATER, clock=200.0) == report


@pytest.mark.parametrize(
    ("notice", "state"),
    [
        ({"state": "blind"}, FeedState.BLIND),
        ({"state": "live", "until": LATER}, FeedState.LIVE),
        ({"state": "blind", "until": LATER}, FeedState.STALE),
        ({"state": "blind", "count": 3}, FeedState.STALE),
        ({"state": "unavailable", "topic": "ticker:BTCUSDT"}, FeedState.STALE),
    ],
)
def test_which_notices_set_the_state(notice: dict[str, Any], state: FeedState) -> None:
    watch = ScopeWatch("m0")
    watch.looked_at(FeedStatus(scope="m0", state=FeedState.STALE, since=NOW), now=NOW, clock=0.0)
    assert watch.notice(FeedStatus(scope="m0", since=NOW, **notice), lambda _topic: True)
    assert watch.state is state


# Topics


TICK = "ticker:BTCUSDT"
MUTE = TopicState(FeedState.STALE, NOW, Cause.UPSTREAM_SILENT, "no tick")


def found(*topics: str) -> ScopeLook:
    return ScopeLook(LIVE, b"log-1", dict.fromkeys(topics, MUTE), 250)


def anyone(topic: str) -> bool:
    return bool(topic)


def only(*topics: str) -> Callable[[str], bool]:
    return lambda topic: topic in topics


def test_topics_with_a_state_of_their_own_are_told_once_to_whom_they_concern() -> None:
    watch = live_watch()
    watch.took(found(TICK, "ticker:ETHUSDT"))
    (told,) = watch.untold(only(TICK), now=LATER)
    assert told == FeedStatus(
        scope="m0", topic=TICK, state=FeedState.STALE, since=NOW, cause=Cause.UPSTREAM_SILENT, message="no tick"
    )
    assert watch.untold(only(TICK), now=LATER) == []
    assert [status.topic for status in watch.untold(anyone, now=LATER)] == ["ticker:ETHUSDT"], "wanted since"
    assert watch.clock_offset_us == 250


def test_what_a_look_does_not_find_any_more_is_over() -> None:
    watch = live_watch()
    watch.took(found(TICK))
    watch.untold(anyone, now=NOW)
    watch.took(found())
    (over,) = watch.untold(anyone, now=LATER)
    assert (over.topic, over.state, over.since, over.until) == (TICK, FeedState.LIVE, NOW, LATER)
    assert watch.untold(anyone, now=LATER) == []


def test_a_topic_that_is_wanted_again_is_told_again() -> None:
    watch = live_watch()
    watch.took(found(TICK))
    assert len(watch.untold(anyone, now=NOW)) == 1
    assert watch.untold(only("orders"), now=NOW) == []
    assert len(watch.untold(anyone, now=NOW)) == 1


def test_a_look_that_finds_no_bridge_says_nothing_of_topics() -> None:
    watch = live_watch()
    watch.took(found(TICK))
    watch.untold(anyone, now=NOW)
    watch.took(ScopeLook(None, b"log-1", {}, None))
    assert watch.untold(anyone, now=LATER) == []


def test_a_notice_of_a_topic_is_told_to_whom_it_concerns_and_not_again_by_a_look() -> None:
    watch = live_watch()
    mute = FeedStatus(scope="m0", topic=TICK, state=FeedState.STALE, since=NOW, cause=Cause.UPSTREAM_SILENT)
    assert not watch.notice(mute, only("ticker:ETHUSDT"))
    assert watch.notice(mute, only(TICK))
    watch.took(found(TICK))
    assert watch.untold(only(TICK), now=LATER) == []
    assert watch.notice(mute.model_copy(update={"state": FeedState.LIVE, "until": LATER}), only(TICK))
    watch.took(found())
    assert watch.untold(only(TICK), now=LATER) == []


def test_a_loss_is_told_whomever_it_concerns() -> None:
    loss = FeedStatus(scope="m0", topic=TICK, state=FeedState.LIVE, since=NOW, cause=Cause.CONFLATED, count=3)
    assert live_watch().notice(loss, only("orders"))


@pytest.mark.parametrize(
    ("wanted", "is_concerned"),
    [
        ("ticker:BTCUSDT", True),
        ("ticker:all", True),
        ("candles:BTCUSDT:4h", True),
        ("ticker:ETHUSDT", False),
        ("candles:ETHUSDT:4h", False),
        ("orders", False),
    ],
)
def test_whom_a_ticker_concerns(wanted: str, *, is_concerned: bool) -> None:
    assert concerns(TICK, [Topic.parse(wanted)]) is is_concerned
    assert not concerns("nonsense", [Topic.parse(wanted)])


def test_candles_concern_who_wants_them() -> None:
    assert concerns("candles:BTCUSDT:1m", [Topic.candles("BTCUSDT", "1m")])
    assert not concerns("candles:BTCUSDT:1m", [Topic.ticker("BTCUSDT"), Topic.ticker("all")])


def test_a_heartbeat_tells_of_the_bridge_s_clock() -> None:
    watch = live_watch()
    watch.heartbeat(beat(clock_offset_us=-300), now=NOW, clock=101.0)
    assert watch.clock_offset_us == -300
    watch.heartbeat(beat(), now=NOW, clock=102.0)
    assert watch.clock_offset_us is None


@pytest.mark.parametrize(
    "fields", [{}, {"state": "live"}, {"state": "?", "since": "2026-11-22T10:00:00Z"}, {"since": 1}]
)
def test_a_malformed_report_is_a_documented_error(fields: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError):
        status_of("m0", fields)
    with pytest.raises(EnvelopeError):
        ScopeWatch("m0").heartbeat(fields | {"kind": "heartbeat"}, now=NOW, clock=0.0)

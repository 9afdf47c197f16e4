from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentexchange_bridge.analysis import BlindSpan, Tally
from agentexchange_bridge.analysis import _tally as module
from agentexchange_schemas import FeedState, FeedStatus
from agentexchange_schemas.envelope import encode
from tests.sdk.recording._samples import START_US, tick, ticks

START = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=START_US)
S = 1_000_000


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def notice(second: float, state: FeedState, since: float, until: float | None = None, **more: Any) -> bytes:
    status = FeedStatus(scope="m0", state=state, since=at(since), until=None if until is None else at(until), **more)
    return encode("status", 7, 1, None, START_US + int(second * S), status.to_fields())


def tallied(*raws: bytes, scope: str = "m0") -> Tally:
    tally = Tally()
    for raw in raws:  # one by one, as runs of one
        tally.add(scope, [raw])
    return tally


def test_events_sizes_and_the_busiest_second() -> None:
    raws = [tick(n, received_us=START_US + n * 100_000) for n in range(15)]
    raws += [tick(n, received_us=START_US + 5 * S + n) for n in range(15, 40)]
    tally = tallied(*raws)
    topic = tally.scopes["m0"].topics["ticker:BTCUSDT"]
    assert (topic.events, topic.size) == (40, sum(map(len, raws)))
    assert (topic.busiest.most, topic.busiest.second) == (25, START_US // S + 5)
    assert (tally.first_us, tally.last_us, tally.events) == (START_US, START_US + 5 * S + 39, 40)


def test_lags_are_counted_where_times_are_known() -> None:
    raws = [
        encode("ticker:A", 7, 1, 1_000, 1_000_000 + 4_000, {}, 1_004_700),
        encode("ticker:A", 7, 2, None, 2_000_000, {}),
    ]
    scope = tallied(*raws).scopes["m0"]
    assert (scope.lags("upstream").count, scope.lags("upstream").most_us) == (1, 4_000)
    assert (scope.lags("written").count, scope.lags("written").most_us) == (1, 700)


def test_holes_in_the_numbers_are_gaps_and_numbers_that_begin_anew_another_log() -> None:
    raws = ticks(40)
    topic = tallied(*raws[:10], *raws[12:20], raws[25], *raws[3:5]).scopes["m0"].topics["ticker:BTCUSDT"]
    assert (topic.holes, topic.missing, topic.restarts) == (2, 7, 1)


def test_notices_count_by_cause_with_what_they_call_missing() -> None:
    scope = tallied(
        notice(1, FeedState.LIVE, 0, 1, cause="conflated", count=5),
        notice(2, FeedState.LIVE, 1, 2, cause="conflated", count=7),
        notice(3, FeedState.BLIND, 3, cause="upstream_lost"),
        notice(4, FeedState.LIVE, 4),
    ).scopes["m0"]
    assert scope.causes == {"conflated": 2, "upstream_lost": 1, "live": 1}
    assert scope.told == {"conflated": 12}


@pytest.mark.parametrize(
    ("notices", "spans", "total_s"),
    [
        ([notice(1, FeedState.BLIND, 1, cause="upstream_lost"), notice(4, FeedState.LIVE, 1, 3, cause="reconnected")],
         [("blind", "upstream_lost", 1, 3)], 2),
        ([notice(4, FeedState.LIVE, 1, 3, cause="reconnected")], [("blind", "reconnected", 1, 3)], 2),
        ([notice(1, FeedState.STALE, 1), notice(2, FeedState.BLIND, 0.5),
          notice(6, FeedState.LIVE, 2, 5, cause="reconnected")],
         [("stale", None, 0.5, 5)], 4.5),
        ([notice(1, FeedState.BLIND, 1, cause="upstream_lost")], [("blind", "upstream_lost", 1, None)], 9),
        ([notice(1, FeedState.BLIND, 1), notice(3, FeedState.LIVE, 3)], [("blind", None, 1, 3)], 2),
        ([notice(1, FeedState.LIVE, 0, 1, cause="redis_lost")], [], 0),
        ([notice(1, FeedState.BLIND, 0, 1, cause="trimmed", count=3)], [], 0),
        ([notice(2, FeedState.LIVE, 0, 2, cause="takeover"), notice(4, FeedState.LIVE, 1, 4, cause="reconnected")],
         [("blind", "takeover", 0, 2), ("blind", "reconnected", 1, 4)], 4),
        ([notice(1, FeedState.STALE, 1, topic="ticker:A"), notice(9, FeedState.LIVE, 1, 9, topic="ticker:A")],
         [("stale", None, 1, 9)], 0),
    ],
)  # fmt: skip
def test_spans_in_which_it_was_not_live(notices: list[bytes], spans: list[Any], total_s: float) -> None:
    blindness = tallied(*notices).blindness
    found = [*blindness.spans, *blindness.lasting]
    assert [(span.state, span.cause, _s(span.since_us), _s(span.until_us)) for span in found] == spans
    assert blindness.total_us("m0", START_US, START_US + 10 * S) == total_s * S
    assert blindness.total_us("m1", START_US, START_US + 10 * S) == 0


def test_what_lies_outside_of_the_time_that_is_asked_for_does_not_count() -> None:
    blindness = tallied(
        notice(3, FeedState.LIVE, 1, 3, cause="reconnected"), notice(7, FeedState.LIVE, 5, 8, cause="reconnected")
    ).blindness
    assert blindness.total_us("m0", START_US + 2 * S, START_US + 6 * S) == 2 * S


def test_what_is_no_envelope_or_no_notice_is_counted_and_passed_over() -> None:
    tally = tallied(b"\x00", tick(1), encode("status", 7, 1, None, START_US, {"state": "odd"}))
    assert (tally.junk, tally.events) == (2, 2)
    assert tally.blindness.spans == []


def test_more_topics_than_are_counted_one_by_one_still_count_for_their_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOPICS", 3)
    scope = tallied(*(tick(n, symbol=f"P{n}") for n in range(5))).scopes["m0"]
    assert (len(scope.topics), scope.events) == (3, 5)


def test_a_span_names_all_there_is_of_it() -> None:
    span = tallied(notice(4, FeedState.LIVE, 1, 3, cause="reconnected", topic="ticker:A")).blindness.spans[0]
    assert span == BlindSpan("m0", "ticker:A", "blind", "reconnected", START_US + S, START_US + 3 * S)


def _s(us: int | None) -> float | None:
    return None if us is None else (us - START_US) / S

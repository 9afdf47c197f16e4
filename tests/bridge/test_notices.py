from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from agentexchange_bridge.buffer import Loss
from agentexchange_bridge.notices import MAX_LOSS_NOTICES, Narrator, blind_since_us, from_us, loss_notices, to_us
from agentexchange_schemas import Cause, FeedState, FeedStatus
from tests.bridge._kit import fresh_grant

T0 = 1_700_000_000_000_000
START = from_us(T0)


def at(seconds: float) -> int:
    return T0 + int(seconds * 1_000_000)


def says(state: FeedState, seconds: float, **more: Any) -> FeedStatus:
    return FeedStatus(state=state, since=from_us(at(seconds)), **more)


def narrator() -> Narrator:
    return Narrator("m0", T0)


def test_microseconds_survive_the_way_through_a_time() -> None:
    assert to_us(from_us(1_795_341_318_743_227)) == 1_795_341_318_743_227


def test_a_first_live_session_is_told_once() -> None:
    told = narrator()
    assert told.feed(says(FeedState.CONNECTING, 0)) == []
    (notice,) = told.feed(says(FeedState.LIVE, 1))
    assert (notice.state, notice.scope, notice.until) == (FeedState.LIVE, "m0", None)
    assert told.feed(says(FeedState.LIVE, 2)) == []


def test_a_blind_span_has_a_beginning_and_an_end() -> None:
    told = narrator()
    told.feed(says(FeedState.LIVE, 0))
    (begin,) = told.feed(says(FeedState.BLIND, 5, cause=Cause.UPSTREAM_LOST, message="gone"))
    assert (begin.state, begin.since, begin.until, begin.cause) == (
        FeedState.BLIND,
        from_us(at(5)),
        None,
        Cause.UPSTREAM_LOST,
    )
    assert told.fields()["state"] == "blind"
    # as the session's own voice says it: the span in since and until
    (end,) = told.feed(says(FeedState.LIVE, 5, until=from_us(at(9)), cause=Cause.RECONNECTED))
    assert (end.state, end.since, end.until, end.cause) == (
        FeedState.LIVE,
        from_us(at(5)),
        from_us(at(9)),
        Cause.RECONNECTED,
    )
    assert told.fields()["since"] == FeedStatus(state=FeedState.LIVE, since=from_us(at(9))).to_fields()["since"]


def test_a_span_that_changes_its_state_midway_ends_where_it_began() -> None:
    told = narrator()
    told.feed(says(FeedState.LIVE, 0))
    assert told.feed(says(FeedState.STALE, 3, cause=Cause.UPSTREAM_SILENT))
    assert told.feed(says(FeedState.BLIND, 5, cause=Cause.UPSTREAM_SILENT))
    assert told.feed(says(FeedState.AUTH_FAILED, 6, cause=Cause.UPSTREAM_REFUSED))
    assert told.feed(says(FeedState.AUTH_FAILED, 7, cause=Cause.UPSTREAM_REFUSED)) == []
    (end,) = told.feed(says(FeedState.LIVE, 9))
    assert (end.since, end.until) == (from_us(at(3)), from_us(at(9)))


def test_a_span_without_ticks_ends_as_such_unless_the_session_was_lost_in_it() -> None:
    told = narrator()
    told.feed(says(FeedState.LIVE, 0))
    told.feed(says(FeedState.STALE, 3, cause=Cause.UPSTREAM_SILENT))
    (end,) = told.feed(says(FeedState.LIVE, 3, until=from_us(at(9)), cause=Cause.UPSTREAM_SILENT))
    assert (end.cause, end.since, end.until) == (Cause.UPSTREAM_SILENT, from_us(at(3)), from_us(at(9)))
    assert end.message == "no ticks came in this span; some may be missing"
    told.feed(says(FeedState.STALE, 13, cause=Cause.UPSTREAM_SILENT))
    told.feed(says(FeedState.BLIND, 15, cause=Cause.UPSTREAM_SILENT))
    told.feed(says(FeedState.STALE, 16, cause=Cause.UPSTREAM_SILENT))
    (end,) = told.feed(says(FeedState.LIVE, 19))
    assert (end.cause, end.since) == (Cause.RECONNECTED, from_us(at(13)))


def test_the_status_names_topics_that_are_not_as_their_scope_is() -> None:
    told = narrator()
    told.feed(says(FeedState.LIVE, 0))
    told.feed(says(FeedState.STALE, 5, topic="ticker:A", cause=Cause.UPSTREAM_SILENT, message="no tick"))
    told.feed(says(FeedState.BLIND, 6, topic="ticker:B", cause=Cause.DROPPED, count=3))
    since = from_us(at(5)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert json.loads(told.fields()["topic_states"]) == {"ticker:A": ["stale", since, "upstream_silent", "no tick"]}
    assert {kind: state for kind, (state, _) in json.loads(told.fields()["kinds"]).items()} == {
        "ticker": "live",
        "candles": "live",
    }
    told.feed(says(FeedState.LIVE, 5, topic="ticker:A", until=from_us(at(8))))
    assert told.fields()["topic_states"] == "{}"


def test_every_notice_of_a_span_names_its_beginning() -> None:
    """A later owner starts from the status: a lost session after a takeover must not hide the time before."""
    told = narrator()
    told.took_over(at(-4), at(0))
    (lost,) = told.feed(says(FeedState.BLIND, 2, cause=Cause.UPSTREAM_LOST))
    assert lost.since == from_us(at(-4))
    fields = told.fields()
    assert blind_since_us(fresh_grant(received_us=at(-9), status=fields)) == at(-4)
    (end,) = told.feed(says(FeedState.LIVE, 3))
    assert (end.since, end.until, end.cause) == (from_us(at(-4)), from_us(at(3)), Cause.TAKEOVER)


def test_a_takeover_is_blind_from_the_last_owners_word_to_the_first_live_moment() -> None:
    told = narrator()
    (begin,) = told.took_over(at(-4), at(0))
    assert (begin.state, begin.since, begin.cause) == (FeedState.BLIND, from_us(at(-4)), Cause.TAKEOVER)
    assert told.feed(says(FeedState.CONNECTING, 0)) == []
    assert told.state is FeedState.BLIND
    (end,) = told.feed(says(FeedState.LIVE, 1))
    assert (end.since, end.until, end.cause) == (from_us(at(-4)), from_us(at(1)), Cause.TAKEOVER)


def test_a_takeover_from_a_worker_whose_clock_is_ahead_does_not_begin_in_the_future() -> None:
    (begin,) = narrator().took_over(at(60), at(0))
    assert begin.since == START


def test_a_shutdown_is_blind_from_when_upstream_was_let_go() -> None:
    told = narrator()
    told.feed(says(FeedState.LIVE, 0))
    (notice,) = told.shut_down(at(5))
    assert (notice.state, notice.since, notice.cause) == (FeedState.BLIND, from_us(at(5)), Cause.SHUTDOWN)
    assert told.fields()["state"] == "blind"


def test_a_shutdown_in_a_blind_span_leaves_the_spans_beginning() -> None:
    told = narrator()
    told.feed(says(FeedState.LIVE, 0))
    told.feed(says(FeedState.BLIND, 3, cause=Cause.UPSTREAM_LOST))
    (notice,) = told.shut_down(at(5))
    assert (notice.state, notice.since, notice.cause) == (FeedState.BLIND, from_us(at(3)), Cause.SHUTDOWN)
    assert told.fields()["cause"] == "shutdown"


def test_a_topics_own_state_does_not_change_the_scopes() -> None:
    told = narrator()
    told.feed(says(FeedState.LIVE, 0))
    (notice,) = told.feed(says(FeedState.UNAVAILABLE, 1, topic="candles:BTCUSDT:4h", cause=Cause.UPSTREAM_REFUSED))
    assert (notice.topic, notice.scope) == ("candles:BTCUSDT:4h", "m0")
    assert told.state is FeedState.LIVE


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({}, None),
        ({"received_us": at(5)}, at(5)),
        ({"received_us": at(5), "status": {"state": "live", "settled": str(at(7))}}, at(7)),
        ({"received_us": at(8), "status": {"state": "live", "settled": str(at(7))}}, at(8)),
        ({"received_us": at(8), "status": {"state": "blind", "since": "2023-11-14T22:13:22.000000Z"}}, at(2)),
    ],
    ids=["nobody before", "only an r", "quiet for long", "died while behind", "blind already"],
)
def test_the_last_owners_word(changes: dict[str, Any], since: int | None) -> None:
    assert blind_since_us(fresh_grant(**changes)) == since


def losses(count: int, cause: Cause = Cause.CONFLATED) -> list[Loss]:
    return [Loss(f"ticker:S{n}", cause, 2, at(n), at(n + 1)) for n in range(count)]


def test_losses_are_told_per_topic() -> None:
    first, second = loss_notices(losses(2), narrator())
    assert (first.topic, first.count, first.cause) == ("ticker:S0", 2, Cause.CONFLATED)
    assert second.until - second.since == timedelta(seconds=1)


def test_losses_of_too_many_topics_are_told_as_one_sum_per_cause() -> None:
    many = MAX_LOSS_NOTICES + 1
    notices = loss_notices([*losses(many), Loss("orders", Cause.DROPPED, 3, at(0), at(1))], narrator())
    told = {notice.cause: (notice.topic, notice.count) for notice in notices}
    assert told == {Cause.CONFLATED: (None, 2 * many), Cause.DROPPED: ("orders", 3)}
    assert notices[0].until == from_us(at(many))

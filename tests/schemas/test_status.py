"""Feed status: the same statement as model and as notice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agentexchange_schemas import Cause, EnvelopeError, FeedState, FeedStatus

SINCE = datetime(2026, 2, 23, 15, 30, 45, 123_456, UTC)


def test_a_notice_is_a_round_trip() -> None:
    status = FeedStatus(
        scope="m0", state=FeedState.LIVE, since=SINCE, until=SINCE + timedelta(seconds=2), cause=Cause.TAKEOVER, count=3
    )
    assert FeedStatus.from_fields(status.to_fields()) == status


def test_times_are_utc_text() -> None:
    status = FeedStatus(state=FeedState.BLIND, since=SINCE.astimezone(timezone(timedelta(hours=2))))
    assert status.to_fields()["since"] == "2026-02-23T15:30:45.123456Z"


def test_a_field_of_a_later_version_is_ignored() -> None:
    fields = FeedStatus(state=FeedState.BLIND, since=SINCE).to_fields()
    assert FeedStatus.from_fields(fields | {"mood": "good"}) == FeedStatus.from_fields(fields)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"state": "sleepy"}, "state"), ({"since": "2026-02-23T15:30:45"}, "since"), ({"count": "x"}, "count")],
)
def test_a_malformed_field_is_named(change: dict[str, object], field: str) -> None:
    fields = FeedStatus(state=FeedState.BLIND, since=SINCE).to_fields()
    with pytest.raises(EnvelopeError) as caught:
        FeedStatus.from_fields(fields | change)
    assert caught.value.field == field

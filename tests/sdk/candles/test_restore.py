"""Restarts, one at a time; `test_properties` does them at random."""

from __future__ import annotations

from typing import Any

from .test_builder import MINUTE, NOON, closed, started, tick, us


def lived(*minutes: int) -> tuple[list[dict[str, Any]], bytes]:
    """The log and the state of a builder that had ticks in these minutes and ended 30 s into 12:03."""
    builder = started("1m", "5m", at=NOON - MINUTE)
    for minute in minutes:
        tick(builder, NOON + minute * MINUTE + 30_000, str(minute + 1))
    now = NOON + 3 * MINUTE + 30_000
    return closed(builder, now), builder.state(us(now))


def test_a_minute_that_is_missing_or_was_not_complete_is_said_by_the_longer_candle() -> None:
    log, _ = lived(0, 1, 2)
    at = NOON + 3 * MINUTE + 2_000  # nothing was missed since the last one
    whole = [fields | {"complete": True} for fields in log]
    for history in (whole[:1] + whole[2:], [whole[0], log[1] | {"complete": False}, whole[2]]):
        builder = started("1m", "5m", at=at)
        builder.restore(history, None, us(at))
        forming = builder.forming("A", "5m")
        assert forming is not None
        assert forming["complete"] is False


def test_minutes_that_are_in_no_log_are_told_as_not_seen() -> None:
    log, state = lived(0, 1, 2)
    builder = started("1m", at=NOON + 4 * MINUTE)
    builder.restore(log[:1], state, us(NOON + 4 * MINUTE))
    lost = closed(builder, NOON + 6 * MINUTE)[:2]
    assert [(fields["open_time"][14:16], fields["complete"], fields["empty"]) for fields in lost] == [
        ("01", False, True),
        ("02", False, True),
    ]


def test_ticks_that_came_before_the_restore_are_kept_in_their_place() -> None:
    log, state = lived(0, 1, 2, 3)
    builder = started("1m", at=NOON + 3 * MINUTE + 31_000)
    tick(builder, NOON + 2 * MINUTE + 59_000, "70")  # of a minute that is closed already
    tick(builder, NOON + 3 * MINUTE + 31_000, "9")
    builder.restore(log, state, us(NOON + 3 * MINUTE + 32_000))
    tick(builder, NOON + 3 * MINUTE + 30_500, "8")  # earlier than the last one
    (fields,) = closed(builder, NOON + 4 * MINUTE + 2_000)
    assert [fields[name] for name in ("open", "high", "close", "trades")] == ["4", "9", "9", 3]


def test_a_longer_candle_whose_last_minute_is_missing_in_the_log_is_not_published_twice() -> None:
    builder = started("1m", "5m", at=NOON - MINUTE)
    tick(builder, NOON + 1, "1")
    log = closed(builder, NOON + 5 * MINUTE + 2_000)
    again = started("1m", "5m", at=NOON + 5 * MINUTE + 3_000)
    again.restore(log[:-2] + log[-1:], None, us(NOON + 5 * MINUTE + 3_000))
    told = [(fields["interval"], fields["open_time"][14:16]) for fields in closed(again, NOON + 6 * MINUTE)]
    assert told == [("1m", "04")]


def test_an_interval_that_is_wanted_before_the_first_price_misses_nothing() -> None:
    builder = started("1m", at=NOON - MINUTE)
    closed(builder, NOON + 2 * MINUTE)
    builder.want("A", "5m", us(NOON + 2 * MINUTE))
    tick(builder, NOON + 3 * MINUTE, "1")
    assert closed(builder, NOON + 6 * MINUTE)[-1]["complete"] is True

"""Restarts, one at a time; `test_properties` does them at random."""

from __future__ import annotations

from typing import Any

import pytest

from .test_builder import MINUTE, NOON, closed, started, tick, us


def lived(*minutes: int) -> tuple[list[dict[str, Any]], bytes]:
    """The log and the state of a builder that had ticks in these minutes and ended 30 s into 12:03."""
    builder = started("1m", "5m", at=NOON - MINUTE)
    for minute in minutes:
        tick(builder, NOON + minute * MINUTE + 30_000, str(minute + 1))
    now = NOON + 3 * MINUTE + 30_000
    return closed(builder, now), builder.state(us(now))


@pytest.mark.parametrize("fault", ["", "missing", "not complete"])
def test_a_minute_that_is_missing_or_was_not_complete_is_said_by_the_longer_candle(fault: str) -> None:
    builder = started("1m", at=NOON - 2 * MINUTE)
    for minute in range(3):
        tick(builder, NOON + minute * MINUTE, str(minute + 1))
    log = [fields for fields in closed(builder, NOON + 3 * MINUTE + 2_000) if fields["trades"]]
    builder.want("A", "5m", us(NOON + 3 * MINUTE + 2_000))
    if fault == "missing":
        del log[1]
    elif fault:
        log[1] |= {"complete": False}
    builder.restore(log, None, us(NOON + 3 * MINUTE + 2_000))
    tick(builder, NOON + 3 * MINUTE + 3_000, "9")
    closed(builder, NOON + 4 * MINUTE + 2_000)
    builder.restore(log, None, us(NOON + 4 * MINUTE + 2_000))
    five = closed(builder, NOON + 6 * MINUTE)[-1]
    assert (five["interval"], five["open"], five["high"], five["complete"]) == ("5m", "1", "9", not fault)


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
    builder = started("1m", "5m", at=NOON + 2 * MINUTE + 31_000)
    tick(builder, NOON + 2 * MINUTE + 59_000, "70")  # of a minute that is closed already
    tick(builder, NOON + 3 * MINUTE + 31_000, "9")
    builder.restore(log, state, us(NOON + 3 * MINUTE + 32_000))
    tick(builder, NOON + 3 * MINUTE + 30_500, "8")  # earlier than the last one
    forming = builder.forming("A", "5m")
    assert forming is not None
    assert (forming["trades"], forming["high"]) == (6, "9")
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

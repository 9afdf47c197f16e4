"""The builder's words one by one; `test_properties` compares whole streams."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentexchange.candles import INTERVAL_MS, BuilderOptions, CandleBuilder
from agentexchange_schemas import INTERVALS, Candle, TopicError

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z, ms
MINUTE = 60_000


def us(time_ms: int) -> int:
    return time_ms * 1000


def started(*intervals: str, at: int = NOON, options: BuilderOptions | None = None) -> CandleBuilder:
    builder = CandleBuilder(options)
    for interval in intervals:
        builder.want("A", interval, us(at))
    return builder


def tick(builder: CandleBuilder, time_ms: int, price: str, quantity: str | None = "1") -> bool:
    return builder.tick("A", price, quantity, time_ms, us(time_ms))


def closed(builder: CandleBuilder, now_ms: int) -> list[dict[str, Any]]:
    return [candle.fields for candle in builder.close_due(us(now_ms))]


def test_intervals_are_the_documented_ones() -> None:
    assert tuple(INTERVAL_MS) == INTERVALS


def test_a_candle_has_exactly_these_fields_and_reads_as_a_model() -> None:
    builder = started("1m")
    tick(builder, NOON + 60_100, "64521.30000000", "0.01200000")
    tick(builder, NOON + 60_200, "64520.10000000", "1.5")
    (fields,) = closed(builder, NOON + 122_000)
    assert fields == {
        "symbol": "A",
        "interval": "1m",
        "open": "64521.30000000",
        "high": "64521.30000000",
        "low": "64520.10000000",
        "close": "64520.10000000",
        "volume": "1.51200000",
        "open_time": "2026-01-01T12:01:00.000Z",
        "time": "2026-01-01T12:01:00.000Z",
        "is_closed": True,
        "source": "built",
        "complete": True,
        "trades": 2,
        "empty": False,
    }
    assert Candle.model_validate(fields).volume_decimal == Decimal("1.512")


def test_a_candle_closes_on_the_clock_and_not_before_the_allowance_is_over() -> None:
    builder = started("1m")
    tick(builder, NOON + 1, "1")
    assert closed(builder, NOON + MINUTE + 1_999) == []
    assert len(closed(builder, NOON + MINUTE + 2_000)) == 1
    assert closed(builder, NOON + MINUTE + 2_000) == []
    assert closed(builder, NOON) == []


def test_an_empty_interval_repeats_the_last_close_and_says_so() -> None:
    builder = started("1m")
    tick(builder, NOON + 61_000, "7.50")
    _, empty = closed(builder, NOON + 4 * MINUTE)
    assert {empty[name] for name in ("open", "high", "low", "close")} == {"7.50"}
    assert (empty["volume"], empty["trades"], empty["empty"], empty["complete"]) == ("0", 0, True, True)


def test_a_symbol_without_a_price_has_no_candle() -> None:
    assert closed(started(*INTERVALS), NOON + 3 * 1440 * MINUTE) == []


def test_longer_candles_follow_the_shorter_ones() -> None:
    builder = started(*reversed(INTERVALS))
    tick(builder, NOON + 1, "1")
    candles = closed(builder, NOON + 720 * MINUTE + 2_000)
    assert [fields["interval"] for fields in candles[-6:]] == list(INTERVALS)
    assert candles[-1]["open_time"] == "2026-01-01T00:00:00.000Z"


def test_empty_minutes_put_no_price_into_a_longer_candle() -> None:
    builder = started("1m", "5m")
    tick(builder, NOON + 1, "9")
    tick(builder, NOON + 7 * MINUTE, "5")
    tick(builder, NOON + 8 * MINUTE, "6")
    five = [fields for fields in closed(builder, NOON + 11 * MINUTE) if fields["interval"] == "5m"]
    assert [(f["open"], f["high"], f["low"], f["close"]) for f in five] == [("9",) * 4, ("5", "6", "5", "6")]


def test_a_late_tick_counts_within_the_allowance_and_is_told_after_it() -> None:
    builder = started("1m", "5m", at=NOON - MINUTE)
    tick(builder, NOON + 1, "1")
    assert builder.tick("A", "3", "1", NOON + 59_999, us(NOON + 61_999)) is True
    assert closed(builder, NOON + 62_000)[-1]["close"] == "3"
    assert builder.tick("A", "9", "1", NOON + 59_999, us(NOON + 62_001)) is False
    assert builder.stats.late == 1
    five = closed(builder, NOON + 6 * MINUTE)[-1]
    assert (five["interval"], five["high"], five["complete"]) == ("5m", "3", False)


def test_open_and_close_go_by_upstreams_time() -> None:
    builder = started("1m")
    for time, price in ((200, "2"), (100, "1"), (300, "3"), (300, "4"), (250, "5"), (100, "6")):
        tick(builder, NOON + time, price)
    (fields,) = closed(builder, NOON + 2 * MINUTE)[:1]
    assert (fields["open"], fields["close"], fields["high"]) == ("1", "4", "6")


def test_prices_that_floats_cannot_tell_apart_are_compared_exactly() -> None:
    builder = started("1m")
    for price in ("0.10000000000000000001", "0.10000000000000000003", "0.1", "0.10000000000000000002"):
        tick(builder, NOON + 1, price)
    fields = closed(builder, NOON + 2 * MINUTE)[0]
    assert (fields["high"], fields["low"]) == ("0.10000000000000000003", "0.1")


def test_an_equal_price_in_other_words_does_not_replace_the_first() -> None:
    builder = started("1m")
    for price in ("1.0", "1.00", "1"):
        tick(builder, NOON + 1, price)
    fields = closed(builder, NOON + 2 * MINUTE)[0]
    assert (fields["high"], fields["low"], fields["close"]) == ("1.0", "1.0", "1")


@pytest.mark.parametrize(
    ("quantities", "volume", "bad"),
    [
        ((None, None), None, 0),
        ((None, "2.50"), "2.50", 0),
        (("0.1", "0.2", "0.30"), "0.60", 0),
        (("1e3", "1E-3"), "1000.001", 0),
        (("1", "NaN", "inf", "-1", "many", "1e-300", "1e99", "1e99999999999999999999"), "1", 7),
        (("nan",), None, 1),
    ],
)
def test_volume_is_the_exact_sum_of_what_was_named(quantities: tuple[str | None, ...], volume: str, bad: int) -> None:
    builder = started("1m")
    for quantity in quantities:
        assert tick(builder, NOON + 1, "1", quantity)
    fields = closed(builder, NOON + 2 * MINUTE)[0]
    assert (fields["volume"], fields["trades"]) == (volume, len(quantities))
    assert builder.stats.bad_quantities == bad


def test_a_price_that_is_none_changes_nothing() -> None:
    builder = started("1m")
    assert tick(builder, NOON + 1, "many") is False
    tick(builder, NOON + 1, "1")
    assert tick(builder, NOON + 1, "many") is False
    assert builder.stats.bad_prices == 2
    assert closed(builder, NOON + 2 * MINUTE)[0]["trades"] == 1


def test_a_tick_too_far_ahead_counts_by_its_arrival() -> None:
    builder = started("1m")
    builder.tick("A", "1", "1", NOON + 90 * MINUTE, us(NOON + 1))
    assert builder.stats.ahead == 1
    assert closed(builder, NOON + 2 * MINUTE)[0]["open_time"] == "2026-01-01T12:00:00.000Z"


def test_only_what_is_wanted_is_built() -> None:
    builder = started("5m", "1m")
    builder.unwant("A", "1m")
    tick(builder, NOON + 1, "1")
    assert {fields["interval"] for fields in closed(builder, NOON + 20 * MINUTE)} == {"5m"}
    builder.unwant("A", "5m")
    builder.unwant("A", "5m")
    builder.unwant("B", "5m")
    assert tick(builder, NOON + 30 * MINUTE, "1") is False
    assert closed(builder, NOON + 40 * MINUTE) == []
    with pytest.raises(TopicError, match="2m"):
        builder.want("A", "2m", us(NOON))


def test_a_long_interval_that_is_wanted_late_is_complete_with_its_history_only() -> None:
    for with_history in (False, True):
        builder = started("1m", at=NOON - MINUTE)
        tick(builder, NOON + 1, "9")
        tick(builder, NOON + MINUTE, "2")
        log = closed(builder, NOON + 3 * MINUTE)
        builder.want("A", "5m", us(NOON + 3 * MINUTE))
        tick(builder, NOON + 3 * MINUTE, "5")
        log += closed(builder, NOON + 4 * MINUTE)
        for _ in range(2 * with_history):
            builder.restore(log, None, us(NOON + 4 * MINUTE))
        five = closed(builder, NOON + 6 * MINUTE)[-1]
        assert five["interval"] == "5m"
        assert (five["high"], five["trades"], five["complete"]) == (("9", 3, True) if with_history else ("5", 1, False))


def test_after_a_long_stop_old_empty_candles_are_not_told() -> None:
    builder = started("1m", "1h", options=BuilderOptions(catch_up_ms=10 * MINUTE))
    tick(builder, NOON + 1, "1")
    candles = closed(builder, NOON + 1440 * MINUTE)
    minutes = [fields["open_time"] for fields in candles if fields["interval"] == "1m"]
    assert minutes[0] == "2026-01-01T12:00:00.000Z"
    assert minutes[1] == "2026-01-02T11:49:00.000Z"
    assert len(minutes) == 11
    assert [fields["open_time"] for fields in candles if fields["interval"] == "1h"] == ["2026-01-01T12:00:00.000Z"]
    assert builder.stats.skipped_minutes > 1400


def test_forming_candles_are_told_when_they_change_and_not_too_often() -> None:
    builder = started("1m")
    builder.want("A", "5m", us(NOON), forming=True)
    assert builder.forming_due(us(NOON)) == []
    tick(builder, NOON + 1_000, "1", "2")
    (first,) = builder.forming_due(us(NOON + 1_000))
    assert first.topic == "candles:A:5m"
    assert (first.fields["is_closed"], first.fields["close"], first.fields["volume"]) == (False, "1", "2")
    tick(builder, NOON + 1_500, "2", "2")
    assert builder.forming_due(us(NOON + 1_999)) == []
    assert [candle.fields["close"] for candle in builder.forming_due(us(NOON + 2_000))] == ["2"]
    assert builder.forming_due(us(NOON + 9_000)) == []
    builder.unwant("A", "5m")
    tick(builder, NOON + 10_000, "3")
    assert builder.forming_due(us(NOON + 10_000)) == []


def test_where_too_many_forming_candles_have_changed_the_topics_take_turns() -> None:
    builder = CandleBuilder(BuilderOptions(forming_at_once=2))
    told: list[str] = []
    for symbol in "ABCDE":
        builder.want(symbol, "1m", us(NOON), forming=True)
    for turn in range(5):
        for symbol in "ABCDE":
            builder.tick(symbol, "1", None, None, us(NOON + 1_000 + turn * 250))
        told += [candle.fields["symbol"] for candle in builder.forming_due(us(NOON + 1_000 + turn * 250))]
    assert "".join(told) == "ABCDEAB"


def test_a_forming_long_candle_holds_closed_and_open_minutes() -> None:
    builder = started("5m", at=NOON - MINUTE)
    for minute, price in enumerate(("5", "9", "1", "4")):
        tick(builder, NOON + minute * MINUTE, price)
        closed(builder, NOON + minute * MINUTE + 3_000)
    fields = builder.forming("A", "5m")
    assert fields is not None
    assert [fields[name] for name in ("open", "high", "low", "close", "trades")] == ["5", "9", "1", "4", 4]
    assert (fields["complete"], fields["open_time"]) == (True, "2026-01-01T12:00:00.000Z")
    assert builder.forming("A", "1h") is None
    assert builder.forming("B", "1m") is None


def test_without_a_state_the_log_alone_continues_and_says_what_is_missing() -> None:
    builder = started("1m", "5m", at=NOON - MINUTE)
    for minute in range(3):
        tick(builder, NOON + minute * MINUTE, str(minute + 1))
    log = closed(builder, NOON + 2 * MINUTE + 2_000)
    again = started("1m", "5m", at=NOON + 3 * MINUTE)
    again.restore([*log, *log], None, us(NOON + 3 * MINUTE))
    tick(again, NOON + 4 * MINUTE, "8")
    candles = closed(again, NOON + 6 * MINUTE)
    assert [fields["open_time"][14:16] for fields in candles if fields["interval"] == "1m"] == ["02", "03", "04"]
    five = next(fields for fields in candles if fields["interval"] == "5m")
    assert [five[name] for name in ("open", "low", "close", "trades", "complete")] == ["1", "1", "8", 3, False]


def test_a_long_candle_that_was_not_written_before_the_end_is_published_once() -> None:
    builder = started("1m", "5m", at=NOON - MINUTE)
    tick(builder, NOON + 1, "1")
    log = closed(builder, NOON + 5 * MINUTE + 2_000)
    assert log[-1]["interval"] == "5m"
    now = us(NOON + 5 * MINUTE + 3_000)
    for written, expected in ((log, []), (log[:-1], [log[-1]])):
        again = started("1m", "5m", at=now // 1000)
        again.restore(written, builder.state(now), now)
        assert [candle.fields for candle in again.close_due(now)] == expected


def test_upstreams_own_candles_are_a_history_too() -> None:
    log = [
        {
            "symbol": "A",
            "interval": "1m",
            "open_time": None,
            "time": f"2026-01-01T12:0{minute}:00.000Z",
            **dict.fromkeys(("open", "high", "low", "close"), price),
            "volume": volume,
        }
        for minute, price, volume in ((0, "3", "1.0"), (1, "3", "0"), (2, "7", "2"))
    ]
    builder = started("1m", "5m", at=NOON + 3 * MINUTE)
    builder.restore(log, None, us(NOON + 3 * MINUTE))
    five = closed(builder, NOON + 6 * MINUTE)[-1]
    assert [five[name] for name in ("interval", "open", "close", "volume", "trades")] == ["5m", "3", "7", "3.0", None]


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"symbol": 1, "interval": "1m"},
        {"symbol": "A", "interval": "1m", "open_time": "yesterday"},
        {"symbol": "A", "interval": "1m", "open_time": "2026-01-01T11:59:00Z"},
        {"symbol": "A", "interval": "1m", "open_time": "2026-01-01T11:59:30Z", "open": "1"},
        {"symbol": "A", "interval": "1m", "open_time": "2027-01-01T11:59:00Z", "open": "1"},
        {"symbol": "A", "interval": ["1m"], "open_time": "2026-01-01T11:59:00Z"},
        {"symbol": "A", "interval": "1m", "open_time": "2026-01-01T11:59:00Z", "open": "x", "high": 1, "low": 1},
        {"symbol": "A", "interval": "1m", "open_time": "2026-01-01T11:59:00Z", "is_closed": False, "open": "1"},
    ],
)
def test_what_is_no_candle_of_the_past_is_no_history(junk: dict[str, Any]) -> None:
    builder = started("1m")
    builder.restore([junk], None, us(NOON))
    assert closed(builder, NOON + 5 * MINUTE) == []


def test_an_incomplete_history_is_not_folded_in_twice() -> None:
    builder = started("1m", at=NOON - MINUTE)
    for minute in range(4):
        tick(builder, NOON + minute * MINUTE, "9")
    log = closed(builder, NOON + 3 * MINUTE + 2_000)
    builder.want("A", "5m", us(NOON + 3 * MINUTE + 2_000))
    log += closed(builder, NOON + 4 * MINUTE + 2_000)
    for _ in range(2):
        builder.restore(log[1:], None, us(NOON + 4 * MINUTE + 2_000))
    five = closed(builder, NOON + 6 * MINUTE)[-1]
    assert (five["trades"], five["complete"]) == (3, False)


def test_a_forming_candle_stays_when_the_minute_before_it_closes() -> None:
    builder = started("1m")
    tick(builder, NOON + 1, "1")
    tick(builder, NOON + MINUTE, "2")
    closed(builder, NOON + MINUTE + 2_000)
    fields = builder.forming("A", "1m")
    assert fields is not None
    assert (fields["close"], fields["open_time"]) == ("2", "2026-01-01T12:01:00.000Z")


def test_a_symbol_that_is_wanted_later_leaves_the_others_minutes_to_be_closed() -> None:
    builder = started("1m")
    tick(builder, NOON + 1, "1")
    builder.want("B", "1m", us(NOON + 5 * MINUTE))
    assert [fields["symbol"] for fields in closed(builder, NOON + 6 * MINUTE + 2_000)] == ["A"] * 6


def test_a_candle_that_is_published_after_a_restart_still_says_what_was_not_seen() -> None:
    builder = started("1m", "5m", at=NOON - MINUTE)
    tick(builder, NOON + 1, "1")
    log = closed(builder, NOON + 5 * MINUTE + 2_000)
    now = us(NOON + 5 * MINUTE + 3_000)
    builder.blind(us(NOON + 90_000), us(NOON + 91_000))
    again = started("1m", "5m", at=now // 1000)
    again.restore(log[:-1], builder.state(now), now)
    assert [candle.fields for candle in again.close_due(now)] == [{**log[-1], "complete": False}]

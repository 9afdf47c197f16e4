"""Which source a topic's candles come from: one final candle per span, whatever the switch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.candles import CandleSource, SourceChooser
from agentexchange.candles._time import time_text
from agentexchange_schemas import Candle, TopicError
from agentexchange_schemas.frames import FramedFields, frame_in

NOON = 1_767_268_800_000
MINUTE = 60_000


def at(span: int, after_ms: int) -> int:
    """So long after the end of a span, in µs."""
    return (NOON + (span + 1) * MINUTE + after_ms) * 1000


def pushed(span: int, *, is_closed: bool | None = True) -> dict[str, Any]:
    text = time_text(NOON + span * MINUTE)
    fields = {"symbol": "A", "interval": "1m", "close": "1", "open_time": text, "time": text}
    return fields if is_closed is None else {**fields, "is_closed": is_closed}


def built(span: int, *, complete: bool = True, is_closed: bool = True) -> dict[str, Any]:
    marks = {"source": "built", "complete": complete, "trades": 1, "empty": False}
    return {**pushed(span, is_closed=is_closed), **marks}


def sources(candles: list[dict[str, Any]]) -> list[str]:
    return [fields["source"] for fields in candles]


def test_auto_builds_where_upstream_pushes_nothing_and_waits_for_nobody() -> None:
    chooser = SourceChooser("1m")
    for span in range(3):
        assert sources(chooser.built(built(span), at(span, 2_000))) == ["built"]
        assert not chooser.is_waiting
    assert (chooser.source, chooser.stats.from_ticks, chooser.stats.switches) == (CandleSource.BUILD, 3, 0)


def test_auto_takes_upstreams_candle_where_it_comes_first_and_prefers_it_then() -> None:
    chooser = SourceChooser("1m")
    assert sources(chooser.upstream(pushed(0), at(0, 300))) == ["upstream"]
    assert chooser.built(built(0), at(0, 2_000)) == []
    assert chooser.source is CandleSource.UPSTREAM
    assert chooser.built(built(1), at(1, 2_000)) == []
    assert chooser.is_waiting
    assert sources(chooser.upstream(pushed(1), at(1, 3_000))) == ["upstream"]
    assert not chooser.is_waiting
    assert chooser.stats.built_after == 2


def test_upstreams_candle_keeps_the_frame_that_it_came_in() -> None:
    [candle] = SourceChooser("1m").upstream(FramedFields(pushed(0), "as it came"), at(0, 300))
    assert (candle["source"], frame_in(candle)) == ("upstream", "as it came")


def test_auto_builds_again_when_upstream_stays_silent_past_a_span() -> None:
    chooser = SourceChooser("1m")
    chooser.upstream(pushed(0), at(0, 300))
    chooser.built(built(1), at(1, 2_000))
    assert chooser.due(at(1, 4_999)) == []
    assert sources(chooser.due(at(1, 5_000))) == ["built"]
    assert sources(chooser.built(built(2), at(2, 2_000))) == ["built"]
    assert chooser.upstream(pushed(2), at(2, 9_000)) == []
    assert (chooser.source, chooser.stats.upstream_after) == (CandleSource.BUILD, 1)
    assert chooser.upstream(pushed(2), at(2, 4_000)) == []  # late, but soon enough to be waited for from here on
    assert chooser.source is CandleSource.UPSTREAM


def test_an_incomplete_candle_waits_for_a_better_one_until_upstream_has_proved_silent() -> None:
    chooser = SourceChooser("1m")
    assert chooser.built(built(0, complete=False), at(0, 2_000)) == []
    assert sources(chooser.upstream(pushed(0), at(0, 3_000))) == ["upstream"]
    chooser = SourceChooser("1m")
    assert chooser.built(built(0, complete=False), at(0, 2_000)) == []
    assert sources(chooser.due(at(0, 5_000))) == ["built"]
    assert sources(chooser.built(built(1, complete=False), at(1, 2_000))) == ["built"]


def test_a_refusal_ends_all_waiting() -> None:
    chooser = SourceChooser("1m")
    chooser.upstream(pushed(0), at(0, 300))
    chooser.built(built(1), at(1, 2_000))
    assert sources(chooser.refused()) == ["built"]
    assert sources(chooser.built(built(2, complete=False), at(2, 2_000))) == ["built"]
    chooser.accepted()
    assert chooser.built(built(3, complete=False), at(3, 2_000)) == []


def test_what_is_held_goes_before_what_follows() -> None:
    chooser = SourceChooser("1m")
    chooser.upstream(pushed(0), at(0, 300))
    chooser.built(built(1), at(1, 2_000))
    assert sources(chooser.upstream(pushed(2), at(2, 300))) == ["built", "upstream"]
    chooser.built(built(3), at(3, 2_000))
    assert sources(chooser.built(built(4), at(4, 2_000))) == ["built"]


def test_one_source_only() -> None:
    chooser = SourceChooser("1m", CandleSource.UPSTREAM)
    assert (chooser.subscribes, chooser.builds) == (True, False)
    assert chooser.built(built(0), at(0, 2_000)) == []
    assert chooser.refused() == []
    assert sources(chooser.upstream(pushed(0, is_closed=None), at(0, 60_000))) == ["upstream"]
    assert chooser.upstream(pushed(0), at(0, 60_000)) == []
    assert sources(chooser.upstream({"close": "1"}, at(0, 60_000))) == ["upstream"]

    chooser = SourceChooser("1m", CandleSource.BUILD)
    assert (chooser.subscribes, chooser.builds) == (False, True)
    assert chooser.upstream(pushed(0), at(0, 300)) == []
    assert chooser.refused() == []
    assert sources(chooser.built(built(0, complete=False), at(0, 2_000))) == ["built"]
    assert chooser.built(built(0), at(0, 2_000)) == []


def test_an_undated_candle_could_be_a_double() -> None:
    chooser = SourceChooser("1m")
    assert chooser.upstream({"close": "1", "is_closed": True}, at(0, 300)) == []
    assert chooser.stats.undated == 1


def test_a_candle_of_a_time_to_come_does_not_end_those_until_then() -> None:
    chooser = SourceChooser("1m")
    assert chooser.upstream(pushed(1000), at(0, 300)) == []
    assert chooser.stats.undated == 1
    assert sources(chooser.built(built(0), at(0, 2_000))) == ["built"]
    chooser = SourceChooser("1m", CandleSource.UPSTREAM)
    assert sources(chooser.upstream(pushed(1000), at(0, 300)) + chooser.upstream(pushed(0), at(0, 400))) == [
        "upstream",
        "upstream",
    ]


def test_what_was_published_before_a_restart_is_not_published_again() -> None:
    chooser = SourceChooser("1m")
    chooser.resume(NOON)
    chooser.resume(NOON - MINUTE)
    assert chooser.built(built(0), at(0, 2_000)) == []
    assert chooser.upstream(pushed(0), at(0, 2_000)) == []


def test_a_candle_that_is_held_back_and_turns_out_to_be_published_is_let_go() -> None:
    chooser = SourceChooser("1m")
    chooser.built(built(0, complete=False), at(0, 2_000))
    chooser.resume(NOON)
    assert chooser.release() == []
    assert (chooser.is_waiting, chooser.stats.built_after) == (False, 1)


def test_forming_candles_come_from_the_preferred_source() -> None:
    chooser = SourceChooser("1m")
    now = at(0, -30_000)
    assert chooser.upstream(pushed(0, is_closed=False), now) == []
    assert chooser.built(built(0, is_closed=False), now) == [built(0, is_closed=False)]
    chooser.upstream(pushed(0), at(0, 300))
    assert chooser.upstream(pushed(0, is_closed=False), now) == []
    assert sources(chooser.upstream(pushed(1, is_closed=False), now)) == ["upstream"]
    assert chooser.built(built(1, is_closed=False), now) == []


def test_upstreams_candle_says_what_it_is_and_keeps_what_it_said() -> None:
    chooser = SourceChooser("1m")
    (fields,) = chooser.upstream({**pushed(0), "trades": 7, "complete": False}, at(0, 1))
    assert fields == {**pushed(0), "source": "upstream", "complete": False, "trades": 7, "empty": None}
    (fields,) = chooser.upstream({**pushed(1), "trades": "many", "complete": {"a": 1}, "empty": 0}, at(1, 1))
    assert fields == {**pushed(1), "source": "upstream", "complete": True, "trades": None, "empty": None}
    Candle.model_validate({**fields, "open": "1", "high": "1", "low": "1"})


def test_an_interval_that_is_none() -> None:
    with pytest.raises(TopicError):
        SourceChooser("2m")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-500, 9_000),  # upstream's candle comes so long after the span, or not at all
            st.booleans(),  # ours is complete
            st.sampled_from(["", "", "", "refused", "accepted"]),
        ),
        max_size=40,
    )
)
def test_every_span_has_one_candle_in_order_within_the_patience(
    spans: list[tuple[int | None, bool, str]],
) -> None:
    chooser = SourceChooser("1m")
    out: list[tuple[int, dict[str, Any]]] = []
    for span, (delay, complete, answer) in enumerate(spans):
        calls: list[tuple[int, str]] = [(2_000, "built"), (5_000, "due"), (30_000, answer)]
        calls += [] if delay is None else [(delay, "upstream")]
        for after, call in sorted(call for call in calls if call[1]):
            out += [(after, fields) for fields in said(chooser, call, span, after, complete=complete)]
    assert [fields["open_time"] for _, fields in out] == [time_text(NOON + span * MINUTE) for span in range(len(spans))]
    assert all(after <= 5_000 for after, _ in out)
    assert all(a["open_time"] < b["open_time"] for (_, a), (_, b) in pairwise(out))


def said(chooser: SourceChooser, call: str, span: int, after: int, *, complete: bool) -> list[dict[str, Any]]:
    match call:
        case "built":
            return chooser.built(built(span, complete=complete), at(span, after))
        case "upstream":
            return chooser.upstream(pushed(span), at(span, after))
        case "due":
            return chooser.due(at(span, after))
        case "refused":
            return chooser.refused()
    chooser.accepted()
    return []

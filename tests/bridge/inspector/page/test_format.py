from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentexchange.recording import moment_us
from agentexchange_bridge.inspector.page.format import (
    NONE,
    age,
    clock,
    count,
    day_clock,
    iso,
    look_of,
    milliseconds,
    rate,
    short_scope,
    size,
    span,
    spark,
)
from agentexchange_schemas import FeedState

US = 1_764_165_792_345_678


def test_times_are_utc_and_of_one_width() -> None:
    assert clock(US) == "14:03:12.345"
    assert day_clock(US) == "2025-11-26 14:03:12.345"
    assert clock(None) == day_clock(None) == NONE


@given(st.integers(0, 4_102_444_800_000_000))
def test_a_link_names_its_moment_to_the_microsecond(us: int) -> None:
    assert moment_us(iso(us), now_us=0) == us


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, NONE),
        (0, "now"),
        (0.99, "now"),
        (1, "1 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7300, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("us", "text"),
    [(0, "0 ms"), (340_000, "340 ms"), (12_400_000, "12.4 s"), (185_000_000, "3 min 5 s"), (7_440_000_000, "2 h 4 min"),
     (200_000_000_000, "2 d 7 h")],
)  # fmt: skip
def test_spans(us: int, text: str) -> None:
    assert span(us) == text


def test_numbers_are_of_few_digits() -> None:
    assert [rate(each) for each in (0, 3.44, 99.9, 4980.3)] == ["0", "3.4", "99.9", "4,980"]
    assert [milliseconds(each) for each in (None, 0.44, 12.3, 1300)] == [NONE, "0.4 ms", "12 ms", "1.3 s"]
    assert [size(each) for each in (None, 0, 812, 4200, 3_100_000, 1_300_000_000)] == [
        NONE, "0 B", "812 B", "4.2 kB", "3.1 MB", "1.3 GB",
    ]  # fmt: skip
    assert [count(each) for each in (None, 0, 1_204_118)] == [NONE, "0", "1,204,118"]


def test_scopes_fit_in_a_column() -> None:
    assert short_scope("m0") == "m0"
    assert short_scope("a-0123456789abcdef0123456789abcdef") == "a-01234567…"


@pytest.mark.parametrize("state", FeedState)
def test_each_state_has_a_word_and_a_tone(state: FeedState) -> None:
    look = look_of(state)
    assert look.word
    assert look.tone in {"good", "warn", "bad", "idle"}


@given(st.lists(st.floats(0.000001, 1e9), max_size=60))
@example([255503365.00933185, 527392282.89431554])
def test_a_price_line_is_one_character_a_point(prices: list[float]) -> None:
    line = spark(prices)
    assert len(line) == len(prices)
    assert set(line) <= set("0123456789abcdefghijklmnopqrstuvwxyz")
    if prices and max(prices) > min(prices):
        assert line[prices.index(min(prices))] == "0"
        assert line[prices.index(max(prices))] == "z"

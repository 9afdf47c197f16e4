"""When events are due, on a clock that stands still unless it is moved."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange.serving._pace import Pace

S = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun(speed: float) -> tuple[Pace, Clock]:
    clock = Clock()
    pace = Pace(speed=speed, clock=clock)
    pace.begin(50 * S)
    return pace, clock


@pytest.mark.parametrize(("speed", "wait_s"), [(1, 10), (50, 0.2), (0.5, 20), (0, 0)])
def test_an_event_is_due_after_its_recorded_distance_by_the_speed(speed: float, wait_s: float) -> None:
    pace, _ = begun(speed)
    assert pace.wait_s(60 * S) == pytest.approx(wait_s)


def test_what_is_late_is_due_at_once_and_the_rest_keeps_its_place() -> None:
    pace, clock = begun(1)
    clock.now += 7
    assert pace.wait_s(52 * S) == 0
    assert pace.wait_s(60 * S) == pytest.approx(3), "a reader that was slow catches up"


def test_a_new_speed_counts_from_where_the_position_is() -> None:
    pace, clock = begun(1)
    clock.now += 4
    pace.speed = 2
    assert pace.wait_s(60 * S) == pytest.approx(3)
    pace.speed = 0
    assert pace.wait_s(80 * S) == 0
    pace.speed = 10
    assert pace.wait_s(90 * S) == pytest.approx(1), "from the last event on, as nothing was waited for"


def test_a_pause_takes_no_recorded_time() -> None:
    pace, clock = begun(1)
    clock.now += 4
    pace.pause()
    pace.pause()
    assert pace.wait_s(60 * S) == math.inf
    clock.now += 100
    pace.resume()
    clock.now += 1
    pace.resume()
    assert pace.wait_s(60 * S) == pytest.approx(5)


def test_a_speed_set_in_a_pause_counts_from_its_end() -> None:
    pace, clock = begun(1)
    pace.pause()
    clock.now += 100
    pace.speed = 10
    assert pace.wait_s(60 * S) == math.inf
    pace.resume()
    assert pace.wait_s(60 * S) == pytest.approx(1)


@given(
    st.floats(0.01, 1000),
    st.lists(st.tuples(st.integers(0, 10 * S), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_waiting_as_told_is_never_early_nor_late(speed: float, steps: list[tuple[int, float]]) -> None:
    """Whatever a reader loses on the way, an event waited for comes at its recorded distance from the beginning."""
    pace, clock = begun(speed)
    at_us = 50 * S
    for distance_us, lost_s in steps:
        at_us += distance_us
        clock.now += lost_s
        wait_s = pace.wait_s(at_us)
        due_s = 1000 + (at_us / S - 50) / speed
        assert clock.now + wait_s == pytest.approx(max(due_s, clock.now), abs=1e-6)
        clock.now += wait_s

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange.replay._pace import Pace, checked_speed

S = 1_000_000


def test_recorded_time_follows_real_time_at_its_speed() -> None:
    pace = Pace(100 * S, 5.0, speed=2.0)
    assert pace.position_us(5.0) == 100 * S
    assert pace.position_us(6.0) == 102 * S
    assert pace.wait_s(104 * S, 6.0) == pytest.approx(1.0)
    assert pace.wait_s(100 * S, 6.0) == pytest.approx(-1.0)


def test_without_a_speed_everything_is_due() -> None:
    pace = Pace(100 * S, 5.0, speed=0)
    assert pace.wait_s(10**15, 5.0) == 0
    assert pace.position_us(99.0) == 100 * S


def test_a_changed_speed_goes_on_from_where_it_is() -> None:
    pace = Pace(100 * S, 0.0)
    pace.set_speed(10, 3.0)
    assert pace.position_us(3.0) == 103 * S
    assert pace.position_us(4.0) == 113 * S
    pace.set_speed(0, 4.0)
    assert pace.wait_s(10**15, 4.0) == 0
    pace.move(500 * S, 7.0)
    pace.set_speed(1, 8.0)
    assert pace.wait_s(501 * S, 8.0) == pytest.approx(1.0)


def test_paused_it_stands_still_and_goes_on_from_there() -> None:
    pace = Pace(100 * S, 0.0)
    pace.pause(2.0)
    assert pace.position_us(50.0) == 102 * S
    assert pace.wait_s(0, 50.0) == math.inf
    pace.pause(60.0)
    pace.set_speed(2.0, 70.0)
    pace.resume(80.0)
    assert pace.position_us(80.0) == 102 * S
    assert pace.position_us(81.0) == 104 * S
    pace.resume(82.0)
    assert pace.position_us(82.0) == 106 * S


def test_moved_it_goes_on_from_there_whether_or_not_it_is_paused() -> None:
    pace = Pace(100 * S, 0.0)
    pace.move(500 * S, 1.0)
    assert pace.position_us(2.0) == 501 * S
    pace.pause(2.0)
    pace.move(10 * S, 3.0)
    assert pace.position_us(9.0) == 10 * S
    pace.resume(9.0)
    assert pace.position_us(10.0) == 11 * S


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["pause", "resume", "speed"]), st.floats(0, 1000), st.floats(0, 100)), max_size=20
    )
)
def test_whatever_is_asked_for_recorded_time_never_goes_back(steps: list[tuple[str, float, float]]) -> None:
    pace, now, position = Pace(10**15, 0.0), 0.0, 10.0**15
    for what, after, speed in steps:
        now += after
        reached = pace.position_us(now)
        assert reached >= position - 1
        if what == "pause":
            pace.pause(now)
        elif what == "resume":
            pace.resume(now)
        else:
            pace.set_speed(speed, now)
        assert pace.position_us(now) == pytest.approx(reached)
        position = pace.position_us(now)


@pytest.mark.parametrize("speed", [-1, math.nan, math.inf, -0.001])
def test_a_speed_is_a_number_from_zero_on(speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be a number from 0 on"):
        checked_speed(speed)

"""How far clocks are apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentexchange.freshness import LeastDelay, ServerClock, time_us
from agentexchange.redis import ReplyError

T0 = 1_700_000_000_000_000


@given(st.integers(-(10**12), 10**12), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1))
def test_the_difference_is_right_to_half_of_the_shortest_round_trip(ahead: int, trips: list[tuple[int, int]]) -> None:
    clock, now = ServerClock(), T0
    for there, back in trips:
        clock.answered(now, now + there + ahead, now + there + back)
        now += there + back + 1_000_000
    assert clock.ahead_us is not None
    shortest = min(there + back for there, back in trips[-32:])
    assert abs(clock.ahead_us - ahead) <= shortest / 2 + 1


def test_nothing_is_known_before_the_first_answer_that_is_one() -> None:
    clock = ServerClock()
    clock.answered(T0, time_us(ReplyError("NOPERM")), T0 + 2)
    assert clock.ahead_us is None
    clock.answered(T0, T0 + 5, T0 + 2)
    assert clock.ahead_us == 4


def test_the_time_that_redis_tells_is_read() -> None:
    assert time_us([b"1700000000", b"25"]) == 1_700_000_000_000_025
    assert [time_us(reply) for reply in (None, b"PONG", [b"1"], [b"x", b"1"])] == [None] * 4


def test_a_clock_that_was_set_back_meanwhile_measures_nothing() -> None:
    clock = ServerClock()
    clock.answered(T0, T0, T0 - 1)
    assert clock.ahead_us is None


def test_the_least_delay_is_forgotten_after_a_while() -> None:
    delay = LeastDelay()
    assert delay.least_s is None
    delay.add(0.2, 0.0)
    delay.add(0.1, 1.0)
    delay.add(0.3, 2.0)
    assert delay.least_s == 0.1
    delay.add(0.4, 301.0)
    assert delay.least_s == 0.1, "the last five minutes count as well"
    delay.add(0.5, 602.0)
    assert delay.least_s == 0.4

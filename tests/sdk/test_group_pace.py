from __future__ import annotations

from agentexchange._group.pace import Prefetch


def test_it_begins_with_one_and_grows_by_steps_to_its_bound() -> None:
    pace = Prefetch(500, 0.5)
    seen = []
    for _ in range(6):
        seen.append(pace.count)
        pace.took(pace.count, pace.count * 1e-5)
    assert seen == [1, 4, 16, 64, 256, 500]


def test_a_slow_handler_takes_one_at_a_time() -> None:
    pace = Prefetch(500, 0.5)
    for _ in range(5):
        pace.took(10, 0.001)
    pace.took(1, 60.0)
    assert pace.count == 1


def test_what_is_held_is_done_in_about_the_target_time() -> None:
    pace = Prefetch(500, 0.5)
    for _ in range(10):
        pace.took(pace.count, pace.count * 0.01)
    assert pace.count == 50


def test_nothing_handled_says_nothing() -> None:
    pace = Prefetch(500, 0.5)
    pace.took(0, 5.0)
    assert pace.count == 1

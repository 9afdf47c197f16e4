from __future__ import annotations

from itertools import combinations

import pytest

from tests.chaos.schedule import (
    ACTIVE,
    DEFAULT_KINDS,
    KINDS,
    LONG_RUN_S,
    REDIS,
    STALE_S,
    STANDBY,
    UPSTREAM,
    Step,
    fault_window,
    schedule,
    settle_s,
)

CONSUMERS = ("singles", "all", "private", "mixed")
SEEDS = range(200)


def drawn(seconds: float = 60.0) -> list[list[Step]]:
    return [schedule(seed, seconds, consumers=CONSUMERS) for seed in SEEDS]


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert schedule(7, 60, consumers=CONSUMERS) == schedule(7, 60.0, consumers=CONSUMERS)
    assert schedule(7, 60, kinds=["stop", "kill"]) == schedule(7, 60, kinds=("kill", "stop"))


def test_other_seeds_give_other_schedules() -> None:
    assert len({tuple(steps) for steps in drawn()}) == len(SEEDS)


def test_a_schedule_is_what_it_was() -> None:
    """A seed that once found a fault must find it again: a change here makes every old seed worthless."""
    assert [str(step).split() for step in schedule(1, 60, consumers=CONSUMERS)][:2] == [
        ["3.00", "s", "throttle", "redis:active", "2.17", "s", "value=20000"],
        ["5.50", "s", "throttle", "redis:mixed", "2.64", "s", "value=150000"],
    ]


@pytest.mark.parametrize("seconds", [5.0, 20.0, 60.0, 600.0])
def test_faults_keep_to_their_window(seconds: float) -> None:
    start, end = fault_window(seconds)
    for seed in range(40):
        steps = schedule(seed, seconds, consumers=CONSUMERS)
        assert all(start <= step.at_s and step.end_s <= end + 1e-6 for step in steps)
        assert steps == sorted(steps, key=lambda step: step.at_s)
    assert settle_s(seconds) > 0


def test_no_target_is_hit_twice_at_once() -> None:
    for steps in drawn():
        for one, other in combinations(steps, 2):
            if one.target == other.target:
                assert one.end_s <= other.at_s or other.end_s <= one.at_s


def test_never_both_workers_at_once() -> None:
    """Which is the active one changes during a fault, so a fault of either keeps the other from being hit."""
    for steps in drawn():
        hits = [step for step in steps if step.target in (ACTIVE, STANDBY)]
        assert all(a.end_s <= b.at_s or b.end_s <= a.at_s for a, b in combinations(hits, 2))


def test_every_fault_and_every_target_comes_up() -> None:
    steps = [step for each in drawn() for step in each]
    assert {step.fault for step in steps} == set(DEFAULT_KINDS) == set(KINDS) - {"wipe"}
    links = {"up:active", "redis:active", "redis:standby", *(f"redis:{name}" for name in CONSUMERS)}
    processes = {REDIS, ACTIVE, STANDBY, *(f"consumer:{name}" for name in CONSUMERS)}
    assert {step.target for step in steps} == links | processes | {UPSTREAM}
    assert {step.direction for step in steps if step.fault == "half_open"} == {"both", "to", "from"}


def test_stops_last_from_one_to_twenty_seconds() -> None:
    lengths = [step.duration_s for steps in drawn() for step in steps if step.fault == "stop"]
    assert min(lengths) >= 1.0
    assert 15.0 < max(lengths) <= 20.0


def test_a_run_of_a_minute_has_several_faults() -> None:
    assert min(len(steps) for steps in drawn()) >= 4


def test_only_the_chosen_kinds() -> None:
    assert {step.fault for step in schedule(3, 60, kinds=["kill"], consumers=CONSUMERS)} == {"kill"}


def test_redis_is_wiped_only_where_that_is_asked_for() -> None:
    assert {step.fault for step in schedule(3, 60, kinds=["wipe"])} == {"wipe"}


def test_only_a_long_run_makes_a_session_stale() -> None:
    def longest(seconds: float) -> float:
        all_steps = [step for seed in range(60) for step in schedule(seed, seconds, kinds=["half_open"])]
        return max(step.duration_s for step in all_steps if step.target == "up:active")

    assert longest(60) <= 15.0
    assert longest(LONG_RUN_S + 30) == pytest.approx(STALE_S, abs=0.5)


@pytest.mark.parametrize("kinds", [["kill", "nonsense"], [], [""]])
def test_unknown_kinds(kinds: list[str]) -> None:
    with pytest.raises(ValueError, match="kill, lose, wipe, term, stop"):
        schedule(1, 60, kinds=kinds)


def test_too_short_a_run() -> None:
    with pytest.raises(ValueError, match="5 seconds"):
        schedule(1, 3)

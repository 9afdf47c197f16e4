from __future__ import annotations

from agentexchange_bridge.lease import Free
from agentexchange_bridge.vacancy import Vacancy

ABANDONED = Free(is_new=False, is_released=False)
RELEASED = Free(is_new=False, is_released=True)
NEW = Free(is_new=True, is_released=False)


def vacancy() -> Vacancy:
    return Vacancy(look_s=0.25, grace_s=3.0)


def takes_after(seen: Vacancy, free: Free) -> float:
    seen.free(free, 10.0)
    return next(wait for wait in (0.0, 0.25, 3.0) if seen.may_take(10.0 + wait))


def test_nothing_is_taken_unseen() -> None:
    assert not vacancy().may_take(1e9)


def test_a_new_scope_and_one_that_was_given_back_are_taken_at_once() -> None:
    assert takes_after(vacancy(), NEW) == 0.0
    assert takes_after(vacancy(), RELEASED) == 0.0


def test_a_lease_that_was_seen_to_expire_is_taken_at_the_next_look() -> None:
    seen = vacancy()
    seen.held()
    assert takes_after(seen, ABANDONED) == 0.25


def test_after_redis_was_away_the_owner_comes_first() -> None:
    seen = vacancy()
    seen.held()
    seen.disturbed()
    assert takes_after(seen, ABANDONED) == 3.0


def test_a_wiped_server_after_an_outage_is_the_owners_too() -> None:
    seen = vacancy()
    seen.held()
    seen.disturbed()
    assert takes_after(seen, NEW) == 3.0


def test_a_stranger_gives_an_owner_it_knows_nothing_of_its_grace() -> None:
    assert takes_after(vacancy(), ABANDONED) == 3.0


def test_an_owner_that_came_back_ends_the_wait() -> None:
    seen = vacancy()
    seen.free(ABANDONED, 0.0)
    seen.held()
    assert not seen.may_take(100.0)
    assert takes_after(seen, ABANDONED) == 0.25


def test_the_wait_counts_from_the_first_look_that_found_it_free() -> None:
    seen = vacancy()
    seen.free(ABANDONED, 0.0)
    seen.free(ABANDONED, 2.9)
    assert seen.may_take(3.0)

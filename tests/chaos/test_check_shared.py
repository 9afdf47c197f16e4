from __future__ import annotations

import pytest

from tests.chaos._stories import Story, at
from tests.chaos.checker import check
from tests.chaos.history import Call, Fault, Incarnation


@pytest.fixture
def story() -> Story:
    story = Story()
    story.flow("orders", count=20)
    return story


def totals(story: Story) -> dict[str, int]:
    return check(story.history()).totals()


def handle(member: Incarnation, story: Story, *numbers: int, seconds: float | None = None) -> None:
    for n in numbers:
        entry = story.entry("orders", n)
        at_us = entry.r_us + 1000 if seconds is None else at(seconds)
        member.calls.append(Call(at_us, "orders", "orders", n, entry.seq, entry.epoch, "live"))


def test_two_members_share_the_work(story: Story) -> None:
    handle(story.member("a"), story, *range(1, 21, 2))
    handle(story.member("b"), story, *range(2, 21, 2))
    findings = check(story.history())
    assert findings.is_clean
    assert findings.rows[-1].consumer == "group crew"
    assert findings.rows[-1].calls == 20


def test_an_order_that_nobody_handled(story: Story) -> None:
    handle(story.member("a"), story, *(n for n in range(1, 21) if n != 6))
    assert totals(story) == {"lost": 1}


def test_an_order_that_two_handled(story: Story) -> None:
    handle(story.member("a"), story, *range(1, 21))
    handle(story.member("b"), story, 9)
    assert totals(story) == {"doubled": 1}


def test_twice_because_the_first_died(story: Story) -> None:
    handle(story.member("a", died=0.95), story, *range(1, 10))
    handle(story.member("b"), story, *range(10, 21))
    handle(story.others[-1], story, 9, seconds=31)
    findings = check(story.history())
    assert findings.is_clean
    assert findings.rows[-1].doubled == 1


def test_twice_though_the_first_died_before(story: Story) -> None:
    handle(story.member("a", died=0.2), story, 1)
    handle(story.member("b"), story, *range(2, 21))
    handle(story.member("c"), story, 15, seconds=31)
    assert totals(story) == {"doubled": 1}


@pytest.mark.parametrize(("length", "expected"), [(40, {}), (9, {"doubled": 1})])
def test_twice_because_the_first_was_stopped(story: Story, length: float, expected: dict[str, int]) -> None:
    handle(story.member("a"), story, *range(1, 21))
    handle(story.member("b"), story, 20, seconds=45)
    story.faults.append(Fault(at(2), at(2 + length), "stop", "consumer:a"))
    assert totals(story) == expected


@pytest.mark.parametrize(
    ("kind", "start", "expected"), [("lose", 1.5, {}), ("lose", 20.0, {"doubled": 1}), ("stop", 1.5, {"doubled": 1})]
)
def test_twice_because_redis_forgot_the_acknowledgement(
    story: Story, kind: str, start: float, expected: dict[str, int]
) -> None:
    handle(story.member("a"), story, *range(1, 10))
    handle(story.member("b"), story, *range(10, 21))
    handle(story.others[-1], story, 9, seconds=31)
    story.faults.append(Fault(at(start), at(start + 1), kind, "redis"))
    found = totals(story)
    assert found.get("doubled", 0) == expected.get("doubled", 0)
    assert bool(found) is bool(expected)


def test_a_member_handles_in_order(story: Story) -> None:
    member = story.member("a")
    handle(member, story, *range(1, 21))
    member.calls[3], member.calls[4] = member.calls[4], member.calls[3]
    assert totals(story) == {"out_of_order": 1}


def test_a_position_goes_on_after_a_restart(story: Story) -> None:
    handle(story.member("p", died=1.0, mode="resume"), story, *range(1, 9))
    handle(story.member("p", mode="resume", number=2), story, *range(8, 21))
    findings = check(story.history())
    assert findings.is_clean  # 8 came again: at least once
    assert findings.rows[-1].calls == 21


def test_a_position_that_skips_what_was_between(story: Story) -> None:
    handle(story.member("p", died=1.0, mode="resume"), story, *range(1, 9))
    handle(story.member("p", mode="resume", number=2), story, *range(11, 21))
    assert totals(story) == {"lost": 2}


def test_a_position_doubles_nothing_within_one_life(story: Story) -> None:
    member = story.member("p", mode="resume")
    handle(member, story, *range(1, 21))
    handle(member, story, 20)
    assert totals(story) == {"doubled": 1}

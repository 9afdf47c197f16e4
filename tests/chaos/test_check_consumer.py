from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentexchange_schemas import Cause
from tests.chaos._stories import ACCOUNT, TICK, Story, at, when
from tests.chaos.check_consumer import longest_silence_s
from tests.chaos.checker import check
from tests.chaos.findings import ranges
from tests.chaos.history import Call, Fault


@pytest.fixture
def story() -> Story:
    story = Story()
    story.flow(TICK, count=20)
    story.flow("orders", start=0.05, count=20)
    return story


def totals(story: Story) -> dict[str, int]:
    return check(story.history()).totals()


def test_a_lost_event(story: Story) -> None:
    story.drop_call(TICK, 7)
    story.drop_call(TICK, 8)
    findings = check(story.history())
    assert findings.totals() == {"lost": 2}
    assert "numbers 7-8" in findings.violations[0].detail
    assert "seq 7..8" in findings.violations[0].detail
    assert findings.rows[0].lost == 2


def test_the_last_event_is_lost_too(story: Story) -> None:
    story.drop_call(TICK, 20)
    assert totals(story) == {"lost": 1}


def test_a_killed_consumer_is_checked_to_its_last_event(story: Story) -> None:
    for n in (18, 19, 20):
        story.drop_call(TICK, n)
    story.consumer.died_us = at(1.75)
    assert totals(story) == {}
    story.drop_call(TICK, 9)
    assert totals(story) == {"lost": 1}


def test_what_was_before_its_first_event_is_not_its_own(story: Story) -> None:
    for n in range(1, 6):
        story.drop_call(TICK, n)
    assert totals(story) == {}


def test_a_declared_gap_is_no_loss_but_the_log_holds_it(story: Story) -> None:
    for n in (7, 8, 9):
        story.drop_call(TICK, n)
    story.gap(1.0, 7, 9)
    findings = check(story.history())
    assert findings.totals() == {"unrecovered": 3}  # the log holds them
    assert findings.rows[0].declared == 3
    assert findings.figures["gaps_told"] == 1


def test_a_gap_of_what_was_trimmed(story: Story) -> None:
    for n in (7, 8, 9):
        story.drop_call(TICK, n)
    story.gap(1.0, 7, 9)
    log = story.logs["m0"]
    log.entries = [entry for entry in log.entries if entry.n not in range(1, 10)]
    log.is_whole = False
    assert {"lost", "unrecovered"}.isdisjoint(totals(story))


def test_a_gap_beyond_the_recovery_bound(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (7, 8, 9):
        story.drop_call(TICK, n)
        story.drop_call("orders", n)
    story.gap(1.0, 7, 9)
    story.gap(1.0, 7, 9, topic="orders")
    monkeypatch.setattr("tests.chaos.check_consumer.RECOVER_LIMIT", 2)
    findings = check(story.history())
    assert [violation.topic for violation in findings.violations] == ["orders"]  # always recovered whole


def test_a_gap_that_is_too_short(story: Story) -> None:
    for n in (7, 8, 9):
        story.drop_call(TICK, n)
    story.gap(1.0, 7, 8)
    assert totals(story) == {"lost": 1, "unrecovered": 2}


def test_a_gap_of_another_topic(story: Story) -> None:
    story.drop_call(TICK, 7)
    story.gap(1.0, 7, 7, topic="ticker:ETHUSDT")
    assert totals(story) == {"lost": 1}


def test_a_gap_that_is_none(story: Story) -> None:
    story.gap(1.0, 7, 8)
    assert totals(story) == {"false_gap": 2}


@pytest.mark.parametrize("count", [1, 3, None])
def test_a_gap_with_a_wrong_count(story: Story, count: int | None) -> None:
    story.drop_call(TICK, 7)
    story.drop_call(TICK, 8)
    story.gap(1.0, 7, 8, count=count)
    assert totals(story)["false_gap"] == 1


def test_a_doubled_event(story: Story) -> None:
    story.deliver(story.entry(TICK, 20))
    findings = check(story.history())
    assert findings.totals() == {"doubled": 1}
    assert findings.rows[0].doubled == 1


def test_an_event_out_of_order(story: Story) -> None:
    story.drop_call(TICK, 7)
    story.deliver(story.entry(TICK, 7), seconds=3)
    findings = check(story.history())
    assert findings.totals() == {"out_of_order": 1}
    assert findings.rows[0].out_of_order == 1


def test_a_recovered_event_is_counted(story: Story) -> None:
    story.drop_call(TICK, 20)
    story.deliver(story.entry(TICK, 20), source="recovered")
    findings = check(story.history())
    assert findings.is_clean
    assert findings.rows[0].recovered == 1


def test_a_wrong_label(story: Story) -> None:
    story.drop_call(TICK, 20)
    story.deliver(story.entry(TICK, 20), seq=21)
    assert totals(story) == {"mislabelled": 1}


def test_what_was_never_sent(story: Story) -> None:
    story.deliver(story.entry(TICK, 20), n=99)
    assert totals(story) == {"phantom": 1}


def test_what_carries_no_number(story: Story) -> None:
    story.deliver(story.entry(TICK, 20), n=None)
    assert totals(story) == {"phantom": 1}


def test_a_topic_that_it_did_not_ask_for(story: Story) -> None:
    story.send("ticker:ETHUSDT", 2.5)
    story.deliver(story.write("ticker:ETHUSDT", 2.6), handler=TICK)
    assert totals(story) == {"foreign": 1}


def test_delivered_and_not_in_the_log(story: Story) -> None:
    story.send(TICK, 3.0)
    story.notice(3.5, since=when(2.9), until=when(3.4), cause=Cause.UPSTREAM_LOST)
    story.deliver(story.entry(TICK, 20), seconds=3.2, n=21, seq=21)
    assert totals(story) == {"unlogged": 1}


def test_delivered_and_then_forgotten_by_a_killed_redis(story: Story) -> None:
    story.send(TICK, 3.0)
    story.notice(3.5, since=when(3.0), until=when(3.01), cause=Cause.LOG_ROLLED_BACK, count=1)
    story.deliver(story.entry(TICK, 20), seconds=3.2, n=21, seq=21)
    story.killed_redis(3.2, 3.4)
    findings = check(story.history())
    assert findings.is_clean
    assert findings.rows[0].forgotten == 1


def test_delivered_and_forgotten_long_before_redis_was_killed(story: Story) -> None:
    story.send(TICK, 3.0)
    story.notice(3.5, since=when(3.0), until=when(3.01), cause=Cause.LOG_ROLLED_BACK, count=1)
    story.deliver(story.entry(TICK, 20), seconds=3.2, n=21, seq=21)
    story.killed_redis(13.2, 13.4)
    assert totals(story) == {"unlogged": 1}


def test_an_order_written_again_after_a_rollback_comes_once(story: Story) -> None:
    """It was delivered, forgotten, and written again under a higher epoch: to the handler it is the same order."""
    story.rewrite("orders", 20, epoch=8)
    story.killed_redis(3.2, 3.4)
    assert totals(story) == {}
    story.deliver(story.entry("orders", 20), seconds=4)
    assert totals(story) == {"doubled": 1}


def test_a_replaced_log_is_told_by_a_span(story: Story) -> None:
    for n in (7, 8):
        story.drop_call(TICK, n)
    span: dict[str, Any] = {"first_missing": None, "last_missing": None, "count": None, "cause": Cause.LOG_REPLACED}
    story.gap(0.55, 0, 0, until=when(0.85), **span)
    assert totals(story) == {"lost": 2}  # Redis was never killed: no log was replaced
    story.killed_redis(0.6, 0.7)
    assert totals(story) == {}


def test_its_own_queue_conflates_tickers_and_counts_them(story: Story) -> None:
    for n in (7, 8, 9):
        story.drop_call(TICK, n)
    story.consumer.conflated = {TICK: 2}
    findings = check(story.history())
    assert findings.totals() == {"lost": 1}
    assert findings.rows[0].conflated == 2


def test_orders_are_never_conflated(story: Story) -> None:
    story.drop_call("orders", 7)
    story.consumer.conflated = {"orders": 1}
    assert totals(story) == {"lost": 1}


def test_a_mute_topic() -> None:
    story = Story()
    story.flow(TICK, count=200)
    story.consumer.calls.clear()
    findings = check(story.history())
    assert findings.totals() == {"mute": 100}  # from 10 s after it was ready


def test_a_fault_while_it_joins_gives_it_more_time() -> None:
    story = Story()
    story.flow(TICK, count=200)
    story.consumer.calls.clear()
    story.faults.append(Fault(at(2), at(7), "hold", "redis:one"))
    assert totals(story) == {"mute": 30}


def test_a_killed_consumer_is_not_mute() -> None:
    story = Story()
    story.flow(TICK, count=200)
    story.consumer.calls.clear()
    story.consumer.died_us = at(15)
    assert totals(story) == {}


def test_the_wildcard_stands_for_every_ticker() -> None:
    story = Story()
    story.consumer.topics = {"ticker:all": ("ticker:all",)}
    for topic in (TICK, "ticker:ETHUSDT"):
        story.flow(topic, count=20)
    story.consumer.calls = [call._replace(handler="ticker:all") for call in story.consumer.calls]
    assert totals(story) == {}
    story.drop_call("ticker:ETHUSDT", 5)
    findings = check(story.history())
    assert findings.totals() == {"lost": 1}
    assert findings.violations[0].where == "consumer one#1 ticker:all"


def test_each_handler_is_held_to_account(story: Story) -> None:
    story.consumer.topics["ticker:all"] = ("ticker:all",)
    ticks = [call for call in story.consumer.calls if call.topic == TICK]
    story.consumer.calls += [call._replace(handler="ticker:all") for call in ticks if call.n != 5]
    findings = check(story.history())
    assert findings.totals() == {"lost": 1}
    assert "ticker:all" in findings.violations[0].where


def test_a_notice_that_it_was_not_told(story: Story) -> None:
    story.flow(TICK, start=12)
    story.blind(13.5, 14.5)
    story.blind(13.5, 14.5, ACCOUNT)
    story.consumer.told.pop()
    findings = check(story.history())
    assert findings.totals() == {"untold": 1}
    assert findings.violations[0].topic == f"status {ACCOUNT}"


def test_a_notice_that_it_was_told_twice(story: Story) -> None:
    story.blind(3.5, 4.5)
    story.consumer.told.append(story.consumer.told[-1])
    assert totals(story) == {"told_twice": 1}


def test_a_wiped_redis_must_be_recognised(story: Story) -> None:
    story.faults.append(Fault(at(2.5), at(2.6), "wipe", "redis"))
    assert totals(story) == {"unrecognised": 1}
    story.gap(9.0, 0, 0, first_missing=None, last_missing=None, count=None, cause=Cause.LOG_REPLACED)
    assert totals(story) == {}


def test_a_wiped_redis_must_be_recognised_in_time(story: Story) -> None:
    story.faults.append(Fault(at(2.5), at(2.6), "wipe", "redis"))
    story.gap(13.0, 0, 0, first_missing=None, last_missing=None, count=None, cause=Cause.LOG_REPLACED)
    assert totals(story) == {"unrecognised": 1}


def test_a_client_that_ended_by_itself(story: Story) -> None:
    story.consumer.failure = "ConnectionError: no"
    assert totals(story) == {"ended": 1}


def test_incarnations_are_checked_one_by_one(story: Story) -> None:
    """The second begins anew: what was between the two is nobody's, and what both got is no double."""
    second = replace(story.consumer, number=2, calls=story.consumer.calls[15:], told=[])
    story.consumer.calls = story.consumer.calls[:18]
    story.consumer.died_us = at(1.85)
    story.others.append(second)
    assert totals(story) == {}


def test_the_longest_silence() -> None:
    calls = [Call(at(second), TICK, TICK, 1, 1, 1, "live") for second in (1, 2, 6, 7)]
    assert longest_silence_s(calls, at(0), at(8)) == 4.0
    assert longest_silence_s(calls, at(0), at(20)) == 13.0
    assert longest_silence_s([], at(0), at(8)) == 8.0


def test_ranges() -> None:
    assert ranges([3, 1, 2, 7, 9, 10]) == "1-3, 7, 9-10"
    assert ranges(range(0, 40, 2), limit=2) == "0, 2, … (20 ranges)"

from __future__ import annotations

import pytest

from agentexchange_schemas import Cause, FeedState
from tests.chaos._stories import ACCOUNT, TICK, Story, at, when
from tests.chaos.check_upstream import told_spans
from tests.chaos.checker import check
from tests.chaos.history import Disturbance, Fault


@pytest.fixture
def story() -> Story:
    """Events until 1 s, five that never got into the log between 2 and 2.4 s, and more from 4 s on."""
    story = Story()
    story.flow(TICK)
    for index in range(5):
        story.send(TICK, 2 + index * 0.1)
    return story


def go_on(story: Story) -> None:
    story.flow(TICK, start=4)


def totals(story: Story, disturbances: list[Disturbance] | None = None) -> dict[str, int]:
    history = story.history()
    history.disturbances = disturbances or []
    return check(history).totals()


def test_events_that_are_neither_written_nor_told(story: Story) -> None:
    go_on(story)
    findings = check(story.history())
    assert findings.totals() == {"unwritten": 5}
    assert "11-15" in findings.violations[0].detail
    assert findings.violations[0].topic == TICK


def test_a_blind_span_covers_them(story: Story) -> None:
    story.blind(1.0, 3.5)
    go_on(story)
    findings = check(story.history())
    assert findings.is_clean
    assert findings.figures["unwritten"] == 5
    assert findings.figures[f"told {Cause.UPSTREAM_LOST}"] == 5


def test_an_outage_of_redis_is_no_blind_span(story: Story) -> None:
    story.notice(3.5, since=when(1.0), until=when(3.5), cause=Cause.REDIS_LOST)
    go_on(story)
    assert totals(story) == {"unwritten": 5}


def test_a_blind_span_of_another_scope_does_not(story: Story) -> None:
    story.blind(1.0, 3.5, ACCOUNT)
    go_on(story)
    assert totals(story)["unwritten"] == 5


def test_a_blind_span_that_ended_before(story: Story) -> None:
    story.blind(1.0, 1.9)
    go_on(story)
    assert totals(story) == {"unwritten": 5}


def test_a_blind_span_that_began_after(story: Story) -> None:
    story.blind(3.0, 3.5)
    go_on(story)
    assert totals(story) == {"unwritten": 5}


def test_a_blind_span_that_covers_some(story: Story) -> None:
    story.blind(1.0, 2.12)
    go_on(story)
    assert totals(story) == {"unwritten": 3}


def test_what_lay_in_the_socket_when_the_span_began_is_covered(story: Story) -> None:
    story.blind(2.3, 3.5)  # sent from 2.0 on, read with a lag
    go_on(story)
    assert totals(story) == {}


def test_what_was_on_its_way_during_a_disturbance_is_covered(story: Story) -> None:
    story.blind(3.0, 3.5)
    go_on(story)
    assert totals(story, [Disturbance(at(1.9), at(2.9))]) == {}


def test_a_disturbance_that_ended_before_they_were_sent_excuses_nothing(story: Story) -> None:
    story.blind(3.0, 3.5)
    go_on(story)
    assert totals(story, [Disturbance(at(1.0), at(1.4))]) == {"unwritten": 5}


def test_a_span_that_has_not_ended_lasts_for_ever(story: Story) -> None:
    story.notice(2.0, state=FeedState.BLIND, since=when(1.0), cause=Cause.UPSTREAM_LOST)
    assert totals(story) == {}


def test_a_span_that_has_ended_does_not(story: Story) -> None:
    story.notice(1.0, state=FeedState.BLIND, since=when(0.95), cause=Cause.UPSTREAM_LOST)
    story.blind(0.95, 1.2)
    go_on(story)
    assert totals(story) == {"unwritten": 5}


def test_nobody_was_there_to_take_them_told(story: Story) -> None:
    story.sent = [event._replace(connections=()) if event.n > 10 else event for event in story.sent]
    go_on(story)
    assert totals(story) == {"unwritten": 5}
    assert check(story.history()).figures["sent_to_nobody"] == 5


def test_conflation_covers_as_many_as_it_tells(story: Story) -> None:
    story.notice(3.0, topic=TICK, since=when(2.0), until=when(2.4), cause=Cause.CONFLATED, count=5)
    go_on(story)
    assert totals(story) == {}


def test_conflation_that_tells_too_few(story: Story) -> None:
    story.notice(3.0, topic=TICK, since=when(2.0), until=when(2.4), cause=Cause.CONFLATED, count=3)
    go_on(story)
    assert totals(story) == {"unwritten": 2}


def test_conflation_that_tells_too_many_is_a_figure(story: Story) -> None:
    story.notice(3.0, topic=TICK, since=when(2.0), until=when(2.4), cause=Cause.CONFLATED, count=8)
    go_on(story)
    findings = check(story.history())
    assert findings.is_clean
    assert findings.figures["told_more_than_lost"] == 3


def test_conflation_of_another_topic_covers_nothing(story: Story) -> None:
    story.notice(3.0, topic="ticker:ETHUSDT", since=when(2.0), until=when(2.4), cause=Cause.CONFLATED, count=5)
    go_on(story)
    assert totals(story) == {"unwritten": 5}


def test_conflation_at_another_time_covers_nothing(story: Story) -> None:
    story.notice(4.0, topic=TICK, since=when(0.0), until=when(0.5), cause=Cause.CONFLATED, count=5)
    go_on(story)
    assert totals(story) == {"unwritten": 5}


@pytest.mark.parametrize("cause", [Cause.CONFLATED, Cause.LOG_ROLLED_BACK, Cause.LOG_REPLACED])
def test_orders_are_never_conflated_nor_forgotten(cause: Cause) -> None:
    story = Story()
    story.flow("orders")
    story.send("orders", 2.0)
    story.notice(3.0, ACCOUNT, since=when(2.0), until=when(2.4), cause=cause, count=5)
    story.flow("orders", start=4)
    assert totals(story) == {"unwritten": 1}


def test_orders_dropped_at_their_bound_are_told() -> None:
    story = Story()
    story.flow("orders")
    story.send("orders", 2.0)
    story.notice(3.0, ACCOUNT, topic="orders", since=when(2.0), until=when(2.4), cause=Cause.DROPPED, count=1)
    story.flow("orders", start=4)
    assert totals(story) == {}


def test_what_was_never_sent_is_a_phantom(story: Story) -> None:
    story.blind(1.0, 3.5)
    story.write(TICK, 5, n=77)
    assert totals(story)["phantom"] >= 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, {"needless_takeover": 1}),
        (Fault(at(0), at(2), "stop", "w1"), {}),
        (Fault(at(0), at(2), "hold", "redis:w2"), {}),
        (Fault(at(2), at(30), "kill", "redis"), {}),
        (Fault(at(0), at(2), "stop", "consumer:one"), {"needless_takeover": 1}),
        (Fault(at(0), at(2), "cut", "redis:one"), {"needless_takeover": 1}),
        (Fault(at(0), at(2), "junk", "upstream"), {"needless_takeover": 1}),
    ],
)
def test_a_scope_changes_hands_only_for_a_reason(fault: Fault | None, expected: dict[str, int]) -> None:
    story = Story()
    story.flow(TICK)
    story.notice(4.0, state=FeedState.BLIND, since=when(1.0), cause=Cause.TAKEOVER)
    story.faults.extend([fault] if fault else [])
    assert totals(story) == expected


def test_a_fault_long_ago_is_no_reason() -> None:
    story = Story()
    story.flow(TICK)
    story.notice(24.0, state=FeedState.BLIND, since=when(1.0), cause=Cause.TAKEOVER)
    story.faults.append(Fault(at(0), at(2), "stop", "w1"))
    assert totals(story) == {"needless_takeover": 1}


def test_spans_of_notices() -> None:
    story = Story()
    story.notice(1, state=FeedState.BLIND, since=when(0.5), cause=Cause.TAKEOVER)
    story.notice(2, since=when(0.5), until=when(1.9), cause=Cause.TAKEOVER)
    story.notice(3, topic=TICK, state=FeedState.UNAVAILABLE, since=when(3))
    story.notice(4, since=when(3), until=when(3.5), cause=Cause.CONFLATED, count=4)
    blind, losses = told_spans(story.logs["m0"])
    assert [(span.since_us, span.until_us) for span in blind] == [(at(0.5), at(1.9))]
    assert [(span.count, span.cause) for span in losses] == [(4, "conflated")]

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.upstream._allocation import WILDCARD, Allocation, Decision, is_single
from agentexchange_schemas import Topic

ALL = "ticker:all"


def allocation(max_lanes: int = 10, capacity: int = 10, fold_from: int | None = 100) -> Allocation:
    return Allocation(max_lanes=max_lanes, capacity=capacity, fold_from=fold_from)


def singles(count: int, start: int = 0) -> list[str]:
    return [f"ticker:S{number}USDT" for number in range(start, start + count)]


def candles(count: int) -> list[str]:
    return [f"candles:C{number}USDT:1m" for number in range(count)]


def want(state: Allocation, *topics: str, optional: bool = False) -> Decision:
    for topic in topics:
        state.want(Topic.parse(topic), optional=optional)
    return state.decide()


def unwant(state: Allocation, *topics: str) -> Decision:
    for topic in topics:
        state.unwant(Topic.parse(topic))
    return state.decide()


def release(state: Allocation) -> Decision:
    """Upstream lets go what is to be left."""
    for lane, topics in state.leaving.items():
        for topic in tuple(topics):
            state.released(topic, lane)
    return state.decide()


def loads(state: Allocation) -> list[int]:
    return sorted(Counter(state.places.values()).values(), reverse=True)


def names(found: list[tuple[Topic, int]]) -> list[str]:
    return [str(topic) for topic, _ in found]


def test_an_empty_pool_has_one_lane() -> None:
    state = allocation()
    decision = state.decide()
    assert decision.opened == [1]
    assert state.decide() == Decision()


@pytest.mark.parametrize("count", [1, 10])
def test_ten_topics_are_on_one_lane(count: int) -> None:
    state = allocation()
    want(state, "orders", *singles(count - 1))
    assert loads(state) == [count]


@pytest.mark.parametrize(("count", "expected"), [(11, [6, 5]), (25, [9, 8, 8]), (99, [10] * 9 + [9])])
def test_more_are_spread_evenly_over_as_many_as_it_takes(count: int, expected: list[int]) -> None:
    state = allocation()
    want(state, *singles(count))
    assert loads(state) == expected


def test_what_is_left_goes_where_its_topics_are_served_instead() -> None:
    state = allocation(fold_from=20)
    want(state, "orders", *singles(20))
    btc, orders = Topic.parse(singles(1)[0]), Topic.parse("orders")
    assert state.elsewhere(orders) == [(orders, orders)]
    want(state, *singles(21))
    assert state.elsewhere(btc) == [(btc, WILDCARD)]
    unwant(state, *singles(10, start=11))
    assert [str(topic) for topic, _ in state.elsewhere(WILDCARD)] == singles(11)
    assert all(topic == wire for topic, wire in state.elsewhere(WILDCARD))
    assert state.elsewhere(Topic.parse(singles(21)[-1])) == []


def test_a_topic_more_moves_nothing() -> None:
    state = allocation()
    want(state, *singles(20))
    before = dict(state.places)
    decision = want(state, "ticker:NEWUSDT")
    assert (len(decision.opened), names(decision.placed), decision.left) == (1, ["ticker:NEWUSDT"], [])
    assert before.items() <= state.places.items()


def test_a_lane_that_empties_is_closed_when_upstream_has_let_go_of_all() -> None:
    state = allocation()
    want(state, *singles(11))
    lane = state.places[Topic.parse(singles(11)[0])]
    decision = unwant(state, *(str(topic) for topic, held in state.places.items() if held == lane))
    assert decision.closed == []
    assert release(state).closed == [lane]


def test_what_is_wanted_again_while_it_is_being_left_stays_in_its_place() -> None:
    state = allocation()
    want(state, *singles(10))
    unwant(state, *singles(10))
    decision = want(state, *singles(10))
    assert (loads(state), decision.opened) == ([10], [])
    assert names(decision.placed) == singles(10)
    assert release(state) == Decision()


def test_few_topics_on_many_lanes_are_gathered() -> None:
    state = allocation()
    want(state, *singles(22))
    unwant(state, *singles(14))
    while decision := release(state):
        if decision == Decision():
            break
    assert len(list(state.lanes)) == 1
    assert loads(state) == [8]


def test_what_is_private_stays_on_one_lane() -> None:
    state = allocation()
    want(state, *singles(15), "orders", *candles(5), "portfolio")
    assert state.places[Topic.orders()] == state.places[Topic.portfolio()]
    unwant(state, *singles(15))
    before = state.places[Topic.orders()]
    while release(state) != Decision():
        pass
    assert state.places[Topic.orders()] == state.places[Topic.portfolio()] == before


def test_the_second_private_topic_goes_to_the_lane_of_the_first() -> None:
    state = allocation()
    want(state, "orders", *singles(18))
    want(state, *singles(18), "portfolio")
    assert state.places[Topic.orders()] == state.places[Topic.portfolio()]


def test_a_lane_that_cannot_be_reached_gets_what_finds_no_room_elsewhere() -> None:
    state = allocation(max_lanes=2, fold_from=None)
    want(state, *singles(14))
    state.unreached.add(2)
    decision = want(state, *singles(6, start=14))
    assert [lane for _, lane in decision.placed] == [1, 1, 1, 2, 2, 2]
    state.began(2)
    assert not state.unreached


# Folding


def test_many_symbols_are_taken_as_the_wildcard() -> None:
    state = allocation(fold_from=20)
    want(state, *singles(20))
    assert not state.is_folded
    decision = want(state, *singles(1, start=20))
    assert state.is_folded
    assert names(decision.placed) == [ALL]
    assert set(names(decision.left)) == set(singles(20))
    assert len(list(state.lanes)) == 3, "the new lane is for the wildcard, as the two others are full"
    assert set(release(state).closed) == {1, 2}


def test_from_the_start_nothing_is_taken_one_by_one() -> None:
    state = allocation()
    want(state, *singles(200), *candles(12))
    assert loads(state) == [7, 6]
    assert not any(map(is_single, state.places))


def test_it_goes_back_only_when_they_are_clearly_fewer() -> None:
    state = allocation(fold_from=20)
    want(state, *singles(21))
    assert unwant(state, *singles(4)).left == []
    decision = unwant(state, *singles(1, start=4))
    assert names(decision.left) == [ALL]
    assert set(names(decision.placed)) == set(singles(16, start=5))
    assert want(state, *singles(4)).left == [], "and not to and fro"


def test_symbols_that_do_not_fit_are_folded() -> None:
    state = allocation(max_lanes=2)
    want(state, *singles(19))
    assert not state.is_folded
    want(state, *singles(1, start=19))
    assert state.is_folded, "the last place is for the way over"
    assert state.places[WILDCARD] in state.lanes


def test_without_folding_every_place_is_used() -> None:
    state = allocation(max_lanes=60, fold_from=None)
    decision = want(state, *singles(601))
    assert loads(state) == [10] * 60
    assert list(map(str, decision.without_room)) == singles(1, start=600)


def test_the_wildcard_folds_when_it_is_wanted_itself() -> None:
    state = allocation(fold_from=None)
    want(state, *singles(5))
    decision = want(state, ALL)
    assert names(decision.placed) == [ALL]
    assert set(names(decision.left)) == set(singles(5))
    release(state)
    decision = unwant(state, ALL)
    assert set(names(decision.placed)) == set(singles(5))


def test_no_change_of_ways_while_symbols_are_on_their_way() -> None:
    state = allocation(fold_from=20)
    want(state, *singles(21))
    for topic in singles(15):
        state.unwant(Topic.parse(topic))
    assert state.decide(is_moving=True).left == []
    assert names(state.decide().left) == [ALL]


def test_a_refused_wildcard_leaves_singles_as_far_as_they_fit() -> None:
    state = allocation(max_lanes=2)
    want(state, *singles(25), ALL)
    state.refuse(WILDCARD, state.places[WILDCARD])
    decision = state.decide()
    assert loads(state) == [10, 10]
    assert len(decision.without_room) == 5
    state.began(1)
    assert state.decide().without_room == []
    assert state.is_folded, "asked again on the lane's next session"


def test_the_wildcard_gets_a_place_though_all_are_taken() -> None:
    state = allocation(max_lanes=2, fold_from=None)
    want(state, *singles(20))
    decision = want(state, ALL)
    assert decision.placed == []
    assert len(decision.sacrificed) == 1
    assert state.decide().sacrificed == [], "one is enough"
    state.released(*decision.sacrificed[0])
    assert names(state.decide().placed) == [ALL]


# What upstream teaches


def test_a_lower_limit_is_learned_and_the_topic_goes_elsewhere() -> None:
    state = allocation()
    want(state, *singles(8))
    refused = [topic for topic, _ in list(state.places.items())[3:]]
    for topic in refused:
        state.limited(topic, 1, held=3)
    decision = state.decide()
    assert state.capacity == 3
    assert set(decision.placed) == {(topic, state.places[topic]) for topic in refused}
    assert loads(state) == [3, 3, 2]


def test_where_no_lane_is_left_symbols_are_folded_and_the_rest_is_told() -> None:
    state = allocation(max_lanes=2)
    want(state, *candles(9))
    for topic, _ in list(state.places.items())[3:]:
        state.limited(topic, 1, held=3)
    decision = state.decide()
    assert loads(state) == [3, 3]
    assert list(map(str, decision.without_room)) == candles(9)[6:]
    assert state.decide().without_room == [], "told once"
    unwant(state, candles(9)[0])
    assert names(release(state).placed) == [candles(9)[6]]


def test_a_lane_that_takes_nothing_at_all_is_not_asked_again() -> None:
    state = allocation()
    want(state, "orders")
    state.limited(Topic.orders(), 1, held=0)
    assert state.capacity == 10
    assert state.decide() == Decision()
    assert Topic.orders() in state.refused


def test_a_refused_topic_takes_no_place_until_it_is_wanted_again_or_the_session_is_new() -> None:
    state = allocation()
    want(state, "orders", *candles(1))
    topic = Topic.parse(candles(1)[0])
    state.refuse(topic, 1)
    assert state.decide() == Decision()
    assert names(want(state, *candles(1)).placed) == candles(1)
    state.refuse(topic, 1)
    state.began(1)
    assert names(state.decide().placed) == candles(1)


# Optional topics


def test_an_optional_topic_is_placed_where_there_is_room_and_given_up_first() -> None:
    state = allocation(max_lanes=1, fold_from=None)
    want(state, *candles(3), optional=True)
    want(state, *singles(7))
    decision = want(state, "orders")
    assert names(decision.left) == candles(1)
    assert decision.placed == decision.without_room == []
    decision = release(state)
    assert names(decision.placed) == ["orders"]
    assert candles(1)[0] not in map(str, state.places)
    unwant(state, *singles(1))
    assert names(release(state).placed) == candles(1)


def test_an_optional_topic_without_room_is_not_told() -> None:
    state = allocation(max_lanes=1, fold_from=None)
    want(state, *singles(10))
    assert want(state, *candles(1), optional=True) == Decision()


def test_an_optional_topic_that_is_required_too_is_required() -> None:
    state = allocation()
    want(state, *candles(1))
    want(state, *candles(1), optional=True)
    assert state.wanted[Topic.parse(candles(1)[0])]


def test_an_optional_topic_makes_room_for_the_wildcard() -> None:
    state = allocation(max_lanes=1)
    want(state, *singles(9))
    want(state, *candles(1), optional=True)
    decision = want(state, *singles(1, start=9))
    assert state.is_folded
    assert candles(1)[0] in names(decision.left)
    assert decision.sacrificed == []
    state.released(Topic.parse(candles(1)[0]), 1)
    assert names(state.decide().placed) == [ALL]


TOPICS = [*singles(14), *candles(6), ALL, "orders", "portfolio"]
steps = st.one_of(
    st.tuples(st.just("want"), st.sampled_from(TOPICS), st.booleans()),
    st.tuples(st.just("unwant"), st.sampled_from(TOPICS)),
    st.tuples(st.just("release"), st.integers(0, 5)),
    st.tuples(st.just("limit"), st.integers(0, 30), st.integers(1, 4)),
    st.tuples(st.just("refuse"), st.integers(0, 30)),
    st.tuples(st.just("began"), st.integers(0, 5)),
)


def act(state: Allocation, step: tuple[Any, ...]) -> None:
    places, lanes = list(state.places.items()), list(state.lanes)
    match step:
        case ("want", topic, optional):
            state.want(Topic.parse(topic), optional=optional)
        case ("unwant", topic):
            state.unwant(Topic.parse(topic))
        case ("release", number):
            held = [(topic, lane) for lane, topics in state.leaving.items() for topic in topics]
            for topic, lane in held[number : number + 3]:
                state.released(topic, lane)
        case ("limit", number, held_count) if number < len(places):
            state.limited(*places[number], held=held_count)
        case ("refuse", number) if number < len(places):
            state.refuse(*places[number])
        case ("began", number) if number < len(lanes):
            state.began(lanes[number])


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=40), st.integers(1, 4), st.sampled_from([None, 4, 100]))
def test_whatever_happens(script: list[tuple[Any, ...]], max_lanes: int, fold_from: int | None) -> None:
    state = allocation(max_lanes, 4, fold_from)
    state.decide()
    for step in script:
        act(state, step)
        before, capacity = dict(state.places), state.capacity
        before_holding = Counter(state.places.values())
        for lane, topics in state.leaving.items():
            before_holding[lane] += len(topics)
        decision = state.decide()
        holding = Counter(state.places.values())
        for lane, topics in state.leaving.items():
            holding[lane] += len(topics)
        assert 1 <= len(list(state.lanes)) <= max_lanes
        assert set(state.places.values()) <= set(state.lanes)
        placed = Counter(lane for _, lane in decision.placed)
        assert all(holding[lane] <= max(capacity, before_holding[lane]) for lane in placed), (
            "never more than a lane takes"
        )
        both_ways = {lane for topic, lane in state.places.items() if is_single(topic)}
        assert state.places.get(WILDCARD) not in both_ways
        assert all(before[topic] == lane or topic in dict(decision.left) for topic, lane in state.places.items()
                   if topic in before), "what stays wanted stays where it is"  # fmt: skip
        wires = {state.wire_of(topic) for topic, required in state.wanted.items() if required}
        out = state.places.keys() | state.refused.keys() | state.without_room
        waiting = sum(map(len, state.leaving.values()))
        assert len(wires - out) <= waiting, "a required topic has a place, waits for one, or is told"
        assert not state.without_room or all(state.wanted.get(topic, True) for topic in state.places)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 80), st.integers(0, 20), st.integers(1, 12), st.integers(1, 20))
def test_a_fresh_fill_is_even_and_no_larger_than_it_must_be(
    tickers: int, others: int, max_lanes: int, capacity: int
) -> None:
    state = allocation(max_lanes, capacity, fold_from=None)
    decision = want(state, *singles(tickers), *candles(others))
    count = tickers + others
    fitting = min(count, max_lanes * capacity)
    assert len(list(state.lanes)) == max(1, ceil(fitting / capacity))
    held = Counter(state.places.values())
    assert not held or max(held.values()) - min(held.values()) <= 1
    assert len(decision.without_room) == count - fitting
    assert state.decide() == Decision(), "and that is all"

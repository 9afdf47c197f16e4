from __future__ import annotations

from agentexchange.upstream._subscriptions import Subscriptions
from agentexchange_schemas import Topic
from agentexchange_schemas.upstream import Ack, Refusal

ALL, BTC, ETH = "ticker:all", "ticker:BTCUSDT", "ticker:ETHUSDT"
REFUSAL = Refusal("INVALID_CHANNEL", "no such channel")
LIMIT = Refusal("SUBSCRIPTION_LIMIT", "at most 10")


def subscriptions(*topics: str) -> Subscriptions:
    return Subscriptions(map(Topic.parse, topics))


def sent(state: Subscriptions) -> list[str]:
    return [f"{'+' if request.subscribe else '-'}{request.topic}" for request in state.requests()]


def ack(state: Subscriptions, *channels: str, subscribed: bool = True) -> None:
    for channel in channels:
        state.acknowledged(Ack(subscribed, channel))


def test_every_topic_is_asked_for_once() -> None:
    state = subscriptions("orders", BTC, BTC)
    assert sent(state) == ["+orders", f"+{BTC}"]
    assert sent(state) == []
    assert not state.is_answered
    ack(state, "orders", BTC)
    assert state.is_answered


def test_a_topic_is_settled_once_upstream_has_answered_it_or_what_it_rides_on() -> None:
    state = subscriptions("orders", ALL, BTC, ETH)
    asked = {text: Topic.parse(text) for text in ("orders", ALL, BTC)}

    def settled() -> list[str]:
        return [text for text, topic in asked.items() if state.is_settled(topic)]

    sent(state)
    assert settled() == []
    ack(state, ALL)
    assert settled() == [ALL, BTC]
    state.refused(REFUSAL)
    assert settled() == ["orders", ALL, BTC]
    state.unwant(asked[ALL])
    sent(state)
    assert settled() == ["orders", ALL], "the single way is asked for and not yet answered"
    state.begin()
    assert settled() == []


def test_a_new_session_asks_for_everything_again() -> None:
    state = subscriptions(BTC, "orders")
    sent(state)
    ack(state, BTC)
    state.begin()
    assert sent(state) == [f"+{BTC}", "+orders"]


def test_single_tickers_ride_on_the_wildcard() -> None:
    assert sent(subscriptions(BTC, ALL, "candles:BTCUSDT:1m")) == ["+ticker:all", "+candles:BTCUSDT:1m"]


def test_to_the_wildcard_at_run_time_the_old_way_is_left_after_the_ack() -> None:
    state = subscriptions(BTC, ETH)
    sent(state)
    ack(state, BTC, ETH)
    state.want(Topic.parse(ALL))
    assert sent(state) == ["+ticker:all"]
    assert not state.doubled
    ack(state, ALL)
    assert state.doubled == {BTC, ETH}
    assert sent(state) == [f"-{BTC}", f"-{ETH}"]
    ack(state, BTC, subscribed=False)
    assert state.doubled == {ETH}
    ack(state, ETH, subscribed=False)
    assert not state.doubled
    assert state.holds_wildcard


def test_from_the_wildcard_at_run_time() -> None:
    state = subscriptions(BTC, ALL)
    sent(state)
    ack(state, ALL)
    state.unwant(Topic.parse(ALL))
    assert sent(state) == [f"+{BTC}"]
    ack(state, BTC)
    assert state.doubled == {BTC}
    assert sent(state) == ["-ticker:all"]
    ack(state, ALL, subscribed=False)
    assert not state.doubled
    assert not state.holds_wildcard


def test_refusals_are_matched_by_order_and_not_asked_again() -> None:
    state = subscriptions("candles:BTCUSDT:15m", BTC)
    sent(state)
    answer = state.refused(REFUSAL)
    assert answer is not None
    assert (str(answer.topic), answer.refusal) == ("candles:BTCUSDT:15m", REFUSAL)
    ack(state, BTC)
    assert sent(state) == []
    state.begin()
    assert sent(state) == ["+candles:BTCUSDT:15m", f"+{BTC}"]


def test_a_refused_topic_is_asked_for_again_when_the_user_does() -> None:
    state = subscriptions("candles:BTCUSDT:15m")
    sent(state)
    state.refused(REFUSAL)
    state.want(Topic.parse("candles:BTCUSDT:15m"))
    assert sent(state) == ["+candles:BTCUSDT:15m"]


def test_a_refused_wildcard_leaves_the_single_tickers() -> None:
    state = subscriptions(BTC, ALL)
    sent(state)
    state.refused(REFUSAL)
    assert sent(state) == [f"+{BTC}"]


def test_what_the_limit_refused_is_asked_again_when_room_is_made() -> None:
    state = subscriptions(BTC, ETH)
    sent(state)
    ack(state, BTC)
    state.refused(LIMIT)
    assert sent(state) == []
    state.unwant(Topic.parse(BTC))
    assert sent(state) == [f"-{BTC}"]
    ack(state, BTC, subscribed=False)
    assert sent(state) == [f"+{ETH}"]


def test_wanted_again_while_it_is_being_left() -> None:
    state = subscriptions(BTC)
    sent(state)
    ack(state, BTC)
    state.unwant(Topic.parse(BTC))
    assert sent(state) == [f"-{BTC}"]
    state.want(Topic.parse(BTC))
    assert sent(state) == [f"+{BTC}"]
    ack(state, BTC, subscribed=False)
    ack(state, BTC)
    assert sent(state) == []


def test_a_refused_unsubscribe_is_not_repeated() -> None:
    state = subscriptions("orders")
    sent(state)
    ack(state, "orders")
    state.unwant(Topic.orders())
    assert sent(state) == ["-orders"]
    assert state.refused(REFUSAL) == (Topic.orders(), REFUSAL, False)
    assert sent(state) == []


def test_answers_to_nothing() -> None:
    state = subscriptions()
    assert state.refused(REFUSAL) is None
    assert state.acknowledged(Ack(True, BTC)) is None
    assert not state.holds_wildcard


def test_an_ack_in_other_words_goes_to_the_oldest_request() -> None:
    state = subscriptions(ALL)
    sent(state)
    ack(state, "ticker_all")
    assert state.holds_wildcard


def test_an_error_that_was_about_something_else_is_undone_by_the_ack() -> None:
    state = subscriptions(BTC, ETH)
    sent(state)
    stray = state.refused(Refusal("INTERNAL", "oops"))
    assert stray is not None
    assert str(stray.topic) == BTC
    answer = state.acknowledged(Ack(subscribed=True, channel=BTC))
    assert answer is not None
    assert (str(answer.topic), answer.refusal) == (BTC, None)
    ack(state, ETH)
    assert state.is_answered
    assert state.is_settled(Topic.parse(BTC))
    assert sent(state) == []


def test_an_ack_of_what_was_never_asked_answers_nothing() -> None:
    state = subscriptions(BTC, "orders")
    sent(state)
    ack(state, "ticker:NEVER", "portfolio", "candles:BTCUSDT:1m")
    ack(state, BTC, subscribed=False)
    assert not state.is_settled(Topic.parse(BTC))
    ack(state, BTC, BTC, "orders")
    assert state.is_answered


def test_an_ack_that_names_no_topic_answers_the_oldest_request() -> None:
    state = subscriptions(BTC, "orders")
    sent(state)
    ack(state, "ticker")
    assert state.is_settled(Topic.parse(BTC))

from __future__ import annotations

import pytest

from agentexchange import Topic, UsageError
from agentexchange.replay._choose import account_of, buildable, chosen_scopes, missing

A, B = "a-" + "0" * 32, "a-" + "1" * 32
ORDERS, BTC = Topic.orders(), Topic.ticker("BTCUSDT")


def test_the_account_is_the_one_named_else_the_keys_else_the_only_one() -> None:
    assert account_of(["m0", A, B], named=B, own=A, is_needed=True) == B
    assert account_of(["m0", A, B], named=None, own=A, is_needed=True) == A
    assert account_of(["m0", A], named=None, own=None, is_needed=True) == A
    assert account_of(["m0"], named=None, own=None, is_needed=True) is None


def test_several_accounts_and_none_named_is_an_error_that_names_them() -> None:
    with pytest.raises(UsageError, match=f"2 accounts were recorded: name one, account={A}, {B}"):
        account_of(["m0", A, B], named=None, own=None, is_needed=True)
    assert account_of(["m0", A, B], named=None, own=None, is_needed=False) is None


def test_the_accounts_scope_is_read_only_for_what_is_private() -> None:
    assert chosen_scopes(["m0", "m1", A, B], A, [BTC]) == ("m0", "m1")
    assert chosen_scopes(["m0", A, B], A, [BTC, ORDERS]) == ("m0", A)
    assert chosen_scopes(["m0", A], None, [ORDERS]) == ("m0",)


def test_nothing_is_said_of_what_was_recorded() -> None:
    places = {("m0", "ticker:BTCUSDT"), (A, "orders")}
    assert missing(places, A, [BTC, ORDERS, Topic.ticker("all")]) == []
    assert missing(places, None, []) == []


def test_what_was_not_recorded_is_named() -> None:
    wanted = [BTC, Topic.candles("BTCUSDT", "1m"), Topic.ticker("all")]
    (sentence,) = missing({(A, "orders")}, None, wanted)
    assert "no events of ticker:BTCUSDT, candles:BTCUSDT:1m, ticker:all" in sentence
    many = [Topic.ticker(f"T{number}") for number in range(9)]
    assert "T4 and 4 more" in missing(set(), None, many)[0]


def test_orders_of_another_account_are_no_orders_of_ones_own() -> None:
    whose, what = missing({(A, "orders"), ("m0", "ticker:BTCUSDT")}, B, [ORDERS])
    assert f"in the recording there is not this account, but {A}" in whose
    assert "no events of orders" in what
    whose, _ = missing({("m0", "ticker:BTCUSDT")}, None, [ORDERS], name="the logs in Redis")
    assert whose == "in the logs in Redis there is no account"


def test_candles_are_built_where_their_ticks_were_recorded_and_they_were_not() -> None:
    minute, hour = Topic.candles("BTCUSDT", "1m"), Topic.candles("BTCUSDT", "1h")
    places = {("m0", "ticker:BTCUSDT"), ("m0", "candles:BTCUSDT:1m"), (A, "ticker:SOLUSDT")}
    assert buildable(places, [minute, hour, BTC, ORDERS]) == {hour: "m0"}
    assert buildable(places, [Topic.candles("ETHUSDT", "1m"), Topic.candles("SOLUSDT", "1m")]) == {}

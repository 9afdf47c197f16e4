from __future__ import annotations

import pytest

from agentexchange._urls import api_key_secret
from agentexchange_bridge.accounts import Account, MarketKeys, checked_accounts
from agentexchange_schemas import account_scope


def account(name: str, key: str | None = None) -> Account:
    return Account(name, api_key_secret(key or f"ak_live_{name}"))


def test_an_account_is_a_scope_and_shows_no_key() -> None:
    alice = account("alice")
    assert alice.scope == account_scope("ak_live_alice")
    assert "ak_live" not in repr(alice)


@pytest.mark.parametrize(
    ("accounts", "words"),
    [
        ([], "at least one API key"),
        ([account("a"), account("a", "other")], "'a' is named twice"),
        ([account("a", "same"), account("b", "same")], "'a' and 'b' have the same key"),
        ([account("a b", "key")], "account name 'a b' is not valid"),
    ],
)
def test_accounts_have_one_name_and_one_key_each(accounts: list[Account], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked_accounts(accounts)


def test_market_data_comes_with_the_first_key_until_it_is_refused() -> None:
    keys = MarketKeys([account("a"), account("b"), account("c")])
    assert keys.current.name == "a"
    assert keys.refused() == 0.0
    assert keys.current.name == "b"
    keys.worked()
    assert keys.refused() == 0.0
    assert keys.current.name == "a", "the first that is not known to be refused"


def test_when_every_key_was_refused_they_are_tried_again_in_turn_and_slowly() -> None:
    keys = MarketKeys([account("a"), account("b")])
    assert keys.refused() == 0.0
    waits = [(keys.refused(), keys.current.name) for _ in range(3)]
    assert waits == [(60.0, "a"), (60.0, "b"), (60.0, "a")]


def test_a_single_key_has_nobody_to_take_over() -> None:
    keys = MarketKeys([account("a")])
    assert not keys.has_others
    assert keys.refused() == 60.0
    assert keys.current.name == "a"


def test_other_accounts_change_the_current_key_only_where_it_is_gone() -> None:
    keys = MarketKeys([account("a"), account("b")])
    assert not keys.replace([account("c"), account("renamed", "ak_live_a")])
    assert keys.current.name == "renamed"
    assert keys.replace([account("c")])
    assert keys.current.name == "c"

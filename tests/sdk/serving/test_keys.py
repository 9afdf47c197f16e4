"""Who is let in, and whose orders a key gets."""

from __future__ import annotations

import pytest

from agentexchange.serving._keys import Keys, chosen_account
from agentexchange_schemas import account_scope

ONE, TWO = account_scope("ak_one"), account_scope("ak_two")


def keys(*stand_ins: str, recorded: tuple[str, ...] = (ONE,), account: str | None = None, **options: bool) -> Keys:
    made = Keys(stand_ins, only_known=options.get("only_known", False))
    made.know(recorded, account=account)
    return made


def test_a_recorded_key_gets_its_own_and_any_other_the_market_only() -> None:
    made = keys(recorded=(ONE, TWO))
    assert [made.account_of(key) for key in ("ak_one", "ak_two", "ak_three")] == [ONE, TWO, ""]


def test_a_stand_in_gets_the_only_account_or_the_chosen_one() -> None:
    assert keys("ak_mine").account_of("ak_mine") == ONE
    assert keys("ak_mine", recorded=(ONE, TWO), account=TWO[:8]).account_of("ak_mine") == TWO
    assert keys("ak_mine", recorded=()).account_of("ak_mine") == ""


def test_a_stand_in_that_is_recorded_needs_no_choice() -> None:
    assert keys("ak_two", recorded=(ONE, TWO)).account_of("ak_two") == TWO


@pytest.mark.parametrize("named", [None, "a-", "a-0000"])
def test_which_account_must_be_said_where_it_is_open(named: str | None) -> None:
    with pytest.raises(ValueError, match="accounts") as caught:
        chosen_account((ONE, TWO), named)
    assert ONE in str(caught.value)
    assert TWO in str(caught.value)


@pytest.mark.parametrize("key", ["ak_live_x", "ak_" + "k" * 253, "ak_/+"])
def test_whatever_looks_like_a_key_is_let_in(key: str) -> None:
    assert keys().admits(key)


@pytest.mark.parametrize("key", ["", "ak_", "wrong", "ak_with space", "ak_ümlaut", "ak_" + "k" * 254, "ak_\n"])
def test_what_does_not_is_refused(key: str) -> None:
    assert not keys().admits(key)


def test_only_known_keys() -> None:
    made = keys("whatever", only_known=True)
    assert made.admits("ak_one")
    assert made.admits("whatever")
    assert not made.admits("ak_live_x")

from __future__ import annotations

from typing import Any

from agentexchange.upstream._twins import Twins

TOPIC = "ticker:BTCUSDT"


def tick(price: str) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "price": price}


def kept(twins: Twins, prices: str) -> str:
    return "".join(price for price in prices if not twins.is_second(TOPIC, tick(price)))


def test_twins_are_folded_in_pairs() -> None:
    assert kept(Twins(), "aabbcc") == "abc"
    assert kept(Twins(), "aaaa") == "aa"
    assert kept(Twins(), "aaaaaa") == "aaa"


def test_a_tick_without_its_twin_is_kept() -> None:
    assert kept(Twins(), "abbc") == "abc"


def test_another_symbol_between_the_copies_changes_nothing() -> None:
    twins = Twins()
    assert not twins.is_second(TOPIC, tick("a"))
    assert not twins.is_second("ticker:ETHUSDT", tick("a"))
    assert twins.is_second(TOPIC, tick("a"))
    assert twins.is_second("ticker:ETHUSDT", tick("a"))


def test_a_handler_that_changes_its_dict_does_not_unmake_a_twin() -> None:
    twins = Twins()
    first = tick("a")
    assert not twins.is_second(TOPIC, first)
    first["price"] = "changed"
    assert twins.is_second(TOPIC, tick("a"))


def test_a_half_is_forgotten_when_the_symbol_comes_once_again() -> None:
    twins = Twins()
    assert not twins.is_second(TOPIC, tick("a"))
    twins.keep(frozenset())
    assert not twins.is_second(TOPIC, tick("a"))

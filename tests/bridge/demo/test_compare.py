from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.demo._compare import Record, Series, compare, digest

if TYPE_CHECKING:
    from collections.abc import Iterable

BTC, ETH = "ticker:BTCUSDT", "ticker:ETHUSDT"


def record(topic: str = BTC, seqs: Iterable[int] = range(1, 11), *, price: str = "1") -> Record:
    made = Record()
    for seq in seqs:
        made.add(topic, seq, {"price": price, "n": seq})
    return made


def failed(records: dict[str, Record], log: Record) -> dict[str, str]:
    return {check.name: check.found for check in compare(records, log) if not check.passed}


def test_equal_records_pass_even_where_one_began_later() -> None:
    assert failed({"a": record(), "b": record(seqs=range(4, 11))}, record()) == {}


def test_a_hole_fails() -> None:
    found = failed({"a": record(seqs=[1, 2, 3, 5, 6, 7, 8, 9, 10])}, record())
    assert found == {
        "a": "9 events of 1 topics, 1 missing, 0 twice",
        "a = log": "ticker:BTCUSDT differs between 1 and 10",
    }


def test_an_event_that_comes_twice_fails() -> None:
    assert "1 twice" in failed({"a": record(seqs=[1, 2, 2, *range(3, 11)])}, record())["a"]


def test_another_value_fails_in_both_comparisons() -> None:
    assert set(failed({"a": record(price="2"), "b": record()}, record())) == {"a = log", "a = b"}


def test_a_missing_end_fails() -> None:
    assert failed({"a": record(seqs=range(1, 10))}, record())["a = log"] == "ticker:BTCUSDT ends at 9, not 10"


def test_nothing_received_is_no_success() -> None:
    assert set(failed({"a": Record()}, record())) == {"a", "a = log"}
    assert set(failed({"a": record(ETH)}, record(BTC))) == {"a = log"}


def test_processes_without_a_common_topic_are_not_compared() -> None:
    log = record()
    log.series |= record(ETH).series
    assert [check.name for check in compare({"a": record(), "b": record(ETH)}, log)] == ["a", "b", "a = log", "b = log"]


@given(seqs=st.lists(st.integers(min_value=1, max_value=200), max_size=60))
def test_a_series_counts_what_came_what_is_missing_and_what_came_again(seqs: list[int]) -> None:
    made = record(seqs=seqs)
    if not seqs:
        assert made.events == 0
        return
    series: Series = made.series[BTC]
    taken: list[int] = []
    for seq in seqs:
        if not taken or seq > taken[-1]:
            taken.append(seq)
    assert made.events == len(taken)
    assert series.repeated == len(seqs) - len(taken)
    assert series.missing == taken[-1] - taken[0] + 1 - len(taken)
    again = Record.from_json(json.loads(json.dumps(made.to_json())))
    assert (again.series[BTC].first, again.series[BTC].digests) == (series.first, series.digests)


@pytest.mark.parametrize("other", [{"price": "1.0"}, {"price": 1}, {"price": "1", "more": None}, {}])
def test_a_digest_tells_fields_apart_and_not_their_order(other: dict[str, object]) -> None:
    assert digest({"price": "1"}) != digest(other)
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(other) > 0

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.where import MAX_CHARACTERS, MAX_DEPTH, Where, WhereError

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

TICK = {"symbol": "BTCUSDT", "price": "65000.50000000", "quantity": "0.1", "is_buyer_maker": True, "note": None}
CANDLE = {
    "symbol": "BTCUSDT",
    "interval": "1m",
    "open": "9.5",
    "close": "10",
    "trades": 7,
    "open_time": "2026-11-22T10",
}
NOTICE = {"scope": "m0", "topic": "ticker:X", "state": "blind", "count": 3}


@pytest.mark.parametrize(
    "text",
    [
        "price > 65000",
        "price >= 65000.5",
        "price = 65000.5",
        "price == 65000.50 and symbol = 'BTCUSDT'",
        "price<65000.51 and(symbol='BTCUSDT')",
        "price > '9'",
        "price > 6.5e4",
        "price > -1",
        "price != 1",
        "symbol != 5",
        "symbol ~ 'btc'",
        "price ~ 5000",
        'symbol != "ETH" or nothing = 1',
        "not symbol = 'ETHUSDT'",
        "not (price < 1 or price > 99999) AND Not false_field = 1",
        "is_buyer_maker = true",
        "is_buyer_maker != false",
        "note = null",
        "nothing = null",
        "price != null",
        "topic = 'ticker:BTCUSDT'",
        "kind = 'ticker' and seq > 41 and seq <= 42",
        "price > quantity",
        "price != quantity",
        "symbol ~ symbol",
        "topic ~ symbol",
        "a = 1 or a = 2 or price > 1",
        "a = 1 and a = 2 or price > 1",
    ],
)
def test_a_tick_that_matches(text: str) -> None:
    assert Where.parse(text).matches("ticker:BTCUSDT", TICK, seq=42)


@pytest.mark.parametrize(
    "text",
    [
        "price > 65000.5",
        "price > '650000'",
        "symbol = 'btcusdt'",
        "symbol > 5",
        "nothing > 1",
        "nothing != 1",
        "nothing ~ 'x'",
        "note != 1",
        "note != true",
        "nothing != null",
        "is_buyer_maker = false",
        "symbol = true",
        "is_buyer_maker > 0",
        "seq = 41",
        "about = 'ticker:BTCUSDT'",
        "price < quantity",
        "price > message",
        "price > 1 and (price > 2 and price > 99999)",
    ],
)
def test_a_tick_that_does_not(text: str) -> None:
    assert not Where.parse(text).matches("ticker:BTCUSDT", TICK, seq=42)


def test_times_compare_as_the_texts_they_are() -> None:
    assert Where.parse("close > open and trades = 7").matches("candles:BTCUSDT:1m", CANDLE)
    assert Where.parse("open_time >= '2026-11-22'").matches("candles:BTCUSDT:1m", CANDLE)
    assert not Where.parse("open_time >= '2026-11-23'").matches("candles:BTCUSDT:1m", CANDLE)


def test_a_notice_has_what_it_is_about() -> None:
    assert Where.parse("kind = 'status' and about = 'ticker:X' and count > 2").matches("status", NOTICE)


def test_without_a_number_seq_is_missing() -> None:
    assert Where.parse("seq = null").matches("ticker:BTCUSDT", TICK)
    assert not Where.parse("seq > 0").matches("ticker:BTCUSDT", TICK)


@pytest.mark.parametrize("value", [[1], {"a": 1}, "NaN", "Infinity", "-inf", "1" * 65, float("nan"), float("inf"), ""])
def test_what_is_no_number_is_never_above_or_below_one(value: Any) -> None:
    assert not Where.parse("x < 5 or x > 5 or x = 5").matches("ticker:A", {"x": value})
    assert Where.parse("x != 5").matches("ticker:A", {"x": value})


def test_numbers_are_exact() -> None:
    fields = {"x": "0.30000000000000000001", "big": "9007199254740993", "float": 0.1, "tiny": "1e-99999999"}
    assert Where.parse("x > 0.3 and big > 9007199254740992 and float = 0.1 and tiny > 0").matches("ticker:A", fields)


def test_quotes_are_doubled_within_quotes() -> None:
    fields = {"x": 'it\'s "x"'}
    assert Where.parse("x = 'it''s \"x\"'").matches("ticker:A", fields)
    assert Where.parse('x = "it\'s ""x"""').matches("ticker:A", fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1: a field, such as price is expected, not the end"),
        ("price", "at character 6: one of = != < <= > >= ~ is expected, not the end"),
        (
            "price >",
            "at character 8: a number, a text in quotes, true, false, null or a field is expected, not the end",
        ),
        ("price >> 5", "at character 8: a number, a text in quotes, true, false, null or a field is expected, not '>'"),
        ("symbol = BTCUSDT", "at character 10: text belongs in quotes: 'BTCUSDT'"),
        ("symbol = 'BTC", "at character 10: this quote is never closed"),
        ("(price > 5", "at character 11: ')' is expected, not the end"),
        ("price > 5)", "at character 10: 'and', 'or' or the end is expected, not ')'"),
        ("5 > price", "at character 1: a field, such as price is expected, not '5'"),
        ("price < true", "at character 7: true can only be compared by = and !="),
        ("price > 1.2.3", "at character 9: a number, a text in quotes"),
        ("price > 1 and  or", "at character 16: a field, such as price is expected, not 'or'"),
        ("__import__('os')", "at character 11: one of = != < <= > >= ~ is expected, not '('"),
        ("a=1; b=2", "at character 4: 'and', 'or' or the end is expected, not '; b=2'"),
        ("x = " + "1" * MAX_CHARACTERS, f"a condition has at most {MAX_CHARACTERS} characters"),
        ("(" * (MAX_DEPTH + 1) + "a=1", f"at character 21: more than {MAX_DEPTH} conditions lie within each other"),
        ("not " * 200 + "a=1", f"at character 81: more than {MAX_DEPTH} conditions"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(WhereError) as caught:
        Where.parse(text)
    assert str(caught.value).startswith(message) or message in str(caught.value)
    assert str(caught.value).startswith(f"at character {caught.value.position}: ")


def test_its_deepest_and_its_longest_are_read() -> None:
    assert Where.parse("(" * MAX_DEPTH + "a=1" + ")" * MAX_DEPTH).matches("orders", {"a": "1"})
    longest = " or ".join(["a=1"] * (MAX_CHARACTERS // 7))
    assert Where.parse(longest).matches("orders", {"a": 1})


# Any condition means what its tree means

_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip
_numbers = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**6), max_value=10**6)
_leaves = st.tuples(st.just("leaf"), st.sampled_from(["a", "b", "gone"]), st.sampled_from(sorted(_SIGNS)), _numbers)
_trees = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)
    ),
    max_leaves=12,
)  # fmt: skip


def _print(tree: tuple[Any, ...]) -> str:
    match tree:
        case ("leaf", name, sign, number):
            return f"{name} {sign} {number:f}"
        case ("not", inner):
            return f"not ({_print(inner)})"
        case (word, left, right):
            return f"({_print(left)}) {word} ({_print(right)})"
    raise AssertionError(tree)


def _means(tree: tuple[Any, ...], fields: dict[str, Decimal]) -> bool:
    match tree:
        case ("leaf", name, sign, number):
            return name in fields and _SIGNS[sign](fields[name], number)
        case ("not", inner):
            return not _means(inner, fields)
        case ("and", left, right):
            return _means(left, fields) and _means(right, fields)
        case (_, left, right):
            return _means(left, fields) or _means(right, fields)
    raise AssertionError(tree)


@given(_trees, _numbers, _numbers)
def test_a_condition_means_what_its_tree_means(tree: tuple[Any, ...], a: Decimal, b: Decimal) -> None:
    text = _print(tree)
    try:
        where = Where.parse(text)
    except WhereError as exc:
        assert "at most" in str(exc) or "within each other" in str(exc)
        return
    assert where.matches("orders", {"a": f"{a:f}", "b": f"{b:f}"}) == _means(tree, {"a": a, "b": b})


@given(st.text(max_size=60), st.sampled_from(["'", '"']))
def test_any_text_can_be_quoted(text: str, quote: str) -> None:
    quoted = f"{quote}{text.replace(quote, quote * 2)}{quote}"
    where = Where.parse(f"x = {quoted}")
    assert where.matches("orders", {"x": text})
    assert not where.matches("orders", {"x": f"{text}!"})
    assert Where.parse(f"x ~ {quoted}").matches("orders", {"x": f"<{text}>"})


_pieces = st.sampled_from(
    [
        "price",
        "seq",
        "and",
        "or",
        "not",
        "(",
        ")",
        "=",
        "!=",
        "<",
        "~",
        "5",
        "1e9",
        "'",
        '"',
        "'x'",
        "null",
        " ",
        ".",
        "é",
    ]
)
_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)
)


@given(st.one_of(st.text(max_size=80), st.lists(_pieces, max_size=20).map(" ".join)), _values, _values)
def test_any_text_is_a_condition_or_a_fault_with_its_place(text: str, price: Any, other: Any) -> None:
    try:
        where = Where.parse(text)
    except WhereError as exc:
        assert 1 <= exc.position <= len(text) + 1
        return
    assert where.matches("ticker:A", {"price": price, "x": other}) in (True, False)

"""Topics parse and print, and reject everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_schemas import INTERVALS, Topic, TopicError, normalize_symbol
from agentexchange_schemas.topics import SYMBOL_PATTERN, is_event_topic

symbols = st.from_regex(SYMBOL_PATTERN, fullmatch=True).filter(lambda name: name != "ALL")
topics = st.one_of(
    st.builds(Topic.ticker, symbols),
    st.just(Topic.ticker("all")),
    st.builds(Topic.candles, symbols, st.sampled_from(INTERVALS)),
    st.just(Topic.orders()),
    st.just(Topic.portfolio()),
)


@pytest.mark.parametrize(
    "text", ["ticker:BTCUSDT", "ticker:all", "candles:BTCUSDT:1m", "orders", "portfolio", "ticker:1INCH-PERP_X.Y"]
)
def test_parses_and_prints_the_documented_forms(text: str) -> None:
    assert str(Topic.parse(text)) == text


@given(topics)
def test_printing_and_parsing_is_a_round_trip(topic: Topic) -> None:
    assert Topic.parse(str(topic)) == topic


@given(symbols, st.sampled_from(["", " ", "\t", "\n"]))
def test_symbols_are_trimmed_and_upper_cased(symbol: str, blank: str) -> None:
    assert normalize_symbol(f"{blank}{symbol.lower()}{blank}") == symbol


@pytest.mark.parametrize(
    "symbol",
    ["", " ", "{x}", "A B", "A\nB", "A:B", "*", "-A", ".A", "A" * 33, "Ä", "BTC\x00", "ＢＴＣ", "ß", "ﬀ", "A" * 10_000],
)
def test_a_symbol_that_could_break_a_key_is_refused(symbol: str) -> None:
    with pytest.raises(TopicError, match="symbol") as caught:
        Topic.ticker(symbol)
    assert caught.value.field == "symbol"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("symbol", [None, 5, b"BTCUSDT", ["BTCUSDT"]])
def test_a_symbol_that_is_no_string_is_named(symbol: object) -> None:
    with pytest.raises(TopicError, match="must be a string"):
        normalize_symbol(symbol)  # type: ignore[arg-type]


@pytest.mark.parametrize("interval", ["", "2m", "1M", "60", "1m ", "1D"])
def test_a_wrong_interval_names_the_valid_choices(interval: str) -> None:
    with pytest.raises(TopicError, match="1m, 5m, 15m, 1h, 4h, 1d") as caught:
        Topic.candles("BTCUSDT", interval)
    assert caught.value.field == "interval"


@pytest.mark.parametrize("name", ["all", "ALL", " All "])
def test_the_wildcard_is_known_in_any_case(name: str) -> None:
    assert Topic.ticker(name).is_wildcard
    with pytest.raises(TopicError, match="no 'all' wildcard"):
        Topic.candles(name, "1m")


@given(st.text())
def test_any_text_is_a_topic_or_one_documented_error(text: str) -> None:
    try:
        topic = Topic.parse(text)
    except TopicError as exc:
        assert exc.field in {"topic", "symbol", "interval"}
    else:
        assert Topic.parse(str(topic)) == topic


@pytest.mark.parametrize(
    "text", ["ticker", "ticker:", "ticker:A:B", "candles:A", "candles:A:1m:x", "orders:1", "x", ""]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(TopicError):
        Topic.parse(text)


def test_privacy_and_wildcard() -> None:
    assert Topic.orders().is_private
    assert Topic.portfolio().is_private
    assert not Topic.candles("A", "1m").is_private
    assert not Topic.ticker("A").is_wildcard


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ticker:BTCUSDT", True), ("orders", True), ("ticker:all", False), ("ticker:btcusdt", False), ("status", False)],
)
def test_an_event_topic_is_in_its_printed_form(text: str, *, expected: bool) -> None:
    assert is_event_topic(text) is expected

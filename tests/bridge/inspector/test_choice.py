from __future__ import annotations

import pytest

from agentexchange_bridge.inspector.past import EventChoice
from agentexchange_schemas import FeedState
from tests.bridge.inspector._samples import ACCOUNT, CANDLES, LOG, candle, notice, order, portfolio, tick

RAWS = {
    "btc": tick(0, "65000.5", symbol="BTCUSDT"),
    "eth": tick(1, "3000", symbol="ETHUSDT"),
    "candle": candle(2, 1),
    "order": order(3),
    "portfolio": portfolio(4),
    "notice": notice(5, FeedState.BLIND, 0, cause="upstream_lost"),
}


def chosen(text: str = "", *kinds: str) -> list[str]:
    choice = EventChoice(text, kinds)
    return [name for name, raw in RAWS.items() if choice.row("m0", raw) is not None]


@pytest.mark.parametrize(
    ("text", "kinds", "names"),
    [
        ("", (), list(RAWS)),
        ("btcusdt", (), ["btc", "candle"]),
        ("ticker:BTCUSDT", (), ["btc"]),
        (" ticker: ", (), ["btc", "eth"]),
        ("BTC", ("candles",), ["candle"]),
        ("", ("orders", "status"), ["order", "notice"]),
        ("price > 65000", (), ["btc"]),
        ("symbol = 'BTCUSDT' and not kind = 'ticker'", (), ["candle", "order"]),
        ("price > 1", ("candles",), []),
        ("cause = 'upstream_lost'", (), ["notice"]),
        ("nothing-like-it", (), []),
    ],
)
def test_kinds_parts_of_topics_and_conditions(text: str, kinds: tuple[str, ...], names: list[str]) -> None:
    assert chosen(text, *kinds) == names


@pytest.mark.parametrize("text", ["price >", "(price > 1", "price > 1 or", "what is this"])
def test_a_filter_that_cannot_be_read_says_where(text: str) -> None:
    with pytest.raises(ValueError, match="at character"):
        EventChoice(text)


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kind 'trades' is not valid: use ticker, .*status"):
        EventChoice("", ["trades"])


def test_bytes_that_are_no_event_are_not_chosen() -> None:
    assert EventChoice("").row("m0", b"junk") is None
    assert EventChoice("").row("m0", RAWS["btc"][:-3]) is None


@pytest.mark.parametrize(
    ("kinds", "lanes"),
    [
        ((), [LOG, CANDLES, ACCOUNT]),
        (("ticker",), [LOG]),
        (("candles",), [CANDLES]),
        (("portfolio",), [ACCOUNT]),
        (("status",), [LOG, ACCOUNT]),
    ],
)
def test_lanes_that_cannot_hold_a_kind_are_not_read(kinds: tuple[str, ...], lanes: list[object]) -> None:
    choice = EventChoice("", kinds)
    assert [lane for lane in (LOG, CANDLES, ACCOUNT) if choice.may_be_in(lane)] == lanes

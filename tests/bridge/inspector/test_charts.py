from __future__ import annotations

import pytest

from agentexchange_bridge.inspector.board import Board, bar_of
from agentexchange_bridge.inspector.board._charts import MAX_BARS, Chart, Charts
from agentexchange_bridge.inspector.views import Bar
from tests.bridge.inspector._samples import candle, read

TOPIC = "candles:BTCUSDT:1m"
TEN = 1_795_687_200_000  # 2026-11-26T10:00:00Z


def bar(number: int, *, close: float = 1.0, is_closed: bool = True) -> Bar:
    return Bar(number * 60_000, 1.0, 2.0, 0.5, close, 3.0, is_closed)


def test_a_candle_becomes_numbers() -> None:
    assert bar_of(read(candle(0, 1)).data) == Bar(TEN + 60_000, 1.0, 3.0, 1.0, 2.0, 4.0, is_closed=True)


@pytest.mark.parametrize(
    "change",
    [
        {"open": "x"},
        {"high": None},
        {"low": "nan"},
        {"close": "inf"},
        {"volume": "x"},
        {"open_time": None},
        {"open_time": "x"},
    ],
)
def test_what_is_no_candle_is_no_bar(change: dict[str, object]) -> None:
    assert bar_of(read(candle(0, 1)).data | change) is None


def test_a_candle_without_a_volume_has_none_traded() -> None:
    found = bar_of(read(candle(0, 1)).data | {"volume": None})
    assert found is not None
    assert found.volume == 0


def test_a_closed_candle_replaces_forming_ones_and_is_not_replaced_by_them() -> None:
    chart = Chart()
    chart.take([bar(1, close=1.0, is_closed=False), bar(1, close=1.1, is_closed=False)])
    assert chart.newest(5) == [bar(1, close=1.1, is_closed=False)]
    chart.take([bar(1, close=1.2), bar(1, close=9.0, is_closed=False)])
    assert chart.newest(5) == [bar(1, close=1.2)]


def test_a_chart_is_sorted_and_bounded() -> None:
    chart = Chart()
    chart.take(bar(number) for number in range(2 * MAX_BARS, 0, -1))
    assert [one.open_time_ms // 60_000 for one in chart.newest(10_000)] == list(range(MAX_BARS + 1, 2 * MAX_BARS + 1))
    assert chart.newest(2) == [bar(2 * MAX_BARS - 1), bar(2 * MAX_BARS)]
    assert chart.newest(0) == []


def test_only_the_charts_that_were_asked_for_last_are_kept() -> None:
    charts = Charts()
    charts.open("first")
    for number in range(63):
        charts.open(str(number))
    assert charts.of("first") is not None
    charts.open("one more")
    assert (charts.of("0"), len(charts.topics())) == (None, 64)
    charts.drop("first")
    assert charts.of("first") is None


def test_candles_of_a_board_go_to_the_charts_that_are_open() -> None:
    board = Board(["m0"])
    chart = board.charts.open(TOPIC)
    board.take("m0", read(candle(0, 1)))
    board.take("m0", read(candle(1, 1, symbol="ETHUSDT")))
    assert [one.open_time_ms for one in chart.newest(5)] == [TEN + 60_000]

from __future__ import annotations

import pytest

from agentexchange_bridge.inspector.board import Board, Tick, bar_of
from agentexchange_bridge.inspector.board._charts import MAX_BARS, Chart, Charts
from agentexchange_bridge.inspector.views import Bar
from tests.bridge.inspector._samples import candle, read, tick

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
    chart = Chart(60_000)
    chart.take([bar(1, close=1.0, is_closed=False), bar(1, close=1.1, is_closed=False)])
    assert chart.newest(5) == [bar(1, close=1.1, is_closed=False)]
    chart.take([bar(1, close=1.2), bar(1, close=9.0, is_closed=False)])
    assert chart.newest(5) == [bar(1, close=1.2)]


def test_a_chart_is_sorted_and_bounded() -> None:
    chart = Chart(60_000)
    chart.take(bar(number) for number in range(2 * MAX_BARS, 0, -1))
    assert [one.open_time_ms // 60_000 for one in chart.newest(10_000)] == list(range(MAX_BARS + 1, 2 * MAX_BARS + 1))
    assert chart.newest(2) == [bar(2 * MAX_BARS - 1), bar(2 * MAX_BARS)]
    assert chart.newest(0) == []


def test_only_the_charts_that_were_asked_for_last_are_kept() -> None:
    charts = Charts()
    charts.open("candles:FIRST:1m")
    for number in range(63):
        charts.open(f"candles:N{number}:1m")
    assert charts.of("candles:FIRST:1m") is not None
    charts.open("candles:MORE:1m")
    assert (charts.of("candles:N0:1m"), len(charts.topics())) == (None, 64)
    charts.drop("candles:FIRST:1m")
    assert charts.of("candles:FIRST:1m") is None


def test_candles_of_a_board_go_to_the_charts_that_are_open() -> None:
    board = Board(["m0"])
    chart = board.charts.open(TOPIC)
    board.take("m0", read(candle(0, 1)))
    board.take("m0", read(candle(1, 1, symbol="ETHUSDT")))
    assert [one.open_time_ms for one in chart.newest(5)] == [TEN + 60_000]


def test_spans_that_were_seen_from_their_beginning_are_made_of_ticks() -> None:
    chart = Chart(60_000)
    seen = [Tick(50_000, 5.0, 1.0), Tick(60_000, 1.0, 1.0), Tick(70_000, 3.0, 2.0), Tick(119_999, 2.0, 0.5)]
    chart.fill([*seen, Tick(120_000, 9.0, 1.0)], seen_from_ms=40_000)
    assert chart.newest(5) == [
        Bar(60_000, 1.0, 3.0, 1.0, 2.0, 3.5, is_closed=True),
        Bar(120_000, 9.0, 9.0, 9.0, 9.0, 1.0, is_closed=False),
    ]
    chart.tick(Tick(130_000, 8.0, 1.0))
    chart.tick(Tick(61_000, 99.0, 1.0))  # late: its span is over
    assert chart.newest(1) == [Bar(120_000, 9.0, 9.0, 8.0, 8.0, 2.0, is_closed=False)]


def test_ticks_wait_for_those_before_them() -> None:
    chart = Chart(60_000)
    chart.tick(Tick(62_000, 2.0, 1.0))
    assert chart.newest(5) == []
    chart.fill([Tick(61_000, 1.0, 1.0)], seen_from_ms=60_000)
    assert chart.newest(5) == [Bar(60_000, 1.0, 2.0, 1.0, 2.0, 2.0, is_closed=False)]


def test_candles_count_more_than_ticks() -> None:
    chart = Chart(60_000)
    chart.fill([Tick(61_000, 7.0, 1.0), Tick(121_000, 7.0, 1.0)], seen_from_ms=0)
    chart.take([bar(1), bar(2, is_closed=False)])
    assert chart.newest(5) == [bar(1), bar(2, is_closed=False)]
    chart.tick(Tick(122_000, 9.0, 1.0))
    assert (chart.newest(1)[0].high, chart.newest(1)[0].close) == (9.0, 9.0)
    chart.tick(Tick(63_000, 9.0, 1.0))
    assert chart.newest(5)[0] == bar(1)


def test_a_board_draws_ticks_where_somebody_looks() -> None:
    board = Board(["m0"])
    chart = board.charts.open(TOPIC)
    chart.fill([], seen_from_ms=0)
    for number, price in enumerate(("1", "x", "nan", "3")):
        board.take("m0", read(tick(number, price)))
        board.take("m0", read(tick(number, "99", symbol="ETHUSDT")))
    (drawn,) = chart.newest(5)
    assert (drawn.open, drawn.high, drawn.close, drawn.volume) == (1.0, 3.0, 3.0, 4.0)
    board.charts.clear()
    board.take("m0", read(tick(9, "5")))
    assert chart.newest(1) == [drawn]

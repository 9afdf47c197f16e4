"""What the panels show of what the data says, without a page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from agentexchange_bridge.inspector.page.account import flat, order_row
from agentexchange_bridge.inspector.page.chart import chart_data, chart_options
from agentexchange_bridge.inspector.page.detail import event_facts
from agentexchange_bridge.inspector.page.events import event_row, name_of
from agentexchange_bridge.inspector.page.gaps import gap_row
from agentexchange_bridge.inspector.page.letters import letter_row
from agentexchange_bridge.inspector.page.market import PriceLines, price_row
from agentexchange_bridge.inspector.page.overview import client_row, feed_look, log_row, scope_row, worker_row
from agentexchange_bridge.inspector.page.timebar import drawing
from agentexchange_bridge.inspector.views import ClientRow, GapRow, PriceRow, TimeLine
from agentexchange_schemas import FeedState
from tests.bridge.inspector._fake import ACCOUNT, FakeInspection

if TYPE_CHECKING:
    from agentexchange_bridge.inspector.page.grid import Row

NOW_US = 1_764_165_792_345_678


def market(**options: object) -> FakeInspection:
    return FakeInspection(symbols=20, clock=lambda: NOW_US, **options)  # type: ignore[arg-type]


def price(**changes: object) -> PriceRow:
    row = PriceRow("BTCUSDT", "64231.50", 0.1234, (1.0, 2.0), NOW_US - 500_000, 0.5, FeedState.LIVE, 7)
    return replace(row, **changes)  # type: ignore[arg-type]


def test_no_row_carries_a_name_that_the_page_would_evaluate() -> None:
    feed = market().live
    assert feed is not None
    seen = feed.overview()
    rows: list[Row] = [
        *(scope_row(row, NOW_US) for row in seen.scopes),
        *(worker_row(row, NOW_US) for row in seen.workers),
        *(client_row(row) for row in seen.clients),
        *(log_row(row) for row in seen.logs),
        *(order_row(row) for row in feed.account(ACCOUNT).orders),
        *(gap_row(row, number) for number, row in enumerate(feed.gaps())),
        *(letter_row(row) for row in market().letters),
    ]
    assert all(name.isidentifier() for row in rows for name in row)
    assert all(isinstance(value, str) for row in rows for value in row.values())


def test_the_feed_is_told_in_three_words() -> None:
    feed = market().live
    assert feed is not None
    scopes = feed.overview().scopes
    stale = replace(scopes[0], state=FeedState.STALE)
    assert feed_look(()) == ("No feed yet", "idle")
    assert feed_look(scopes[:2]) == ("Feed live", "good")
    assert feed_look(scopes) == ("m1: Blind", "bad")
    assert feed_look((stale, *scopes[1:])) == ("2 of 3 scopes not live", "bad")
    assert feed_look((stale,)) == ("a-01234567…: Stale", "warn")


@pytest.mark.parametrize(
    ("age_s", "state", "shown"),
    [
        (0.5, FeedState.LIVE, ("Fresh", "good", "now")),
        (5, FeedState.LIVE, ("Quiet", "idle", "5 s")),
        (60, FeedState.LIVE, ("Old", "warn", "60 s")),
        (0.5, FeedState.STALE, ("Stale", "warn", "now")),
        (0.5, FeedState.BLIND, ("Blind", "bad", "now")),
    ],
)
def test_freshness_is_a_word_a_tone_and_an_age(age_s: float, state: FeedState, shown: tuple[str, str, str]) -> None:
    row = price_row(price(received_us=NOW_US - int(age_s * 1e6), state=state), NOW_US)
    assert (row["f"], row["tone"], row["a"]) == shown


def test_only_rows_that_can_be_seen_and_changed_are_sent() -> None:
    lines = PriceLines()
    assert lines.take(1, [price(symbol=name) for name in ("A", "B", "C")])
    assert [row["id"] for row in lines.all(NOW_US)] == ["A", "B", "C"]
    lines.see(["A", "B"])
    assert lines.changed(NOW_US) == []
    assert not lines.take(2, [price(symbol="B", price="1"), price(symbol="C", price="2")])
    assert [row["id"] for row in lines.changed(NOW_US)] == ["B"]
    assert lines.changed(NOW_US) == []
    lines.see(["C"])
    assert [row["p"] for row in lines.changed(NOW_US)] == ["2"]
    assert lines.version == 2


def test_a_sort_gets_what_cannot_be_seen_too() -> None:
    lines = PriceLines()
    lines.take(1, [price(symbol="A"), price(symbol="B")])
    lines.all(NOW_US)
    lines.take(2, [price(symbol="B", price="1")])
    assert [row["id"] for row in lines.changed(NOW_US, unseen=True)] == ["B"]


def test_a_row_ages_without_a_tick() -> None:
    lines = PriceLines()
    lines.take(1, [price()])
    lines.all(NOW_US)
    lines.see(["BTCUSDT"])
    assert [row["a"] for row in lines.changed(NOW_US + 3_000_000)] == ["3 s"]


def test_a_jump_forgets_what_was_there() -> None:
    lines = PriceLines()
    lines.take(5, [price()])
    lines.clear()
    assert (lines.version, lines.symbols(), lines.all(NOW_US)) == (0, [], [])


async def test_all_metadata_of_an_event_is_shown() -> None:
    feed = market().live
    assert feed is not None
    [row] = await feed.events(limit=1)
    assert event_row(row)["id"] == name_of(row.key)
    detail = await feed.event(row.key)
    assert detail is not None
    facts = dict(event_facts(detail))
    assert facts["Number"] == f"{row.key.seq:,}"
    assert facts["Log id"].endswith("-0")
    assert facts["Written"].endswith("(+0.7 ms)")
    assert "Frame" not in facts, "it is shown by itself"
    facts = dict(event_facts(replace(detail, log_id=None, written_us=None, frame=None)))
    assert "--keep-frames" in facts["Frame"]
    assert facts["Log id"] == "none: it is not in the log"


def test_a_gap_that_lasts_says_so() -> None:
    gap = GapRow("m0", None, FeedState.BLIND, "upstream_lost", NOW_US, None, None, None)
    row = gap_row(gap, 0)
    assert (row["lasted"], row["what"], row["cause"], row["count"]) == (
        "still lasts",
        "everything",
        "upstream lost",
        "–",
    )


def test_many_topics_are_counted() -> None:
    row = client_row(ClientRow(ACCOUNT, "c", "", "h", tuple(f"ticker:A{number}" for number in range(9)), NOW_US))
    assert row["name"] == "c"
    assert row["topics"].endswith("and 3 more")


def test_nested_fields_become_lines() -> None:
    assert flat({"a": 1, "b": {"c": [None, "x"]}, "d": []}) == [("a", "1"), ("b.c.0", "–"), ("b.c.1", "x")]
    assert len(flat({str(number): number for number in range(999)})) == 200


async def test_the_chart_draws_open_close_low_high() -> None:
    feed = market().live
    assert feed is not None
    bars = await feed.candles("BTCUSDT", "1m", 5)
    options = chart_options(bars, is_dark=True)
    assert [len(each["data"]) for each in options["series"]] == [5, 5]
    drawn = chart_data(bars)["series"][0]["data"][0]
    assert drawn == pytest.approx([bars[0].open, bars[0].close, bars[0].low, bars[0].high])
    assert options["series"][0]["data"] == chart_data(bars)["series"][0]["data"]


async def test_the_time_line_is_drawn_with_its_gaps_and_escapes_what_they_say() -> None:
    line = await market().timeline()
    evil = GapRow("m0", '<script>"&', FeedState.BLIND, "<b>", line.start_us - 5_000_000, None, 3, None)
    root = ET.fromstring(drawing(replace(line, gaps=(*line.gaps, evil))))  # noqa: S314 - our own
    assert len(root.findall("g")) == 3
    titles = [title.text or "" for title in root.iter("title")]
    assert "Blind since" in titles[0]
    assert '<script>"&' in titles[2]
    assert "still lasts" in titles[2]
    assert float(root.findall("g")[2][1].get("x", "")) == 0


def test_an_empty_time_line_is_drawn() -> None:
    ET.fromstring(drawing(TimeLine(5, 5, (), (), is_exact=True, first_us=5, last_us=5)))  # noqa: S314 - our own

from __future__ import annotations

import csv
import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.cli._shapes import KINDS, Csv, JsonLines, Table, shape_of
from agentexchange_bridge.rows import Row, json_line

TICK = {"symbol": "BTCUSDT", "price": "64521.30000000", "timestamp": None, "quantity": "0.012"}


def row(data: dict[str, Any] = TICK, **changes: Any) -> Row:
    known = Row("ticker:BTCUSDT", "m0", 7, 42, None, 1_771_860_645_123_456, None, "live", data)
    return known._replace(**changes)


def cells(shape: Csv, one: Row) -> dict[str, str]:
    head, line = csv.reader(StringIO(f"{shape.head}\n{shape.line(one)}\n"))
    return dict(zip(head, line, strict=True))


def test_json_lines_are_the_events() -> None:
    assert (JsonLines().head, JsonLines().line(row())) == (None, json_line(row()))


def test_a_table_has_time_topic_place_and_fields() -> None:
    line = Table(dates=False).line(row())
    assert len(line.split()[0]) == len("12:34:56.789")
    assert line.partition(" ")[2] == "ticker:BTCUSDT  #42  price=64521.30000000 quantity=0.012"


def test_a_table_of_the_past_has_the_day() -> None:
    assert Table(dates=True).line(row())[:11].startswith("2026-02-2")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"source": "latest"}, "#42  [latest] price="),
        ({"source": "recorded"}, "#42  price="),
        ({"seq": None}, "ticker:BTCUSDT       price="),
        ({"data": {"new": {"a": [1]}, "price": "1", "flag": True, "none": None}}, 'price=1 new={"a":[1]} flag=true'),
        ({"topic": "orders", "data": {"symbol": "BTCUSDT", "status": "new"}}, "symbol=BTCUSDT status=new"),
        ({"topic": "status", "data": {"scope": "m0", "topic": "orders", "state": "live"}}, "about=orders state=live"),
    ],
)  # fmt: skip
def test_a_tables_line(changes: dict[str, Any], part: str) -> None:
    assert part in Table(dates=False).line(row(**changes))


def test_columns_widen_and_stay_aligned_with_their_kind() -> None:
    table = Table(dates=False)
    table.line(row({"price": "64521.30000000", "quantity": "1", "is_buyer_maker": True}))
    short = table.line(row({"price": "1", "is_buyer_maker": False}))
    long = table.line(row({"price": "64521.30000000", "quantity": "1", "is_buyer_maker": True}))
    assert short.index("is_buyer_maker") == long.index("is_buyer_maker")


def test_an_overlong_value_widens_no_other_line() -> None:
    table = Table(dates=False)
    before = table.line(row({"price": "1", "quantity": "2"}))
    table.line(row({"price": "9" * 200, "quantity": "2"}))
    assert table.line(row({"price": "1", "quantity": "2"})) == before


def test_no_field_can_steer_a_terminal() -> None:
    text = Table(dates=False).line(row({"price": "\x1b[31m1", "x\x9b": "a\nb\u202e"}))
    assert text.isprintable()
    assert r"price=\x1b[31m1" in text


def test_csv_has_the_metadata_the_fields_of_the_kinds_and_what_has_no_column() -> None:
    shape = Csv(["ticker"])
    assert shape.head == (
        "topic,scope,epoch,seq,upstream_time,received_time,written_time,log_id,source,"
        "symbol,price,timestamp,quantity,is_buyer_maker,extra"
    )
    found = cells(shape, row(TICK | {"is_buyer_maker": True, "venue": {"id": 1}}))
    assert (found["price"], found["timestamp"], found["is_buyer_maker"]) == ("64521.30000000", "", "true")
    assert (found["extra"], found["written_time"], found["seq"]) == ('{"venue":{"id":1}}', "", "42")


def test_a_field_that_is_called_like_metadata_has_a_column_of_its_own() -> None:
    found = cells(Csv(KINDS), row({"source": "built", "symbol": "BTCUSDT"}, topic="candles:BTCUSDT:1m"))
    assert (found["source"], found["data_source"]) == ("live", "built")
    head = (Csv(KINDS).head or "").split(",")
    assert len(head) == len(set(head))


def test_a_notice_says_in_csv_what_it_is_about() -> None:
    notice = row({"scope": "m0", "topic": "ticker:X", "state": "blind", "count": 3}, topic="status")
    found = cells(Csv(["status"]), notice)
    assert (found["topic"], found["about"], found["state"], found["count"]) == ("status", "ticker:X", "blind", "3")


def test_the_documentation_names_every_column_in_its_order() -> None:
    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    paragraph = text[text.index("`--format csv` prints") :].partition("\n\n")[0]
    for kind in KINDS:
        columns = [column for column in (Csv([kind]).head or "").split(",")[9:] if column != "extra"]
        listed = re.search(rf"`{kind}`\s\(([^)]*)\)", paragraph)
        assert listed is not None
        assert re.findall(r"`(\w+)`", listed[1]) == columns


@given(st.dictionaries(st.sampled_from(["price", "symbol", "x"]), st.text(max_size=20) | st.none() | st.integers()))
def test_csv_reads_back_as_it_was(data: dict[str, Any]) -> None:
    found = cells(Csv(["ticker"]), row(data))
    for name in ("price", "symbol"):
        value = data.get(name)
        assert found[name] == ("" if value is None else value if isinstance(value, str) else json.dumps(value))
    assert found["extra"] == ("" if "x" not in data else json.dumps({"x": data["x"]}, ensure_ascii=False,
                                                                    separators=(",", ":")))  # fmt: skip


def test_the_shape_is_chosen_by_name() -> None:
    kinds = [type(shape_of(name, KINDS, dates=True)) for name in ("table", "jsonl", "csv")]
    assert kinds == [Table, JsonLines, Csv]

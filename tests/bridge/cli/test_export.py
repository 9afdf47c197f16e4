from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agentexchange.recording import Lane, Recording, RecordingWriter
from agentexchange_bridge.transfer._parquet import write_parquet
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import decode, encode, log_id
from tests.bridge.cli._run import KEY, one_line, run
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, read, tick, ticks, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests._servers import RedisServer

TOPICS = ["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"]


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Every kind of event, in two scopes."""
    candle = {"symbol": "BTCUSDT", "interval": "1m", "open": "1.5", "high": "2", "low": "1", "close": "1.75"}
    order = {"order_id": "o-1", "symbol": "BTCUSDT", "status": "filled", "executed_price": "64521.30000000"}
    notice = {"scope": "m0", "topic": "ticker:X", "state": "blind", "since": "2026-11-22T10:00:00.000000Z", "count": 3}
    content = [
        (MARKET, [*ticks(10), encode("status", 7, 1, None, START_US + 9_500, notice)]),
        (CANDLES, [encode("candles:BTCUSDT:1m", 7, 1, None, START_US + 4_500, candle)]),
        (ACCOUNT, [encode("orders", 7, 1, None, START_US + 5_500, order, START_US + 5_501),
                   encode("portfolio", 7, 1, None, START_US + 5_600, {"total_equity": "100.10"})]),
    ]  # fmt: skip
    return write(tmp_path / "day.axlog", content)


async def test_a_file_as_json_lines_in_the_recorded_order(day: Path) -> None:
    result = await run("export", str(day))
    events = [json.loads(line) for line in result.out.splitlines()]
    assert (result.code, len(events)) == (0, 14)
    assert [event["received_time"] for event in events] == sorted(event["received_time"] for event in events)
    assert events[0] == {
        "topic": "ticker:BTCUSDT", "scope": "m0", "epoch": 7, "seq": 1, "upstream_time": "2026-11-22T09:55:18.000000Z",
        "received_time": "2026-11-22T09:55:18.000000Z", "written_time": None, "log_id": log_id(START_US),
        "source": "recorded",
        "data": {"symbol": "BTCUSDT", "price": "0.50000000", "timestamp": None},
    }  # fmt: skip


async def test_json_lines_have_the_frame_of_an_event_that_was_kept_with_it(tmp_path: Path) -> None:
    raws = [encode("ticker:A", 7, number, None, START_US + number, {"price": "1"}, frame=frame)
            for number, frame in enumerate((None, '{"price":1}'), 1)]  # fmt: skip
    day, out = write(tmp_path / "day.axlog", [(MARKET, raws)]), tmp_path / "copy.axlog"
    for command in (("export", str(day)), ("tail", str(day), "--json")):
        first, second = (json.loads(line) for line in (await run(*command)).out.splitlines())
        assert "frame" not in first
        assert (second["frame"], second["data"]) == ('{"price":1}', {"price": "1"})
    assert (await run("export", str(day), "--out", str(out))).code == 0
    assert read(out) == raws
    assert (await run("diff", str(day), str(out))).code == 0
    parquet = await run("export", str(day), "--out", str(tmp_path / "day.parquet"))
    assert parquet.code == 0
    assert pq.read_table(tmp_path / "day.ticker.parquet").column("extra").to_pylist() == [None, None]


async def test_a_span_a_topic_and_a_scope_of_a_file_as_a_smaller_file(day: Path, tmp_path: Path) -> None:
    out = tmp_path / "moment.axlog"
    span = ("--from", log_id(START_US + 2000), "--to", "2026-11-22T09:55:18.006Z")
    result = await run("export", str(day), *span, "--topic", "ticker:all", "--scope", "m0", "--out", str(out))
    assert (result.code, result.out) == (0, "")
    assert "4 events to" in result.err
    assert read(out) == [tick(number) for number in range(2, 6)]
    with Recording(out) as recording:
        assert recording.lanes == (MARKET,)
        assert recording.description["source"] == "day.axlog"


async def test_the_logs_of_redis_as_a_recording_byte_by_byte(redis_server: RedisServer, tmp_path: Path) -> None:
    market, account = LayoutWriter(redis_server.url), LayoutWriter(redis_server.url, account_scope(KEY))
    market.install()
    market.bulk(TOPICS, 3000)
    account.event("orders", {"order_id": "1", "status": "new"})
    out = tmp_path / "moment.axlog"
    result = await run("export", "--url", redis_server.url, "--from", "10m ago", "--out", str(out))
    assert "3,001 events to" in result.err
    found = read(out)
    assert len(found) == 3001
    in_redis = {entry[b"e"] for key in market.client.keys("*log*") for _, entry in market.client.xrange(key)}
    assert set(found) == in_redis
    assert [decode(raw).received_us for raw in found] == sorted(decode(raw).received_us for raw in found)
    with Recording(out) as recording:
        assert Lane("m0", "log:candles", "log-1") in recording.lanes
    lines = await run("export", "--url", redis_server.url, "--topic", "candles:BTCUSDT:1m", "--scope", "m0")
    assert len(lines.out.splitlines()) == 1000
    market.close()
    account.close()


async def test_several_files_are_merged(tmp_path: Path) -> None:
    one = write(tmp_path / "1.axlog", [(MARKET, [tick(number) for number in range(0, 20, 2)])])
    two = write(tmp_path / "2.axlog", [(ACCOUNT, [tick(number) for number in range(1, 20, 2)])])
    after = write(tmp_path / "3.axlog", [(MARKET, [tick(number) for number in range(20, 30)])])
    out = tmp_path / "all.axlog"
    assert (await run("export", str(after), str(two), str(one), "--out", str(out))).code == 0
    assert read(out) == ticks(30)


async def test_a_cut_file_is_exported_up_to_its_last_whole_block_and_the_loss_is_named(
    day: Path, tmp_path: Path
) -> None:
    _change(day, lambda raw: raw[:-600])
    result = await run("export", str(day))
    assert result.code == 0
    assert "bytes at its end are missing: the file ends within a block" in result.err
    assert 0 < len(result.out.splitlines()) < 14


async def test_a_damaged_file_is_exit_code_1_with_its_place_and_leaves_no_half_written_file(
    day: Path, tmp_path: Path
) -> None:
    _change(day, lambda raw: raw[:300] + bytes([raw[300] ^ 1]) + raw[301:])
    out = tmp_path / "out.parquet"
    result = await run("export", str(day), "--out", str(out))
    assert result.code == 1
    assert f"{day}: at byte " in one_line(result)
    assert "damaged" in result.err
    assert _names(tmp_path) == ["day.axlog"]


async def test_parquet_is_a_file_per_kind_with_exact_prices(day: Path, tmp_path: Path) -> None:
    result = await run("export", str(day), "--out", str(tmp_path / "day.parquet"))
    assert result.code == 0
    kinds = ("ticker", "candles", "orders", "portfolio", "notices")
    tables = {kind: pq.read_table(tmp_path / f"day.{kind}.parquet") for kind in kinds}
    assert {kind: table.num_rows for kind, table in tables.items()} == dict(zip(kinds, (10, 1, 1, 1, 1), strict=True))
    first = tables["ticker"].to_pylist()[3]
    assert first["price"] == Decimal("3.5")
    assert first["received_time"].isoformat() == "2026-11-22T09:55:18.003000+00:00"
    assert (first["symbol"], first["seq"], first["scope"], first["extra"]) == ("BTCUSDT", 4, "m0", None)
    order = tables["orders"].to_pylist()[0]
    assert (order["executed_price"], order["price"]) == (Decimal("64521.30000000"), None)
    assert (order["written_time"] - order["received_time"]).microseconds == 1
    assert first["written_time"] is None
    (notice,) = tables["notices"].to_pylist()
    assert (notice["topic"], notice["about"], notice["state"], notice["count"]) == ("status", "ticker:X", "blind", 3)


def test_what_no_column_holds_stands_in_extra_word_for_word(tmp_path: Path) -> None:
    values = ["1", "0.1234567890123", "1e-3", "n/a", 5, None, "-99999999999999999999999999.5", "1" * 30]
    raws = [
        tick(n, quantity=value, venue={"id": n}) if n == 2 else tick(n, quantity=value)
        for n, value in enumerate(values)
    ]
    with Recording(write(tmp_path / "t.axlog", [(MARKET, raws)])) as recording:
        (written,) = write_parquet(recording.runs(), tmp_path / "t.parquet")
    assert (written.rows, written.misfits) == (8, 4)
    rows = pq.read_table(written.path).to_pylist()
    assert [row["quantity"] for row in rows] == [
        Decimal(1), None, Decimal("0.001"), None, None, None, Decimal("-99999999999999999999999999.5"), None,
    ]  # fmt: skip
    extras = [row["extra"] and json.loads(row["extra"]) for row in rows]
    assert extras == [
        None, {"quantity": "0.1234567890123"}, {"venue": {"id": 2}}, {"quantity": "n/a"}, {"quantity": 5}, None, None,
        {"quantity": "1" * 30},
    ]  # fmt: skip


def test_duckdb_computes_with_the_prices_without_a_float(tmp_path: Path) -> None:
    raws = [tick(number, quantity="0.10000000") for number in range(100)]
    with Recording(write(tmp_path / "t.axlog", [(MARKET, raws)])) as recording:
        write_parquet(recording.runs(), tmp_path / "t.parquet")
    query = f"select sum(price * quantity), count(*) from '{tmp_path}/t.ticker.parquet'"  # noqa: S608 - our own path
    assert duckdb.sql(query).fetchall() == [(Decimal("500.000000000000000000000000"), 100)]
    assert pa.types.is_decimal(pq.read_schema(tmp_path / "t.ticker.parquet").field("price").type)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["x.axlog", "--out", "x.csv"], "'x.csv' ends in none of .axlog, .jsonl, .parquet: give --format"),
        (["x.axlog", "--format", "parquet"], "parquet needs --out"),
        (["x.axlog", "--from", "5m ago", "--to", "10m ago"], "--from must be before --to"),
        (["x.axlog", "--to", "noon"], "--to: 'noon' is no moment"),
        (["x.axlog", "--topic", "x"], "topic 'x' is not valid"),
        ([], "name the Redis server by its URL"),
        (["--url", "ws://x"], "must begin with redis://"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    result = await run("export", *argv)
    assert result.code == 2
    assert message in one_line(result)


async def test_a_file_that_is_not_there_is_exit_code_1() -> None:
    result = await run("export", "nowhere.axlog")
    assert (result.code, one_line(result)) == (1, "agentexchange: export: nowhere.axlog: No such file or directory\n")


async def test_a_redis_without_a_bridge_has_nothing(redis_server: RedisServer) -> None:
    result = await run("export", "--url", redis_server.url)
    assert (result.code, result.out) == (0, "")
    assert "no bridge has written under the prefix 'ax'" in result.err


def test_a_writer_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    from agentexchange_bridge.transfer import write_axlog

    out = write(tmp_path / "t.axlog", [(MARKET, ticks(3))])
    backwards = [(MARKET, [tick(5)]), (MARKET, [tick(4)])]
    with pytest.raises(ValueError, match="older than what was recorded"):
        write_axlog(backwards, out, source={})  # type: ignore[arg-type]
    assert read(out) == ticks(3)
    assert _names(tmp_path) == ["t.axlog"]
    with RecordingWriter(out) as writer:
        assert writer.cut is None


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange_bridge.cli import stats
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import encode
from tests._acl import Guarded, rules_of
from tests.bridge.cli._run import KEY, one_line, run
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk.recording._samples import CANDLES, MARKET, START_US, tick, ticks, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests._servers import RedisServer

NOTICE = {
    "scope": "m0", "topic": None, "state": "live", "since": "2026-11-22T09:55:18.000000Z",
    "until": "2026-11-22T09:55:18.500000Z", "cause": "reconnected",
}  # fmt: skip


@pytest.fixture
def day(tmp_path: Path) -> Path:
    raws = [tick(n, symbol="BTCUSDT" if n % 4 else "ETHUSDT") for n in range(1000) if n != 501]
    raws.append(encode("status", 7, 1, None, START_US + 999_500, NOTICE))
    candle = encode("candles:BTCUSDT:1m", 7, 1, None, START_US + 500, {"close": "1"}, START_US + 900)
    return write(tmp_path / "day.axlog", [(MARKET, raws), (CANDLES, [candle])])


async def values(*argv: Any) -> dict[str, Any]:
    result = await run("stats", *map(str, argv), "--json")
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


async def test_a_recording_in_figures(day: Path) -> None:
    found = await values(day)
    assert (found["source"], found["events"], found["whole"]) == ("day.axlog", 1001, True)
    assert found["span_s"] == pytest.approx(0.9995)
    (scope,) = found["scopes"]
    assert (scope["scope"], scope["topics"], scope["events"], scope["busiest"]) == ("m0", 4, 1001, 1001)
    assert scope["rate"] == pytest.approx(1001 / 0.9995)
    assert (scope["received_to_written"]["max"], scope["upstream_to_received"]["max"]) == (400, 0)
    assert scope["notices"] == {"reconnected": {"notices": 1, "events": 0}}
    assert scope["not_live_s"] == 0.5
    assert found["not_live"][0] == {
        "scope": "m0", "topic": None, "state": "blind", "cause": "reconnected", "since": "2026-11-22T09:55:18.000000Z",
        "until": "2026-11-22T09:55:18.500000Z", "seconds": 0.5,
    }  # fmt: skip
    topics = {topic["topic"]: topic for topic in found["topics"]}
    assert (topics["ticker:ETHUSDT"]["events"], topics["ticker:ETHUSDT"]["missing"]) == (250, 747)
    (file,) = found["files"]
    size = await asyncio.to_thread(lambda: day.stat().st_size)
    assert (file["blocks"], file["events"], file["bytes"]) == (2, 1001, size)
    assert file["bytes_per_event"] == pytest.approx(size / 1001)
    assert file["compression"] == pytest.approx(scope["bytes_per_event"] * 1001 / size)


async def test_for_people_it_is_tables(day: Path) -> None:
    result = await run("stats", str(day), "--top", "2")
    lines = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert lines[0] == "1,001 events of day.axlog"
    rows = [line.split() for line in lines]
    assert next(row[:3] for row in rows if "ticker:BTCUSDT" in row) == ["m0", "ticker:BTCUSDT", "749"]
    assert "and 2 topics more (--top)" in lines
    assert "not live for 0.500 s" in result.out
    assert "  m0 blind from 2026-11-22T09:55:18.000000Z: 0.500 s (reconnected)" in lines
    assert lines[-1].split()[:3] == [str(day), "2", "1,001"]


async def test_a_span_topics_and_a_limit(day: Path) -> None:
    assert (await values(day, "--topic", "ticker:ETHUSDT"))["events"] == 251
    assert (await values(day, "--from", "ticker:BTCUSDT@600", "--to", "2026-11-22T09:55:18.650Z"))["events"] == 51
    assert (await values(day, "--from", "100ms"))["events"] == 101
    limited = await values(day, "--limit", "10")
    assert (limited["events"], limited["whole"], limited["stopped_by"]) == (10, False, "--limit")
    exact = await values(day, "--limit", "1001")
    assert (exact["events"], exact["whole"], exact["stopped_by"]) == (1001, True, None)
    assert "stopped by --limit there" in (await run("stats", str(day), "--limit", "1")).out


async def test_a_file_by_its_url_and_several_files(day: Path, tmp_path: Path) -> None:
    assert (await values("--url", f"file://{day}"))["events"] == 1001
    more = write(tmp_path / "more.axlog", [(MARKET, [tick(n) for n in range(1000, 1010)])])
    assert (await values(more, day))["events"] == 1011


async def test_an_empty_recording_has_nothing_to_count(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.axlog", [])
    assert (await values(empty))["scopes"] == []
    assert "0 events of empty.axlog" in (await run("stats", str(empty))).out


@pytest.fixture
def log(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    writer = LayoutWriter(redis_server.url)
    writer.install()
    writer.bulk(["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"], 300)
    with_orders = LayoutWriter(redis_server.url, account_scope(KEY))
    with_orders.event("orders", {"order_id": "1", "status": "new"})
    with_orders.close()
    yield writer
    writer.close()


async def test_the_logs_of_redis_with_the_rights_of_an_operator_and_of_a_crew(
    redis_server: RedisServer, log: LayoutWriter
) -> None:
    with Guarded(redis_server, rules_of({"crew": KEY})) as guarded:
        found = await values("--url", guarded.url("operator"))
        assert {scope["scope"]: scope["events"] for scope in found["scopes"]} == {"m0": 300, account_scope(KEY): 1}
        logs = {entry["log"]: entry for entry in found["logs"]}
        assert (logs["ax:{m0}:log"]["entries"], logs["ax:{m0}:log:candles"]["entries"]) == (200, 100)
        assert logs["ax:{m0}:log"]["memory_bytes"] > 1000
        assert guarded.passwords["operator"] not in json.dumps(found)
        crew = await run("stats", "--url", guarded.url("crew"))
        assert (crew.code, crew.err) == (0, "")
        assert crew.out.splitlines()[-1].startswith("entries and memory need the rights of an operator")
        assert {(user, what) for user, what in guarded.refusals() if user == "operator"} == set()


async def test_redis_is_read_from_ten_minutes_ago_on_unless_told_otherwise(
    redis_server: RedisServer, log: LayoutWriter
) -> None:
    old = LayoutWriter(redis_server.url, "m1")
    old.received_us -= 700_000_000
    old.bulk(["ticker:BTCUSDT"], 10)
    old.close()
    assert (await values("--url", redis_server.url, "--scope", "m1"))["events"] == 0
    assert (await values("--url", redis_server.url, "--scope", "m1", "--from", "1h ago"))["events"] == 10


async def test_a_signal_ends_the_reading_with_a_report(day: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser, stop = argparse.ArgumentParser(), asyncio.Event()
    stats.add_arguments(parser)
    stop.set()
    assert await stats._of_files(parser.parse_args([str(day)]), [day], None, stop) == 0
    assert "0 events of day.axlog\nstopped by a signal there: more follow" in capsys.readouterr().out


async def test_bad_input_is_exit_code_2(day: Path) -> None:
    for argv, message in [
        ((), "name the Redis server by its URL"),
        (("--url", "ws://x"), "must begin with redis://"),
        ((day, "--url", "redis://x"), "give files or --url, not both"),
        (("--url", "file:day.axlog"), "must begin with"),
        (("--url", "file://host/day.axlog"), "must hold an absolute path"),
        ((day, "--from", "noon"), "--from: 'noon' is no moment"),
        ((day, "--from", "ticker:BTCUSDT@9999"), "--from: there is no event ticker:BTCUSDT@9999"),
        ((day, "--from", "1s", "--to", "2s"), "--from must be before --to"),
        ((day, "--topic", "x"), "topic 'x' is not valid"),
        ((day, "--limit", "0"), "must be a number from 1 on"),
    ]:
        result = await run("stats", *map(str, argv))
        assert result.code == 2, argv
        assert message in one_line(result)


async def test_what_cannot_be_read_is_exit_code_1(tmp_path: Path) -> None:
    damaged = write(tmp_path / "day.axlog", [(MARKET, ticks(10)), (MARKET, [tick(20)])])
    content = bytearray(damaged.read_bytes())
    content[250] ^= 1
    damaged.write_bytes(content)
    assert (await run("stats", str(damaged))).code == 1
    assert (await run("stats", str(damaged), "--from", "ticker:BTCUSDT@3")).code == 1
    gone = await run("stats", "--url", "redis://127.0.0.1:1")
    assert gone.code == 1
    assert "127.0.0.1:1" in one_line(gone)

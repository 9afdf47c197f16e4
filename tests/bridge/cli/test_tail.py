from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.recording import RotatingWriter, RotationOptions, WriterOptions
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import encode, log_id
from tests._acl import Guarded, rules_of
from tests.bridge.cli._run import CLI, KEY, one_line, run, start
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, ticks, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agentexchange.testing import SandboxExchange
    from tests._servers import RedisServer

pytestmark = pytest.mark.sandbox_exchange(rate=300, pairs=10, api_keys=(KEY,), order_rate=20)


async def test_straight_from_the_platform(sandbox_exchange: SandboxExchange) -> None:
    result = await run("tail", "--url", sandbox_exchange.url, "--json", "--count", "5", "ticker:BTCUSDT")
    assert result.code == 0
    events = [json.loads(line) for line in result.out.splitlines()]
    assert len(events) == 5
    assert {event["topic"] for event in events} == {"ticker:BTCUSDT"}
    assert all(event["data"]["price"] and event["received_time"].endswith("Z") for event in events)
    assert events[0]["seq"] is None
    assert "feed live" in result.err


async def test_shared_with_sequence_and_latest_value_first(
    sandbox_exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    flags = ("--upstream-url", sandbox_exchange.url, "--redis-url", redis_server.url, "--http", "off")
    async with start("bridge", *flags) as bridge:
        await bridge.wait_line('"state": "live"')
        await sandbox_exchange.control.wait_for_frames("tick", 50)
        tail = ("tail", "--url", redis_server.url, "--json", "--count", "20")
        result = await run(*tail, "ticker:BTCUSDT", key=None)  # market data needs no key
        events = [json.loads(line) for line in result.out.splitlines()]
        assert (result.code, len(events), events[0]["source"]) == (0, 20, "latest")
        assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + 20))
        assert len({event["log_id"] for event in events}) == 20
        account = await run(*tail, "orders", "portfolio")
        assert {json.loads(line)["topic"] for line in account.out.splitlines()} == {"orders", "portfolio"}
        refused = await run(*tail, "orders", key=None)
        assert refused.code == 2
        assert "there is no API key" in one_line(refused)


async def test_for_people_it_prints_columns(sandbox_exchange: SandboxExchange) -> None:
    result = await run("tail", "--url", sandbox_exchange.url, "--count", "3", "ticker:all", "orders")
    assert len(result.out.splitlines()) == 3
    assert all(len(line.split()[0]) == len("12:34:56.789") for line in result.out.splitlines())


async def test_a_signal_ends_it_with_0(sandbox_exchange: SandboxExchange) -> None:
    async with start("tail", "--url", sandbox_exchange.url, "ticker:all") as tail:
        await tail.wait_line("ticker:")
        assert await tail.end() == 0


async def test_a_reader_that_has_seen_enough_is_no_error(sandbox_exchange: SandboxExchange) -> None:
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *CLI, "tail", "--url", sandbox_exchange.url, "ticker:all",
        env=dict(os.environ, AGENTEXCHANGE_API_KEY=KEY), stdout=write_end, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(write_end)
    assert await asyncio.to_thread(os.read, read_end, 10)
    os.close(read_end)
    async with asyncio.timeout(20):
        _, err = await process.communicate()
    assert process.returncode == 0
    assert b"Error" not in err


async def test_a_refused_key_is_exit_code_1(sandbox_exchange: SandboxExchange) -> None:
    result = await run("tail", "--url", sandbox_exchange.url, "orders", key="ak_unknown")
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("agentexchange: tail: the platform refuses the API key")
    assert "ak_unknown" not in result.err


async def test_without_topics_it_is_everything_that_can_be_had(sandbox_exchange: SandboxExchange) -> None:
    result = await run("tail", "--url", sandbox_exchange.url, "--json", "--count", "60")
    topics = {json.loads(line)["topic"] for line in result.out.splitlines()}
    assert result.code == 0
    assert {"orders", "status"} < topics
    assert sum(topic.startswith("ticker:") for topic in topics) > 3
    assert result.err == ""


async def test_a_kind_and_a_condition_choose_among_what_arrives(sandbox_exchange: SandboxExchange) -> None:
    flags = ("--url", sandbox_exchange.url, "--json", "--count", "5")
    result = await run("tail", *flags, "--kind", "ticker", "--where", "symbol ~ 'btc' and price > 0")
    assert {json.loads(line)["topic"] for line in result.out.splitlines()} == {"ticker:BTCUSDT"}
    assert "feed live" in result.err


# The past


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A thousand ticks of a second, a candle, an order and a notice."""
    notice = {"scope": "m0", "state": "blind", "since": "2026-11-22T09:55:18.5Z", "cause": "upstream_lost"}
    content = [
        (MARKET, [*ticks(1000), encode("status", 7, 1, None, START_US + 999_500, notice)]),
        (CANDLES, [encode("candles:BTCUSDT:1m", 7, 1, None, START_US + 500, {"close": "1", "open": "2"})]),
        (ACCOUNT, [encode("orders", 7, 1, None, START_US + 700, {"order_id": "1", "status": "new"})]),
    ]
    return write(tmp_path / "day.axlog", content)


async def past(*argv: Any, key: str | None = None) -> list[dict[str, Any]]:
    result = await run("tail", *map(str, argv), "--json", key=key)
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


async def test_a_recording_from_its_beginning(day: Path) -> None:
    events = await past(day)
    assert len(events) == 1003
    assert [event["topic"] for event in events[:4]] == [
        "ticker:BTCUSDT", "candles:BTCUSDT:1m", "orders", "ticker:BTCUSDT",
    ]  # fmt: skip
    assert (events[-1]["topic"], events[-1]["source"], events[-1]["data"]["cause"]) == (
        "status", "recorded", "upstream_lost",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "count"),
    [
        (("ticker:BTCUSDT",), 1000),
        (("--topic", "orders", "--topic", "candles:BTCUSDT:1m"), 2),
        (("--kind", "candles"), 1),
        (("--scope", ACCOUNT.scope), 1),
        (("--scope", "m0"), 1002),
        (("--kind", "status"), 1),
        (("--kind", "orders", "--kind", "status"), 2),
        (("--kind", "candles", "--where", "close > open"), 0),
        (("--where", "price < 10"), 10),
        (("--where", "kind = 'ticker' and seq > 990"), 10),
        (("--where", "price < 10", "--count", "3"), 3),
        (("--since", "100ms", "--kind", "ticker"), 100),
        (("--since", "ticker:BTCUSDT@901", "--kind", "ticker"), 100),
        (("--since", "2026-11-22T09:55:18.990Z", "--kind", "ticker"), 10),
        (("--since", log_id(START_US + 990_000), "--kind", "ticker"), 10),
        (("--since", "status@1"), 1),
    ],
)
async def test_a_choice_of_a_recording(day: Path, argv: tuple[str, ...], count: int) -> None:
    assert len(await past(day, *argv)) == count


async def test_what_is_said_of_the_feed_goes_to_stderr_where_it_is_no_event(day: Path) -> None:
    result = await run("tail", "--url", f"file://{day}", "orders", key=None)
    assert result.out.rstrip().endswith("order_id=1 status=new")
    assert result.err == "feed m0 blind: upstream_lost\n"


async def test_the_environment_may_name_a_recording_as_it_may_a_feed(day: Path) -> None:
    result = await run("tail", "--kind", "orders", key=None, AGENTEXCHANGE_WS_URL=f"FILE://{day.parent}/*.axlog")
    assert (result.code, result.out.count("order_id=1")) == (0, 1)
    named = await run("tail", str(day), "--kind", "orders", key=None, AGENTEXCHANGE_WS_URL="ws://127.0.0.1:1")
    assert named.out == result.out
    gone = await run("tail", "--url", f"file://{day.parent}/*.axlo", key=None)
    assert (gone.code, "no file matches" in one_line(gone)) == (1, True)


async def test_a_recording_as_csv(day: Path) -> None:
    result = await run("tail", str(day), "--kind", "ticker", "--format", "csv")
    rows = list(csv.DictReader(StringIO(result.out)))
    assert (len(rows), rows[3]["price"], rows[3]["seq"]) == (1000, "3.50000000", "4")


async def test_a_reader_that_has_seen_enough_of_a_recording_is_no_error(tmp_path: Path) -> None:
    long = write(tmp_path / "long.axlog", [(MARKET, ticks(20_000))])
    read_end, write_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *CLI, "tail", str(long), env=os.environ, stdout=write_end, stderr=asyncio.subprocess.PIPE
    )
    os.close(write_end)
    assert await asyncio.to_thread(os.read, read_end, 10)
    os.close(read_end)
    async with asyncio.timeout(20):
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_a_damaged_recording_is_printed_up_to_the_damage_and_exit_code_1(day: Path) -> None:
    content = bytearray(await asyncio.to_thread(day.read_bytes))
    content[-700] ^= 1
    await asyncio.to_thread(day.write_bytes, content)
    result = await run("tail", str(day), "--json")
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith(f"agentexchange: tail: {day}: ")


@pytest.fixture
def log(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    writer = LayoutWriter(redis_server.url)
    writer.install()
    yield writer
    writer.close()


TOPICS = ["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"]


async def test_the_logs_from_a_moment_on_and_then_it_ends(redis_server: RedisServer, log: LayoutWriter) -> None:
    log.bulk(TOPICS, 3000)
    account = LayoutWriter(redis_server.url, account_scope(KEY))
    account.event("orders", {"order_id": "1", "status": "new"})
    account.close()
    with Guarded(redis_server, rules_of({"crew": KEY})) as guarded:
        for user in ("crew", "operator"):
            since = ("--url", guarded.url(user), "--since")
            events = await past(*since, "1h", key=KEY)
            assert len(events) == 3001
            assert [event["seq"] for event in events if event["topic"] == TOPICS[0]] == list(range(1, 1001))
            assert [event["received_time"] for event in events] == sorted(event["received_time"] for event in events)
            assert len(await past(*since, "ticker:ETHUSDT@901", "ticker:ETHUSDT")) == 100
            assert len(await past(*since, events[-100]["log_id"], key=KEY)) == 100
            assert len(await past(*since, "1h", "--kind", "candles", "--where", "price > 990")) == 10
            assert [event["topic"] for event in await past(*since, "1h", "orders", key=KEY)] == ["orders"]
            by_scope = await past(*since, "1h", "orders", "--scope", account_scope(KEY))
            assert [event["scope"] for event in by_scope] == [account_scope(KEY)]
        assert guarded.refusals() == []
    assert {event["source"] for event in events} == {"recorded"}


@contextlib.asynccontextmanager
async def tail_into(out: Path, *argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, with stdout into a file; stopped by SIGTERM."""
    with out.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *CLI, "tail", *argv, stdout=file, stderr=asyncio.subprocess.DEVNULL, env=os.environ
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        assert await process.wait() == 0


async def _printed(out: Path, text: str) -> None:
    async with asyncio.timeout(30):
        while text not in await asyncio.to_thread(out.read_text):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)


async def test_what_follows_the_past_comes_without_a_hole_or_a_double(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    """Written all the time, while the past is read and while it changes over; connections are cut again and again."""
    log.bulk(TOPICS, 20_000)
    out = tmp_path / "out.jsonl"
    argv = ("--url", redis_server.url, "--since", "1h", "--follow", "--json", "--kind", "ticker")
    async with tail_into(out, *argv):
        await _printed(out, '"seq":2,')
        for number in range(100):
            await asyncio.to_thread(log.bulk, TOPICS, 300)
            if number % 10 == 5:
                log.client.client_kill_filter(_type="normal", skipme=True)
        for topic in TOPICS[:2]:
            await _printed(out, f'"topic":"{topic}","scope":"m0","epoch":1,"seq":{log.seqs[topic]},')
    events = [json.loads(line) for line in out.read_text().splitlines()]
    for topic in TOPICS[:2]:
        assert [event["seq"] for event in events if event["topic"] == topic] == list(range(1, log.seqs[topic] + 1))
    assert {event["source"] for event in events} == {"recorded", "live"}
    assert {event["topic"] for event in events} == set(TOPICS[:2])


async def test_following_ends_at_the_count(redis_server: RedisServer, log: LayoutWriter, tmp_path: Path) -> None:
    log.bulk(TOPICS, 30)
    out = tmp_path / "out.jsonl"
    argv = ("--url", redis_server.url, "--since", "1h", "-f", "--count", "40", "--json")
    async with tail_into(out, *argv) as process:
        await _printed(out, '"seq":10,')
        log.bulk(TOPICS, 30)
        async with asyncio.timeout(10):
            await process.wait()
    assert len(out.read_text().splitlines()) == 40


def recorded(writer: RotatingWriter, first: int, count: int) -> None:
    for raw in ticks(first + count)[first:]:
        writer.add(MARKET, [raw])
    writer.flush()


async def test_a_recording_is_followed_while_it_is_written_and_rotated(tmp_path: Path) -> None:
    path, out = tmp_path / "day.axlog", tmp_path / "out.jsonl"
    options = WriterOptions(fsync="never", block_bytes=1_000)
    writer = RotatingWriter(path, rotation=RotationOptions(max_bytes=4_000), options=options)
    recorded(writer, 0, 20)
    argv = (str(path), "-f", "--json", "--since", "ticker:BTCUSDT@11", "--where", "seq != 15")
    async with tail_into(out, *argv):
        await _printed(out, '"seq":20,')
        for first in range(20, 420, 40):
            await asyncio.to_thread(recorded, writer, first, 40)
            await _printed(out, f'"seq":{first + 40},')
    writer.close()
    assert writer.files > 2
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert [event["seq"] for event in events] == [seq for seq in range(11, 421) if seq != 15]


async def test_following_a_recording_ends_when_its_recorder_closes_it(tmp_path: Path) -> None:
    writer = RotatingWriter(tmp_path / "day.axlog", options=WriterOptions(fsync="never"))
    recorded(writer, 0, 3)
    async with start("tail", str(tmp_path / "day.axlog"), "--follow", "--json") as tail:
        await tail.wait_line('"seq":3,')
        recorded(writer, 3, 1)
        await tail.wait_line('"seq":4,')
        writer.close()
        await tail.wait_line("tail: day.axlog: closed by its recorder: nothing follows")
        async with asyncio.timeout(10):
            while not tail.has_ended:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        assert await tail.end() == 0


async def test_following_a_recording_ends_at_the_count_and_at_a_signal(tmp_path: Path) -> None:
    with RotatingWriter(tmp_path / "day.axlog", options=WriterOptions(fsync="never")) as writer:
        recorded(writer, 0, 3)
        result = await run("tail", str(tmp_path / "day.axlog"), "--follow", "--json", "--count", "2")
        assert (result.code, result.out.count("\n"), result.err) == (0, 2, "")
        async with start("tail", str(tmp_path / "day.axlog"), "--follow") as tail:
            await tail.wait_line(r"2\.5")
            assert await tail.end() == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["tik:BTCUSDT"], "topic 'tik:BTCUSDT' is not valid: use ticker:SYMBOL"),
        (["candles:BTCUSDT:2m"], "interval '2m' is not valid"),
        (["ticker:all", "--url", "ftp://x"], "must begin with ws://"),
        (["ticker:all", "--count", "0"], "must be a number from 1 on"),
        (["ticker:all", "--where", "price > "], "tail: --where: at character 9: a number, a text in quotes"),
        (["ticker:all", "--kind", "trades"], "argument --kind: invalid choice: 'trades'"),
        (["--kind", "candles"], "name them, such as candles:BTCUSDT:1m"),
        (["orders", "--kind", "ticker"], "no topic that is named is of kind ticker"),
        (["ticker:all", "--json", "--format", "csv"], "--json and --format csv exclude each other"),
        (["ticker:all", "--since", "5m"], "--since needs Redis or a recording: the platform keeps no log"),
        (["ticker:all", "--scope", "m0"], "--scope is for the past: give --since, or a recording"),
        (["day.axlog", "--scope", "x"], "scope"),
        (["day.axlog", "--url", "redis://x"], "give files or --url, not both"),
        (["--url", "file:///x?speed=2"], "the options of a file's URL are for a replay: leave them out"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    result = await run("tail", *argv)
    assert result.code == 2
    assert message in one_line(result)


async def test_a_moment_that_is_none_is_exit_code_2(day: Path, redis_server: RedisServer, log: LayoutWriter) -> None:
    for place in ((str(day),), ("--url", redis_server.url)):
        for since, message in [("noon", "--since: 'noon' is no moment"), ("orders@7", "there is no event orders@7")]:
            result = await run("tail", *place, "--since", since)
            assert result.code == 2
            assert message in one_line(result)
    for private in (("orders",), ("--kind", "portfolio")):
        refused = await run("tail", "--url", redis_server.url, "--since", "1h", *private, key=None)
        assert (refused.code, "there is no API key" in one_line(refused)) == (2, True)


async def test_a_file_that_is_not_there_is_exit_code_1() -> None:
    result = await run("tail", "nowhere.axlog")
    assert (result.code, one_line(result)) == (1, "agentexchange: tail: nowhere.axlog: No such file or directory\n")

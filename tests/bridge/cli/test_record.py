from __future__ import annotations

import asyncio
import contextlib
import os
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from agentexchange.recording import Recording
from agentexchange.recording.rotation import rotated_files
from agentexchange_bridge.demo import DemoError
from agentexchange_schemas import Layout, account_scope
from tests.bridge.cli._run import CLI, KEY, one_line, run, start
from tests.sdk._layout_writer import LayoutWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agentexchange.testing import SandboxExchange
    from tests._servers import RedisServer

TOPICS = ["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"]


@pytest.fixture
def log(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    writer = LayoutWriter(redis_server.url)
    writer.install()
    yield writer
    writer.close()


async def test_it_records_until_a_signal_and_goes_on_in_the_same_file(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    out = tmp_path / "day.axlog"
    account = LayoutWriter(redis_server.url, account_scope(KEY))
    account.event("orders", {"order_id": "1", "status": "new"})
    account.close()
    log.bulk(TOPICS, 300)
    argv = ("record", "--url", redis_server.url, "--out", str(out), "--from", "1h ago", "--block-s", "0")
    async with start(*argv) as recorder:
        await recorder.wait_line("recording to")
        await _grown(out, 301)
        assert await recorder.end() == 0
    log.bulk(TOPICS, 30)
    async with start(*argv) as recorder:
        await _grown(out, 331)
        assert await recorder.end() == 0
    with Recording(out) as recording:
        assert (recording.count, recording.is_closed, recording.cut) == (331, True, None)
        assert recording.description["source"] == redis_server.url + "/0"
        assert {lane.scope for lane in recording.lanes} == {"m0", account_scope(KEY)}
        assert len({event.raw for event in recording.events()}) == 331


async def test_a_recorder_killed_with_sigkill_leaves_every_whole_block_and_the_loss_is_named(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    """Killed at once, again and again: the file opens each time, and no event is wrong, doubled or left out between."""
    out = tmp_path / "day.axlog"
    argv = (
        "record",
        "--url",
        redis_server.url,
        "--out",
        str(out),
        "--from",
        "1h ago",
        "--block-s",
        "0",
        "--scope",
        "m0",
    )
    for _ in range(3):
        recorder = await asyncio.create_subprocess_exec(*CLI, *argv, env=os.environ, stderr=asyncio.subprocess.DEVNULL)
        try:
            log.bulk(TOPICS, 3000)
            await _grown(out, _count(out) + 1)
        finally:
            recorder.kill()
            await recorder.wait()
        with Recording(out) as recording:
            assert not recording.is_closed
        for key in ("log", "log:candles"):
            recorded = _of(out, key)
            assert recorded == _in_redis(log, key)[: len(recorded)]
    with Recording(out) as recording:
        torn = recording.cut.size if recording.cut else 0  # the last kill may have come within a write
    with out.open("ab") as file:  # half a block: what such a kill leaves
        file.write(b"BLCK\x10\x00\x00\x00\xff\x00\x00\x00")
    with Recording(out) as recording:
        assert recording.cut is not None
        assert (recording.cut.size, recording.cut.reason) == (torn + 12, "the file ends within a block")
    async with start(*argv) as recorder:
        await recorder.wait_line(f"{torn + 12} bytes behind its last whole block were cut off")
        await _grown(out, 9000)
        assert await recorder.end() == 0
    for key in ("log", "log:candles"):
        assert _of(out, key) == _in_redis(log, key)


async def test_files_are_rotated_and_old_ones_deleted(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    argv = ("record", "--url", redis_server.url, "--out", str(tmp_path / "day.axlog"), "--from", "1h ago")
    limits = ("--rotate-mb", "0.001", "--keep-gb", "0.00003", "--block-s", "0")
    async with start(*argv, *limits) as recorder:
        await recorder.wait_line("recording to")
        for _ in range(30):
            log.bulk(TOPICS, 300)
            with contextlib.suppress(DemoError):  # not yet
                await recorder.wait_line("deleted, beyond what is to be kept", timeout_s=0.5)
        await recorder.wait_line("deleted, beyond what is to be kept")
        assert await recorder.end() == 0
    rotated = rotated_files(tmp_path / "day.axlog")
    assert rotated
    assert sum(path.stat().st_size for path in rotated) <= 30_000
    for path in rotated:
        with Recording(path) as recording:
            assert recording.is_closed


async def test_a_second_recorder_of_the_same_file_is_refused(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    argv = ("record", "--url", redis_server.url, "--out", str(tmp_path / "day.axlog"))
    async with start(*argv) as recorder:
        await recorder.wait_line("recording to")
        second = await run(*argv)
        assert second.code == 1
        assert "another process is writing this file: stop it, or name another file" in one_line(second)
        assert await recorder.end() == 0


@pytest.mark.sandbox_exchange(rate=500, pairs=5, api_keys=(KEY,), order_rate=20)
async def test_straight_from_the_platform_with_the_metadata_of_a_log(
    sandbox_exchange: SandboxExchange, tmp_path: Path
) -> None:
    out = tmp_path / "day.axlog"
    argv = ("record", "--url", sandbox_exchange.url, "--out", str(out), "--block-s", "0.1")
    for count in (300, 600):  # the second run goes on in the same file, as another log
        async with start(*argv) as recorder:
            await recorder.wait_line("feed live")
            await _grown(out, count)
            assert await recorder.end() == 0
    with Recording(out) as recording:
        events = list(recording.events())
        assert {lane.scope for lane in recording.lanes} == {"m0", account_scope(KEY)}
        assert len({lane.log_id for lane in recording.lanes}) == 2
        assert {topic.partition(":")[0] for topic in recording.topics} == {"ticker", "orders", "portfolio", "status"}
    places = [event.envelope.received_us for event in events]
    assert all(before < after for before, after in pairwise(places))
    seqs: dict[tuple[str, int, str], list[int | None]] = {}
    for event in events:
        seqs.setdefault((event.scope, event.envelope.epoch, event.envelope.topic), []).append(event.envelope.seq)
    assert all(found == list(range(1, len(found) + 1)) for found in seqs.values())
    assert len({epoch for _, epoch, _ in seqs}) == 2


@pytest.mark.sandbox_exchange(rate=100, pairs=5)
async def test_a_key_that_the_platform_refuses_is_exit_code_1(
    sandbox_exchange: SandboxExchange, tmp_path: Path
) -> None:
    result = await run("record", "--url", sandbox_exchange.url, "--out", str(tmp_path / "d.axlog"), key="ak_unknown")
    assert result.code == 1
    assert "the platform refuses the API key" in result.err
    assert "ak_unknown" not in result.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--out", "x.axlog", "--url", "ftp://x"], "must begin with ws://"),
        (["--out", "x.axlog", "--url", "file:///day.axlog"], "--url must be a feed"),
        (["--out", "x.axlog", "--url", "ws://x", "--from", "now"], "--scope and --from are for logs in Redis"),
        (["--out", "x", "--url", "redis://localhost:1", "--keep-frames"], "for Redis run the bridge with it"),
        (["--out", "x.axlog"], "name the Redis server by its URL, or set AGENTEXCHANGE_REDIS_URL"),
        (["--url", "redis://localhost:1"], "required: --out"),
        (["--url", "redis://localhost:1", "--out", "x", "--topic", "tick"], "topic 'tick' is not valid"),
        (["--url", "redis://localhost:1", "--out", "x", "--scope", "m"], "scope 'm' is neither"),
        (["--url", "redis://localhost:1", "--out", "x", "--from", "noon"], "--from: 'noon' is no moment"),
        (["--url", "redis://localhost:1", "--out", "x", "--rotate-mb", "0"], "must be a number above 0"),
        (["--url", "redis://localhost:1", "--out", "x", "--block-s", "-1"], "block_s -1 is not in 0..3600"),
        (["--url", "redis://localhost:1", "--out", "x", "--fsync", "often"], "fsync 'often' is not one of"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    result = await run("record", *argv)
    assert result.code == 2
    assert message in one_line(result)


async def test_a_foreign_file_and_a_folder_that_is_not_there_are_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary")
    for name, message in (("notes.txt", "this is no recording"), ("no/day.axlog", "No such file or directory")):
        result = await run("record", "--url", "redis://localhost:1", "--out", str(tmp_path / name))
        assert result.code == 1
        assert message in one_line(result)


def _in_redis(log: LayoutWriter, key: str) -> list[bytes]:
    return [fields[b"e"] for _, fields in log.client.xrange(Layout().base("m0") + key)]


def _of(path: Path, log: str) -> list[bytes]:
    with Recording(path) as recording:
        return [raw for lane, raws in recording.runs() if lane.log == log for raw in raws]


def _count(path: Path) -> int:
    if not path.exists() or not path.stat().st_size:
        return 0
    with Recording(path) as recording:
        return recording.count


async def _grown(path: Path, count: int) -> None:
    async with asyncio.timeout(30):
        while _count(path) < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

from agentexchange.recording import Recording, RecordingError, RotatingWriter, RotationOptions, WriterOptions
from agentexchange.recording.rotation import rotated_files
from agentexchange_schemas.envelope import encode
from tests.bridge.cli._run import one_line, run, start
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, tick, ticks, write

if TYPE_CHECKING:
    from pathlib import Path

    from agentexchange.recording import Lane
    from tests._servers import RedisServer

CANDLE = encode("candles:BTCUSDT:1m", 7, 1, None, START_US + 50_500, {"symbol": "BTCUSDT", "close": "1"})
GAP = encode("status", 0, None, None, START_US + 1, {"scope": "m0", "state": "connecting", "cause": "trimmed"})


def day(path: Path, first: int = 0, last: int = 100, **changes: bytes) -> Path:
    """What a recorder of this log has that ran for a part of it; ``t5=`` puts another event in place of the fifth."""
    raws = [changes.get(f"t{number}", tick(number)) for number in range(first, last)]
    return write(path, [(MARKET, raws), (CANDLES, [CANDLE])])


async def diff(*argv: Any) -> tuple[int, str]:
    result = await run("diff", *map(str, argv), key=None)
    return result.code, result.out + result.err


async def test_the_same_log_recorded_twice_is_the_same_and_exit_code_0(tmp_path: Path) -> None:
    a = day(tmp_path / "a.axlog")
    raws = ticks(100)
    parts: list[tuple[Lane, list[bytes]]] = [(CANDLES, [CANDLE]), (MARKET, raws[:1]), (MARKET, raws[1:])]
    b = write(tmp_path / "b.axlog", [*parts, (MARKET._replace(log="recorder", log_id=""), [GAP])])
    code, out = await diff(a, b)
    assert code == 0
    assert out.splitlines()[-1] == "the same: 101 events of 2 topics"


async def test_where_they_part_is_told_with_both_sides_and_exit_code_1(tmp_path: Path) -> None:
    a = day(tmp_path / "a.axlog")
    b = day(tmp_path / "b.axlog", t7=tick(7, price="9.1"), t50=tick(50, symbol="ETHUSDT"))
    code, out = await diff(a, b)
    assert code == 1
    assert "first difference: m0 ticker:BTCUSDT #8, received 2026-11-22T09:55:18.007000Z" in out
    assert '  a: data.price="7.50000000"\n  b: data.price="9.1"' in out
    rows = [line.split() for line in out.splitlines()]
    assert ["m0", "ticker:BTCUSDT", "98", "1", "0", "1"] in rows
    assert ["m0", "ticker:ETHUSDT", "0", "0", "1", "0"] in rows
    assert out.splitlines()[-1] == "they differ in 2 of 3 topics"


async def test_one_json_object_has_the_first_event_of_both_and_every_topic(tmp_path: Path) -> None:
    a, b = day(tmp_path / "a.axlog"), day(tmp_path / "b.axlog", 10)
    code, out = await diff(a, b, "--json")
    found = json.loads(out)
    assert (code, found["same"], found["events"], found["common"]) == (1, False, {"a": 101, "b": 91}, None)
    assert (found["first"]["seq"], found["first"]["b"], found["first"]["differing"]) == (1, None, [])
    assert found["first"]["a"]["data"]["price"] == "0.50000000"
    assert found["topics"][1] == {
        "scope": "m0", "topic": "ticker:BTCUSDT", "same": 90, "only_a": 10, "only_b": 0, "different": 0,
    }  # fmt: skip


async def test_one_that_began_later_and_one_that_ended_earlier_agree_on_the_time_they_share(tmp_path: Path) -> None:
    a, b = day(tmp_path / "a.axlog", 0, 90), day(tmp_path / "b.axlog", 30, 100)
    assert (await diff(a, b))[0] == 1
    code, out = await diff(a, b, "--common", "--margin", "0")
    assert code == 0
    assert "compared of m0: 2026-11-22T09:55:18.030000Z to 2026-11-22T09:55:18.089000Z" in out
    assert "the same: 61 events" in out
    narrower = await diff(a, b, "--common", "--margin", "0.02")
    assert "compared of m0: 2026-11-22T09:55:18.050000Z to 2026-11-22T09:55:18.069000Z" in narrower[1]
    code, out = await diff(a, b, "--common")
    assert code == 2
    assert "not more than twice --margin: it is left out" in out
    hole = day(tmp_path / "c.axlog", 30, 100, t40=tick(40, symbol="ETHUSDT"))
    assert (await diff(a, hole, "--common", "--margin", "0"))[0] == 1


async def test_what_was_rotated_away_belongs_to_a_recording(tmp_path: Path) -> None:
    a = day(tmp_path / "a.axlog")
    raws, now = ticks(100), [0.0]
    options = WriterOptions(fsync="never", wall=lambda: now[0])
    rotation = RotationOptions(max_bytes=1, wall=lambda: now[0])
    with RotatingWriter(tmp_path / "b.axlog", rotation=rotation, options=options) as writer:
        for at in range(0, 100, 20):
            now[0] += 60
            writer.add(MARKET, raws[at : at + 20])
            if at == 40:
                writer.add(CANDLES, [CANDLE])
            writer.flush()
            writer.tick()
        assert writer.files > 2
    assert (await diff(a, tmp_path / "b.axlog", "--rotated"))[0] == 0
    assert (await diff(a, tmp_path / "b.axlog"))[0] == 1


async def test_a_choice_of_topics_scopes_and_moments_is_compared(tmp_path: Path) -> None:
    a = write(tmp_path / "a.axlog", [(MARKET, ticks(20)), (ACCOUNT, [tick(5, symbol="X")])])
    b = write(tmp_path / "b.axlog", [(MARKET, [*ticks(10), *(tick(n, price="1") for n in range(10, 20))])])
    assert (await diff(a, b, "--scope", "m0", "--to", "2026-11-22T09:55:18.010Z"))[0] == 0
    assert (await diff(a, b, "--scope", "m0"))[0] == 1
    assert (await diff(a, b, "--topic", "ticker:X"))[0] == 1
    assert (await diff(a, b, "--topic", "ticker:ETHUSDT"))[0] == 0
    code, out = await diff(a, b, "--common", "--margin", "0", "--from", "2026-11-22T09:55:18.010Z")
    assert code == 1
    assert "only one of them has a-00000000000000000000000000000000: it is left out" in out


async def test_written_anew_can_be_left_out_of_account(tmp_path: Path) -> None:
    anew = encode("ticker:BTCUSDT", 8, 6, None, START_US + 5000, {"symbol": "BTCUSDT"}, START_US)
    was = encode("ticker:BTCUSDT", 7, 6, None, START_US + 5000, {"symbol": "BTCUSDT"})
    a, b = day(tmp_path / "a.axlog", t5=was), day(tmp_path / "b.axlog", t5=anew)
    assert (await diff(a, b))[0] == 1
    assert (await diff(a, b, "--ignore", "written"))[0] == 1
    assert (await diff(a, b, "--ignore", "written", "--ignore", "epoch"))[0] == 0


async def test_trouble_is_exit_code_2_since_1_is_for_recordings_that_differ(tmp_path: Path) -> None:
    a = day(tmp_path / "a.axlog")
    (tmp_path / "text.axlog").write_text("nothing of the kind, and longer than a header")
    damaged = day(tmp_path / "damaged.axlog")
    damaged.write_bytes(damaged.read_bytes()[:-300])
    for argv, message in [
        ((a, tmp_path / "nowhere.axlog"), "nowhere.axlog: No such file or directory"),
        ((a, tmp_path / "text.axlog"), "text.axlog: "),
        ((a, a, "--ignore", "price"), "argument --ignore: invalid choice"),
        ((a, a, "--topic", "x"), "topic 'x' is not valid"),
        ((a, a, "--from", "noon"), "--from: 'noon' is no moment"),
        ((a, a, "--top", "0"), "must be a number from 1 on"),
        ((a, a, "--margin", "-1"), "must be a number from 0 to 3600"),
        ((a,), "the following arguments are required: B"),
    ]:
        result = await run("diff", *map(str, argv), key=None)
        assert result.code == 2, argv
        assert message in one_line(result)
    code, out = await diff(a, damaged)
    assert code == 1
    assert "bytes at its end are missing" in out


TOPICS = ["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"]


async def _write_until(log: LayoutWriter, *recordings: Path, seconds: float) -> None:
    """Events over at least so much of their own time, until the last one is in every recording."""
    for _ in range(30):
        log.received_us += round(seconds / 30 * 1e6)
        await asyncio.to_thread(log.bulk, TOPICS, 60)
    async with asyncio.timeout(30):
        while not all(_newest_us(path) >= log.received_us for path in recordings):
            await asyncio.to_thread(log.bulk, TOPICS, 3)  # one that has only just begun needs another event
            await asyncio.sleep(0.05)


def _newest_us(path: Path) -> int:
    newest = 0
    for file in [*rotated_files(path), path]:
        with contextlib.suppress(FileNotFoundError, RecordingError), Recording(file) as recording:
            newest = max(newest, recording.last_us or 0)
    return newest


async def test_two_recorders_of_one_log_have_the_same_whenever_they_were_started_rotated_and_killed(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    log = LayoutWriter(redis_server.url)
    log.install()
    a, b = tmp_path / "a.axlog", tmp_path / "b.axlog"
    flags = ("--url", redis_server.url, "--block-s", "0")
    await _write_until(log, seconds=1)
    async with start("record", *flags, "--out", str(a), "--rotate-mb", "0.02", key=None) as one:
        await _write_until(log, a, seconds=3)
        async with start("record", *flags, "--out", str(b), key=None) as other:
            await _write_until(log, a, b, seconds=10)
            os.kill(other.pid, signal.SIGKILL)
        await _write_until(log, a, seconds=3)
        async with start("record", *flags, "--out", str(b), key=None) as other:
            await _write_until(log, a, b, seconds=10)
            assert await one.end() == 0
            await _write_until(log, b, seconds=3)
            assert await other.end() == 0
    log.close()
    code, out = await diff(a, b, "--rotated", "--common")
    assert code == 0, out
    assert int(re.findall(r"the same: ([\d,]+) events of 3 topics", out)[0].replace(",", "")) > 1000
    assert (await diff(a, b, "--rotated"))[0] == 1


async def test_what_is_no_event_is_trouble(tmp_path: Path) -> None:
    odd = tick(3).replace(b"\xa1d\x83", b"\xa1d\x93")  # a list in place of the fields
    a, b = day(tmp_path / "a.axlog"), day(tmp_path / "b.axlog", t3=odd)
    result = await run("diff", str(a), str(b), key=None)
    assert (result.code, "envelope" in one_line(result)) == (2, True)

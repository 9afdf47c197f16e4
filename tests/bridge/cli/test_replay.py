"""``agentexchange replay``: starts, says where and when it ends, stops cleanly, and refuses in one line."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.bridge.cli._run import KEY, one_line, run, start
from tests.integration._system import eventually
from tests.sdk.recording._samples import write
from tests.sdk.serving._recorded import (
    ACCOUNT,
    MARKET,
    OTHER_ACCOUNT,
    live_frame,
    order,
    recorded,
    ticks,
)
from tests.sdk.serving._recorded import (
    KEY as RECORDED_KEY,
)
from tests.sdk.testing._bare import bare

if TYPE_CHECKING:
    from pathlib import Path

    from agentexchange_bridge.demo._processes import Process

STRANGER = "ak_live_stranger"


async def url_of(process: Process) -> str:
    return (await process.wait_line(r"ws://127\.0\.0\.1:\d+"))[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_tells_the_end_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    raws = ticks(300)
    path = recorded(tmp_path, (MARKET, raws))
    async with start("replay", str(path), "--serve", "0", "--speed", "0", key=None) as process:
        url = await url_of(process)
        span = "2026-11-22T09:55:18.000000Z to 2026-11-22T09:55:18.299000Z"
        told = f"{span}, topics: 1, accounts: none; as fast as clients read, a position for each connection"
        await process.wait_line(rf"^recording day\.axlog \(live\) on {url}  {told}$")
        async with bare(url, key=STRANGER) as client:
            await client.subscribe("ticker_all")
            assert [await client.raw() for _ in raws] == [live_frame(raw) for raw in raws]
            await process.wait_line(r"^client 1: the recording has ended, 300 events in \d")
            os.kill(process.pid, number)
            assert await client.close_code() == 1012
        await eventually(lambda: process.has_ended)  # before anything else is sent: a second signal is an order
        assert await process.end() == 0


async def test_span_dialect_clock_and_several_files(tmp_path: Path) -> None:
    raws = ticks(30)
    first = recorded(tmp_path, (MARKET, raws[:10]), name="day-1.axlog")
    second = recorded(tmp_path, (MARKET, raws[10:]), name="day.axlog")
    flags = ("--from", "ticker:BTCUSDT@5001", "--to", "2026-11-22T09:55:18.020Z", "--dialect", "page", "--shared-clock")
    async with start("replay", str(first), str(second), "--serve", "0", *flags, "--at-end", "close") as process:
        url = await url_of(process)
        await process.wait_line(r"^recording day-1\.axlog, day\.axlog \(page\).*; 1x, one clock for all$")
        async with bare(url, key=STRANGER, path="/") as client:
            await client.subscribe("ticker", symbol="all")
            prices = [(await client.next())["price"] for _ in range(15)]
            assert await client.close_code() == 1000
        await process.wait_line(r"^all clients: the recording has ended, 15 events")
    assert prices == [f"{number}.50000000" for number in range(5, 20)]


async def test_the_key_of_the_environment_stands_in_for_the_recorded_account(tmp_path: Path) -> None:
    path = recorded(tmp_path, (ACCOUNT, [order(1, ms=0)]))
    async with start("replay", str(path), "--serve", "0", "--only-known-keys") as process:
        url = await url_of(process)
        for key in (KEY.replace("/", "%2F").replace("+", "%2B"), RECORDED_KEY):
            async with bare(url, key=key) as client:
                await client.subscribe("portfolio")
                assert await client.raw() == live_frame(order(1, ms=0))
        with pytest.raises(Exception, match="403"):
            async with bare(url, key=STRANGER):
                pass


async def test_one_of_several_accounts(tmp_path: Path) -> None:
    path = recorded(tmp_path, (ACCOUNT, [order(1, ms=0)]), (OTHER_ACCOUNT, [order(2, ms=1)]))
    file = tmp_path / "key"
    file.write_text("ak_live_mine\n")
    choice = ("--api-key-file", str(file), "--account", OTHER_ACCOUNT.scope[:12])
    async with (
        start("replay", str(path), "--serve", "0", *choice) as process,
        bare(await url_of(process), key="ak_live_mine") as client,
    ):
        await client.subscribe("orders")
        assert await client.raw() == live_frame(order(2, ms=1))
    refused = await run("replay", str(path), "--serve", "0")
    assert refused.code == 2
    line = one_line(refused)
    assert "several accounts are recorded" in line
    assert ACCOUNT.scope in line
    assert OTHER_ACCOUNT.scope in line


async def test_a_cut_file_is_played_as_far_as_it_goes_and_what_is_missing_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "day.axlog", [(MARKET, ticks(10))], close=False)
    with path.open("ab") as file:
        file.write(b"BLCK\x10\x00\x00\x00\xff\x00\x00\x00")
    async with start("replay", str(path), "--serve", "0", "--speed", "0") as process:
        await process.wait_line(r"^replay: .*day\.axlog: 12 bytes at its end are missing")
        async with bare(await url_of(process), key=STRANGER) as client:
            await client.subscribe("ticker_all")
            assert [await client.raw() for _ in range(10)] == [live_frame(raw) for raw in ticks(10)]
            await process.wait_line("client 1: the recording has ended, 10 events")
        assert await process.end() == 0


async def test_damage_is_told_behind_all_that_is_good_and_the_exit_code_is_1(tmp_path: Path) -> None:
    raws = ticks(100)
    path = recorded(tmp_path, (MARKET, raws[:50]), (MARKET, raws[50:]))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"BLCK") + 400] ^= 0xFF
    path.write_bytes(bytes(content))
    async with start("replay", str(path), "--serve", "0", "--speed", "0") as process:
        async with bare(await url_of(process), key=STRANGER) as client:
            await client.subscribe("ticker_all")
            assert [await client.raw() for _ in range(50)] == [live_frame(raw) for raw in raws[:50]]
            await process.wait_line(r"^replay: client 1: the recording cannot be read on after 50 events in .*checksum")
            await client.proves_silent()
        assert await process.end() == 1


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ((), 2, r"replay: name the port to play it at: --serve 8000 \(.*file:///.*day\.axlog"),
        (("--serve", "70000"), 2, "argument --serve: must be 0 to 65535"),
        (("--serve", "0", "--speed", "-1"), 2, "argument --speed: must be 0, or a factor"),
        (("--serve", "0", "--speed", "fast"), 2, "argument --speed: must be 0, or a factor"),
        (("--serve", "0", "--from", "soon"), 2, "replay: start: 'soon' is no moment"),
        (("--serve", "0", "--from", "ticker:BTCUSDT@7"), 2, "replay: start: there is no event ticker:BTCUSDT@7"),
        (("--serve", "0", "--from", "2030-01-01"), 2, "replay: the start lies behind the recording's last event"),
        (("--serve", "0", "--to", "2020-01-01"), 2, "replay: the end lies before all that would be played"),
        (("--serve", "0", "--account", "a-0"), 2, "replay: --account says whose orders a key gets"),
        (("--serve", "0", "--api-key-file", "/nowhere"), 2, "replay: /nowhere: No such file"),
        (("--serve", "0", "--host", "192.0.2.1"), 1, "replay: cannot listen on 192.0.2.1:0: "),
    ],
)
async def test_what_cannot_be_is_one_line(tmp_path: Path, flags: tuple[str, ...], code: int, words: str) -> None:
    path = recorded(tmp_path, (MARKET, ticks(3)))
    result = await run("replay", str(path), *flags, key=None)
    assert result.code == code
    assert re.search(words, one_line(result))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no recording at all", "this is no recording"),
        (b"\x89AXLOG\r\n\x63\x00\x00\x00\x00\x00", "format version 99, and this release reads 1"),
        (b"", "this is no recording"),
        (None, "No such file or directory"),
    ],
    ids=["foreign", "future", "empty", "missing"],
)
async def test_files_that_cannot_be_played_are_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "day.axlog"
    if content is not None:
        path.write_bytes(content)
    result = await run("replay", str(path), "--serve", "0")
    assert result.code == 1
    line = one_line(result)
    assert words in line
    assert str(path) in line


async def test_a_recording_without_events_is_one_line(tmp_path: Path) -> None:
    result = await run("replay", str(recorded(tmp_path)), "--serve", "0")
    assert (result.code, one_line(result)) == (
        2,
        "agentexchange: replay: the recording is empty: there is nothing to play\n",
    )


async def test_a_taken_port_is_one_line_and_exit_1(tmp_path: Path) -> None:
    path = recorded(tmp_path, (MARKET, ticks(3)))
    async with start("replay", str(path), "--serve", "0") as process:
        port = (await url_of(process)).rpartition(":")[2]
        result = await run("replay", str(path), "--serve", port)
    assert result.code == 1
    assert one_line(result) == f"agentexchange: replay: cannot listen on 127.0.0.1:{port}: Address already in use\n"

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.bridge.cli._run import CLI, KEY, one_line, run, start

if TYPE_CHECKING:
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


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["tik:BTCUSDT"], "topic 'tik:BTCUSDT' is not valid: use ticker:SYMBOL"),
        (["candles:BTCUSDT:2m"], "interval '2m' is not valid"),
        (["ticker:all", "--url", "ftp://x"], "must begin with ws://"),
        (["ticker:all", "--count", "0"], "must be a number from 1 on"),
        ([], "the following arguments are required: TOPIC"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    result = await run("tail", *argv)
    assert result.code == 2
    assert message in one_line(result)

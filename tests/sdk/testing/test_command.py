"""The command: starts, says where, stops cleanly, and refuses in one line."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys

import pytest

from agentexchange.testing import SandboxExchange
from agentexchange.testing._command import add_arguments, run
from tests.sdk.testing._bare import bare

PROGRAM = (
    "import argparse, sys; from agentexchange.testing._command import add_arguments, run;"
    "parser = argparse.ArgumentParser(); add_arguments(parser); sys.exit(run(parser.parse_args()))"
)


def arguments(*args: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(args)


async def start(*args: str) -> tuple[asyncio.subprocess.Process, str]:
    """The command as a process, and the first line it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", PROGRAM, "--port", "0", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return process, (await process.stdout.readline()).decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_and_stops_cleanly(number: signal.Signals) -> None:
    process, line = await start("--rate", "200", "--pairs", "10", "--push-candles", "--order-rate", "5")
    try:
        assert "ak_live_sandbox" in line
        found = re.search(r"ws://127\.0\.0\.1:\d+", line)
        assert found is not None
        async with bare(found[0]) as client:
            await client.send({"action": "subscribe", "channel": "ticker_all"})
            process.send_signal(number)
            assert await client.close_code() == 1012
        async with asyncio.timeout(30):
            _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_given_keys_are_taken_and_not_printed() -> None:
    process, line = await start("--rate", "0", "--pairs", "2", "--api-key", "ak_one", "--api-key", "ak_two")
    try:
        assert "ak_one" not in line
        assert "2 given" in line
        url = line.split("ws://")[1].split()[0]
        for key in ("ak_one", "ak_two"):
            async with bare(f"ws://{url}", key=key) as client:
                assert (await client.subscribe("orders"))["type"] == "subscribed"
    finally:
        process.terminate()
        await process.communicate()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--pairs", "0"), "pairs must be 1 to"),
        (("--rate", "-5"), "rate must be 0 to"),
        (("--port", "99999"), "port must be 0 to 65535"),
        (("--order-rate", "nan"), "order_rate must be 0 to"),
        (("--api-key", ""), "api_keys must be"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(*args)) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.count("\n") == 1
    assert words in errors


async def test_a_taken_port_is_one_line_and_exit_1() -> None:
    async with SandboxExchange(rate=0, pairs=1) as other:
        process, line = await start("--port", str(other.port))
        async with asyncio.timeout(30):
            _, errors = await process.communicate()
    assert (process.returncode, line) == (1, "")
    words = f"agentexchange sandbox: cannot listen on 127.0.0.1:{other.port}: Address already in use"
    assert errors.decode().splitlines() == [words]

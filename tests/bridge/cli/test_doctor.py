from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.bridge.cli._run import one_line, run

if TYPE_CHECKING:
    from agentexchange.testing import SandboxExchange
    from tests._servers import RedisServer


async def test_warnings_are_exit_code_0_and_say_how_to_fix(redis_server: RedisServer) -> None:
    result = await run("doctor", "--redis-url", redis_server.url)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("ok     server: ")
    at = next(number for number, line in enumerate(lines) if line.startswith("warn   persistence: "))
    assert lines[at + 1] == "       fix: CONFIG SET appendonly yes, and the same in redis.conf"


async def test_a_failure_is_exit_code_1_also_as_json(
    redis_server: RedisServer, sandbox_exchange: SandboxExchange
) -> None:
    result = await run(
        "doctor", "--json", key="ak_unknown",
        AGENTEXCHANGE_REDIS_URL=redis_server.url, AGENTEXCHANGE_UPSTREAM_URL=sandbox_exchange.url,
    )  # fmt: skip
    assert result.code == 1
    found = [json.loads(line) for line in result.out.splitlines()]
    assert all(set(finding) == {"check", "level", "found", "fix"} for finding in found)
    assert [finding["check"] for finding in found if finding["level"] == "fail"] == ["platform"]
    assert "ak_unknown" not in result.out + result.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give --redis-url, --upstream-url or both"),
        (["--redis-url", "http://:s3cret@x"], "doctor: "),
        (["--redis-url", "redis://x", "--api-key-file", "/nowhere"], "/nowhere: No such file"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    result = await run("doctor", *argv)
    assert result.code == 2
    assert message in one_line(result)
    assert "s3cret" not in result.err

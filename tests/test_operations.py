"""What docs/operations.md and docs/cli.md say is so: settings, metrics and commands are listed, the ACL rules work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from agentexchange import AsyncLatestReader
from agentexchange._urls import redis_url
from agentexchange.redis import RespStream
from agentexchange_bridge.acl import PASSWORD_PLACEHOLDER, acl_rules
from agentexchange_bridge.cli._commands import COMMANDS
from agentexchange_bridge.metrics import PREFIX, BatchMetrics, WorkerCollector
from agentexchange_bridge.settings import ENV_PREFIX, BridgeSettings, flag_of
from agentexchange_bridge.stats import ScopeStats, WorkerStats
from tests.bridge.cli._run import KEY, run, start

if TYPE_CHECKING:
    from agentexchange.testing import SandboxExchange
    from tests._servers import RedisServer

DOCS = Path(__file__).parents[1] / "docs"
OPERATIONS = (DOCS / "operations.md").read_text()
CLI = (DOCS / "cli.md").read_text()


def test_the_table_of_settings_is_complete_and_tells_the_defaults() -> None:
    rows = {}
    for line in OPERATIONS.splitlines():
        if line.startswith("| `--"):
            flag, variable, name, default, meaning = (cell.strip() for cell in line.strip("|").split(" | "))
            rows[name.strip("`")] = (flag, variable.strip("`"), default.strip("`"), meaning)
    assert set(rows) == set(BridgeSettings.model_fields) - {"api_key", "api_secret", "accounts"}
    for name, (flag, variable, default, meaning) in rows.items():
        field = BridgeSettings.model_fields[name]
        assert f"`{flag_of(name)}`" in flag
        assert variable == f"{ENV_PREFIX}{name.upper()}"
        assert meaning == field.description
        assert default == shown(field.default)


def shown(default: object) -> str:
    match default:
        case None:
            return ""
        case bool():
            return "yes" if default else "no"
        case tuple():
            return " ".join(map(str, default))
    return str(default)


def test_the_table_of_metrics_is_complete() -> None:
    registry = CollectorRegistry()
    stats = WorkerStats(scopes={"m0": ScopeStats("m0")})
    registry.register(WorkerCollector(stats))
    BatchMetrics(registry)
    exposed = {
        family.name.removeprefix(PREFIX) + ("_total" if family.type == "counter" else "")
        for family in registry.collect()
    }
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", OPERATIONS.partition("## Metrics")[2], re.MULTILINE))
    assert documented == exposed


def test_the_example_file_is_valid() -> None:
    example = re.search(r"```toml\n(.*?)```", OPERATIONS, re.DOTALL)
    assert example is not None
    BridgeSettings(**tomllib.loads(example[1]))


def test_every_command_is_told_of_with_its_extra() -> None:
    for command in COMMANDS:
        row = re.search(rf"^\| `agentexchange {command.name}` \| (.*?) \|", CLI, re.MULTILINE)
        assert row is not None, command.name
        assert (f"agentexchange[{command.extra}]" in row[1]) is bool(command.extra) or command.name == "tail"


def test_the_rules_shown_are_those_that_the_bridge_prints() -> None:
    assert dict(re.findall(r"^user (\w+) (.*)$", OPERATIONS, re.MULTILINE)) == acl_rules("ax", "a-ID")


async def create_users(server: RedisServer, password: str) -> None:
    """From what the command prints."""
    printed = await run("bridge", "--print-acl")
    assert (printed.code, printed.err) == (0, "")
    stream = await RespStream.connect(redis_url(server.url))
    for line in printed.out.splitlines():
        word, name, *rules = line.replace(PASSWORD_PLACEHOLDER, password).split()
        assert word == "user"
        await stream.command("ACL", "SETUSER", name, *rules)
    stream.close()


@pytest.mark.every_server
@pytest.mark.sandbox_exchange(rate=300, pairs=5, api_keys=(KEY,), order_rate=20)
async def test_the_acl_rules_let_each_do_its_work_and_no_more(
    redis_server: RedisServer, sandbox_exchange: SandboxExchange
) -> None:
    await create_users(redis_server, "pw-documented")

    def url(user: str) -> str:
        return redis_server.url.replace("redis://", f"redis://{user}:pw-documented@")

    flags = ("--upstream-url", sandbox_exchange.url, "--redis-url", url("bridge"), "--http", "off")
    async with start("bridge", *flags) as bridge:
        await bridge.wait_line('"state": "live"')
        tail = ("tail", "--url", url("crew"), "--count", "30")
        for topics in (("ticker:all",), ("ticker:BTCUSDT", "candles:BTCUSDT:1m"), ("orders", "portfolio")):
            result = await run(*tail, *topics)
            assert (result.code, len(result.out.splitlines())) == (0, 30), result.err
        async with AsyncLatestReader(url("crew"), KEY) as latest:
            assert (await latest.ticker("BTCUSDT")).data["price"]
            assert (await latest.portfolio()).data["total_equity"]
        report = await run("doctor", "--redis-url", url("doctor"))
        assert report.code == 0, report.out
        assert "CONFIG GET is not allowed" not in report.out
        assert await bridge.end() == 0
        assert not any("NOPERM" in line for line in bridge._lines)
    stream = await RespStream.connect(redis_url(url("crew")))
    for command in (("SET", "ax:{m0}:lease", "x"), ("KEYS", "*"), ("GET", "ax:{a-0}:latest:portfolio"), ("FLUSHALL",)):
        with pytest.raises(Exception, match="NOPERM"):
            await stream.command(*command)
    stream.close()

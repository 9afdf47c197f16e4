"""What docs/operations.md and docs/cli.md say is so: settings, metrics and commands are listed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from prometheus_client import CollectorRegistry

from agentexchange_bridge.cli._commands import COMMANDS
from agentexchange_bridge.metrics import PREFIX, BatchMetrics, WorkerCollector
from agentexchange_bridge.settings import ENV_PREFIX, BridgeSettings, flag_of
from agentexchange_bridge.stats import ScopeStats, WorkerStats

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
    stats = WorkerStats(scopes={"m0": ScopeStats("m0")}, clock_ahead_us=0)
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

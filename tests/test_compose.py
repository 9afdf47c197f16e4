"""compose.yaml without a container engine: valid by the Compose specification, and every command really starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from compose_spec import PyOptions

from agentexchange_bridge.demo._processes import Process, child_environment
from agentexchange_bridge.demo._stage import http_get
from agentexchange_bridge.http import HttpAddress
from tests._patience import PATIENCE_S
from tests._servers import free_port, server_binaries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "compose.yaml").read_text()


def interpolated(text: str) -> str:
    """With the default of every ``${NAME:-default}``: whatever is set, a plain ``docker compose up`` works."""
    filled = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)
    assert "$" not in filled
    return filled


def validate(text: str) -> None:
    PyOptions(apply_merge=True).from_yaml(interpolated(text)).validate()


def services() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(interpolated(TEXT))["services"]
    return loaded


def test_it_is_valid_by_the_compose_specification() -> None:
    validate(TEXT)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("condition: service_healthy", "condition: service_healed"),
        ("read_only: true", "readonly: true"),
        ("replicas: 2", "replicas: two"),
        ("stop_grace_period: 20s", "stop_grace_period: soon"),
        ("interval: 2s", "intervall: 2s"),
        ('ports: ["', 'ports: ["x:'),
    ],
)
def test_the_validation_would_notice(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(ValueError, match=r"."):
        validate(TEXT.replace(right, wrong))


def test_named_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in services().values() for volume in service.get("volumes", [])}
    assert used == set(yaml.safe_load(interpolated(TEXT))["volumes"])


def test_redis_keeps_what_it_is_given() -> None:
    command = services()["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert re.fullmatch(r"\d+(mb|gb)", options["--maxmemory"])
    assert "healthcheck" in services()["redis"]
    assert all(port.startswith("127.0.0.1:") for port in services()["redis"]["ports"])


def test_one_worker_stands_by_and_the_crew_is_three() -> None:
    assert services()["bridge"]["deploy"]["replicas"] == 2
    assert services()["crew"]["deploy"]["replicas"] == 3


def test_ports_are_open_on_this_machine_alone() -> None:
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(ports) == {"redis", "inspector"}
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)


def test_images_are_built_of_stages_that_there_are() -> None:
    stages = {line.split()[-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if " AS " in line}
    built = {service["image"]: service["build"] for service in services().values() if "build" in service}
    assert built == {
        "agentexchange:local": ".",
        "agentexchange-inspector:local": {"context": ".", "target": "inspector"},
    }
    assert "inspector" in stages


def test_every_dependency_is_a_service_and_waits_for_a_health_check_that_exists() -> None:
    for name, service in services().items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services(), name
            if how["condition"] == "service_healthy":
                assert "test" in services()[needed]["healthcheck"]


def test_the_image_is_slim_and_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    stages = {line.split()[-1] for line in lines if " AS " in line}
    bases = {line.split()[1] for line in lines if line.startswith("FROM")} - stages
    assert len(bases) == 1
    assert all(base.startswith("python:3.") and base.endswith("-slim") for base in bases)
    finals = [line.split() for line in lines if line.startswith("FROM")]
    assert finals[-1] == ["FROM", "base"], "without a target it is the worker"
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users
    assert users[-1] not in ("root", "0")


def test_everything_that_the_image_copies_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    kept = {line[1:] for line in ignored if line.startswith("!")}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists()
                assert source.split("/")[0] in kept


# Each service's command as a local process


class Installation:
    """The services of compose.yaml on this machine: same commands, other addresses."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.redis, self.sandbox, self.inspector = free_port(), free_port(), free_port()

    def here(self, text: str) -> str:
        """An address of the compose network as one of this machine."""
        moved = text.replace("redis:6379", f"127.0.0.1:{self.redis}").replace(
            "sandbox:8000", f"127.0.0.1:{self.sandbox}"
        )
        return moved.replace("0.0.0.0:9464", "127.0.0.1:0").replace("0.0.0.0", "127.0.0.1")

    async def start(self, name: str, *more: str, **environment: str) -> Process:
        service = services()[name]
        argv = [self.here(str(part)) for part in service["command"]]
        programs = {
            "agentexchange": [sys.executable, "-m", "agentexchange_bridge"],
            "python": [sys.executable],
            "redis-server": [server_binaries()["valkey"]],
        }
        argv = [*programs[argv[0]], *argv[1:], *more]
        variables = {key: self.here(value) for key, value in service.get("environment", {}).items()}
        process = Process(name, argv, environment=child_environment(**variables | environment))
        return await self._stack.enter_async_context(process)


@pytest.fixture
async def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    monkeypatch.chdir(ROOT)  # the crew's command names a file below /app
    async with contextlib.AsyncExitStack() as stack:
        yield Installation(tmp_path, stack)


async def healthy(test: list[str], moved: dict[str, str]) -> bool:
    """Run a health check's command once."""
    argv = [sys.executable if part == "python" else part for part in test]
    for old, new in moved.items():
        argv = [part.replace(old, new) for part in argv]
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0


def image_health_check(target: str = "") -> list[str]:
    """That of the stage ``target``; by default of the last one."""
    stages = (ROOT / "Dockerfile").read_text().split("FROM ")
    text = next((stage for stage in stages if stage.splitlines()[0].endswith(f" AS {target}")), stages[-1])
    found = re.search(r"HEALTHCHECK[^\[]*CMD (\[.*\])", text)
    assert found is not None
    argv: list[str] = json.loads(found[1])
    return argv


async def test_every_service_starts_gets_healthy_works_and_ends(installation: Installation, tmp_path: Path) -> None:
    redis = await installation.start("redis", "--port", str(installation.redis), "--dir", str(tmp_path))
    await redis.wait_line("Ready to accept connections")
    sandbox = await installation.start("sandbox", "--port", str(installation.sandbox))
    await sandbox.wait_line("sandbox exchange")
    test = services()["sandbox"]["healthcheck"]["test"]
    assert test[0] == "CMD"
    assert await healthy(test[1:], {"8000": str(installation.sandbox)})

    bridges = [await installation.start("bridge")]
    pages = [await page_of(bridges[0])]
    await until_ready(pages[0], "active")
    while len(bridges) < services()["bridge"]["deploy"]["replicas"]:
        bridges.append(await installation.start("bridge"))
        pages.append(await page_of(bridges[-1]))
        await until_ready(pages[-1], "standby")
    for page in pages:
        assert await healthy(image_health_check(), {"127.0.0.1:9464": str(page)})

    inspector = await installation.start("inspector", "--port", str(installation.inspector))
    await inspector.wait_line(f"open http://127.0.0.1:{installation.inspector}/")
    assert await healthy(image_health_check("inspector"), {"8080": str(installation.inspector)})

    count = services()["crew"]["deploy"]["replicas"]
    crew = [await installation.start("crew", CREW_REPORT_S="0.2") for _ in range(count)]
    for member in crew:
        await member.wait_line(r"^ticks=[1-9]\d* .*BTCUSDT=\d")
    everything = (*crew, inspector, *bridges, sandbox, redis)
    for process in everything:
        assert not process.has_ended, process.name
    assert [await process.end() for process in everything] == [0] * (5 + count)


async def page_of(bridge: Process) -> HttpAddress:
    return HttpAddress.parse((await bridge.wait_line(r'"http://([^"]+)"'))[1])


async def until_ready(page: HttpAddress, role: str) -> None:
    """Return when a worker says that it is ready, in this role."""
    async with asyncio.timeout(PATIENCE_S):
        while f'"ready": true, "role": "{role}"' not in await http_get(page, "/readyz"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def test_the_inspector_takes_the_token_that_is_set_and_needs_no_file(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file system is read-only: what it would write lands in a folder that stays empty."""
    redis = await installation.start("redis", "--port", str(installation.redis), "--dir", str(tmp_path))
    await redis.wait_line("Ready to accept connections")
    (home := tmp_path / "home").mkdir()
    monkeypatch.chdir(home)
    assert services()["inspector"]["environment"]["AGENTEXCHANGE_INSPECT_TOKEN"] == "", "it makes its own"
    environment = {"AGENTEXCHANGE_INSPECT_TOKEN": "a-token-of-the-operator", "HOME": str(home)}
    inspector = await installation.start("inspector", "--port", str(installation.inspector), **environment)
    await inspector.wait_line("open http://")
    assert await healthy(image_health_check("inspector"), {"8080": str(installation.inspector)})
    assert await asyncio.to_thread(status_of, installation.inspector) == 401
    assert list(home.iterdir()) == []
    assert [await process.end() for process in (inspector, redis)] == [0, 0]


def status_of(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().status


def test_the_worker_is_told_the_sandbox_s_key() -> None:
    sandbox, bridge = services()["sandbox"], services()["bridge"]
    key = bridge["environment"]["AGENTEXCHANGE_API_KEY"]
    assert shlex.join(sandbox["command"]).endswith(f"--api-key {key}")

"""That nothing shows a secret is looked at in every test; here, that it would be noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from agentexchange import LatestReader
from agentexchange_bridge.demo._stage import http_get
from agentexchange_bridge.http import HttpAddress
from tests._hygiene import Watch, look_into_redis
from tests.bridge.cli._run import KEY, run, start
from tests.integration._system import eventually

if TYPE_CHECKING:
    from agentexchange.testing import SandboxExchange
    from tests._servers import RedisServer

ROOT = Path(__file__).parents[1]
PLUGIN = """
from tests._hygiene import Hygiene

def pytest_configure(config):
    config.pluginmanager.register(Hygiene(), "hygiene")
"""
LEAKS = """
import asyncio, logging, warnings
import pytest
from agentexchange import ConnectionError

KEY = "ak_" + "live_leaked"

def test_in_a_log():
    logging.getLogger("anybody").warning("using %s", KEY)

def test_in_a_debug_line_of_a_library():
    logging.getLogger("websockets.client").debug("> GET /ws/v1?api_key=%s", KEY)

def test_in_the_arguments_of_a_line_that_masks_them():
    logging.getLogger("agentexchange").info("%.2s", KEY)

def test_in_a_traceback():
    try:
        raise RuntimeError(KEY)
    except RuntimeError:
        logging.getLogger("agentexchange").exception("failed")

def test_on_stdout():
    print(KEY)

def test_in_an_error_that_nobody_prints():
    with pytest.raises(ConnectionError):
        raise ConnectionError("no", code=KEY)

def test_not_at_all():
    logging.getLogger("agentexchange").warning("give a key such as 'ak_live_...'")

@pytest.mark.shows_secret("to see that it may")
def test_on_purpose():
    print(KEY)
"""


def test_a_secret_in_any_place_fails_the_test_and_is_masked(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(PLUGIN)
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -q --strict-markers\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", "-rA", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "8 passed, 6 errors" in run.stdout, run.stdout + run.stderr
    assert run.stdout.count("a secret was shown") >= 6
    for name in ("not_at_all", "on_purpose"):
        assert f"ERROR test_leaks.py::test_{name}" not in run.stdout.replace(str(tmp_path) + "/", "")


def test_what_is_looked_for() -> None:
    watch = Watch()
    for text in ("ak_live_cli_test%2Fkey", "x=sk_secret", "redis://u:pw-of-crew@h", '{"p": "hunter2"}'):
        watch.look(text, "here")
    assert len(watch.take()) == 4
    for text in ("'ak_live_...'", "a task_name", "ask_for", "", "pw"):
        watch.look(text, "here")
    assert watch.take() == []


@pytest.mark.server
@pytest.mark.shows_secret("writes keys on purpose")
@pytest.mark.parametrize("kind", ["name", "string", "hash", "stream", "set", "zset", "connection"])
def test_a_secret_in_redis_is_found(redis_server: RedisServer, kind: str) -> None:
    secret = "ak_live_in_redis"
    with redis.Redis.from_url(redis_server.url, client_name=secret if kind == "connection" else None) as client:
        match kind:
            case "name":
                client.set(f"ax:{secret}", "x")
            case "string":
                client.set("ax:x", secret)
            case "hash":
                client.hset("ax:x", "f", secret)
            case "stream":
                client.xadd("ax:x", {"e": secret})
            case "set":
                client.sadd("ax:x", secret)
            case "zset":
                client.zadd("ax:x", {secret: 1})
            case "connection":
                client.ping()
        watch = Watch()
        look_into_redis(redis_server, watch)
        assert watch.take()


@pytest.mark.server
@pytest.mark.sandbox_exchange(rate=200, pairs=5, api_keys=(KEY,), order_rate=20)
async def test_no_part_of_a_running_system_shows_the_key_or_a_password(
    redis_server: RedisServer, sandbox_exchange: SandboxExchange, caplog: pytest.LogCaptureFixture
) -> None:
    """Logs at their most talkative, metrics, health, commands, reprs, and all that Redis holds."""
    watch = Watch()
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "crew", "on", ">pw-crew", "~*", "&*", "+@all")
    url = redis_server.url.replace("://", "://crew:pw-crew@")
    flags = (
        "--upstream-url",
        sandbox_exchange.url,
        "--redis-url",
        url,
        "--log-level",
        "debug",
        "--http",
        "127.0.0.1:0",
    )
    async with start("bridge", *flags) as bridge:
        address = HttpAddress.parse((await bridge.wait_line(r'"http://([^"]+)"'))[1])
        await bridge.wait_line('"state": "live"')
        for path in ("/metrics", "/healthz", "/readyz"):
            watch.look(await http_get(address, path), path)
        with LatestReader(url, KEY) as latest:
            await eventually(latest.portfolio)
            watch.look(f"{latest!r} {latest.portfolio()!r} {vars(latest)}", "reader")
        for argv in (("tail", "--url", url, "--count", "5", "ticker:all", "orders"), ("doctor", "--redis-url", url)):
            ended = await run(*argv)
            watch.look(ended.out + ended.err, str(argv))
        look_into_redis(redis_server, watch)
        watch.look("\n".join(bridge._lines), "bridge")
    watch.look(caplog.text, "logs")
    assert watch.take() == []

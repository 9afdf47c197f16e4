from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from agentexchange.errors import AuthenticationError
from agentexchange_bridge import cli, service
from agentexchange_bridge.demo._stage import http_get
from agentexchange_bridge.http import HttpAddress
from tests.bridge.cli._run import KEY, one_line, run, start

if TYPE_CHECKING:
    from pathlib import Path

    from agentexchange.testing import SandboxExchange
    from agentexchange_bridge.demo._processes import Process
    from tests._servers import RedisServer

OTHER_KEY = "ak_live_cli_other_account"
pytestmark = pytest.mark.sandbox_exchange(rate=200, api_keys=(KEY, OTHER_KEY), order_rate=5)


async def pages(bridge: Process) -> HttpAddress:
    return HttpAddress.parse((await bridge.wait_line(r'"http://([^"]+)"'))[1])


async def until_ready(address: HttpAddress, role: str) -> None:
    body = json.dumps({"ready": True, "role": role, "reasons": []})
    async with asyncio.timeout(15):
        while body not in (answer := await http_get(address, "/readyz")):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    assert answer.startswith("HTTP/1.1 200")


async def test_it_carries_events_tells_its_health_and_ends_with_0_on_sigterm(
    sandbox_exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    lines: list[str] = []
    async with start("bridge", "--upstream-url", sandbox_exchange.url, "--redis-url", redis_server.url,
                     "--http", "127.0.0.1:0", "--log-level", "debug") as bridge:  # fmt: skip
        bridge._on_line = lines.append
        address = await pages(bridge)
        await until_ready(address, "active")
        assert (await http_get(address, "/healthz")).endswith("\r\n\r\nok\n")
        await sandbox_exchange.control.wait_for_frames("order", 1)
        metrics = await http_get(address, "/metrics")
        assert await bridge.end() == 0
    assert 'agentexchange_bridge_upstream_state{state="live",upstream="market"} 1.0' in metrics
    assert 'agentexchange_bridge_lease_held{scope="m0"} 1.0' in metrics
    assert 'agentexchange_bridge_received_total{kind="ticker"}' in metrics
    assert "process_cpu_seconds_total" in metrics
    assert all(json.loads(line)["level"] for line in lines)
    assert "lease released" in "".join(lines)
    for text in (metrics, "\n".join(lines)):
        assert KEY not in text
        assert "ak_live_cli_test" not in text
    redis = redis_server.url
    assert "no live bridge worker serves it" in (await run("doctor", "--redis-url", redis)).out


async def test_sighup_reads_the_accounts_again_and_a_wrong_file_changes_nothing(
    sandbox_exchange: SandboxExchange, redis_server: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(OTHER_KEY)
    config = tmp_path / "bridge.toml"
    config.write_text("drain_s = 5.0\n")
    lines: list[str] = []
    async with start("bridge", "--upstream-url", sandbox_exchange.url, "--redis-url", redis_server.url,
                     "--http", "127.0.0.1:0", "--config", str(config)) as bridge:  # fmt: skip
        address = await pages(bridge)
        bridge._on_line = lines.append
        await until_ready(address, "active")
        config.write_text('[[account]]\nname = "a b"\n')
        bridge._send(signal.SIGHUP)
        await bridge.wait_line("the settings are not reloaded")
        config.write_text(f'drain_s = 6.0\n[[account]]\nname = "other"\nkey_file = "{tmp_path}/key"\n')
        bridge._send(signal.SIGHUP)
        await bridge.wait_line(r"take effect at the next start.*|.*drain_s")
        await sandbox_exchange.control.wait_for_connections_total(3)
        metrics = await http_get(address, "/metrics")
        assert await bridge.end() == 0
    assert 'upstream="account:other"' in metrics
    assert 'agentexchange_bridge_upstream_sessions_total{upstream="account:default"} 1.0' in metrics
    assert OTHER_KEY not in metrics + "".join(lines)


async def test_a_second_worker_stands_by_ready_and_takes_over(
    sandbox_exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    flags = ("--upstream-url", sandbox_exchange.url, "--redis-url", redis_server.url, "--http", "127.0.0.1:0")
    async with start("bridge", *flags) as first:
        await until_ready(await pages(first), "active")
        async with start("bridge", *flags) as second:
            other = await pages(second)
            await until_ready(other, "standby")
            assert await first.end() == 0
            await until_ready(other, "active")
        await sandbox_exchange.control.wait_for_connections_total(2)


async def test_without_redis_it_waits_unready_and_still_stops_cleanly(sandbox_exchange: SandboxExchange) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://:sEcReT9@127.0.0.1:{nobody.getsockname()[1]}/0"
        async with start("bridge", "--upstream-url", sandbox_exchange.url, "--redis-url", url,
                         "--http", "127.0.0.1:0", "--drain-s", "0.2") as bridge:  # fmt: skip
            address = await pages(bridge)
            answer = await http_get(address, "/readyz")
            assert answer.startswith("HTTP/1.1 503")
            assert "redis: connecting" in answer
            assert (await http_get(address, "/healthz")).startswith("HTTP/1.1 200")
            assert await bridge.end() == 0
            assert "sEcReT9" not in "".join(bridge._lines)


async def test_settings_come_from_file_and_environment(
    sandbox_exchange: SandboxExchange, redis_server: RedisServer, tmp_path: Path
) -> None:
    key, config = tmp_path / "key", tmp_path / "bridge.toml"
    key.write_text(KEY)
    config.write_text(
        f'upstream_url = "{sandbox_exchange.url}"\ntopics = ["ticker:BTCUSDT"]\napi_key_file = "{key}"\nhttp = "off"\n'
    )
    async with start("bridge", key=None, AGENTEXCHANGE_CONFIG=str(config), AGENTEXCHANGE_WORKER_ID="from-env",
                     AGENTEXCHANGE_REDIS_URL=redis_server.url) as bridge:  # fmt: skip
        await sandbox_exchange.control.wait_for_subscriptions("ticker:BTCUSDT")
        await bridge.wait_line('"worker": "from-env"')
        assert await bridge.end() == 0
        assert not any('"http"' in line for line in bridge._lines)


async def test_an_http_address_in_use_is_one_clear_line(redis_server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = await run("bridge", "--redis-url", redis_server.url, "--http", address)
    assert result.code == 1
    assert f"bridge: cannot listen on {address}: " in one_line(result)


async def test_another_layout_in_redis_ends_it_with_1(
    sandbox_exchange: SandboxExchange, redis_server: RedisServer
) -> None:
    flags = ("--upstream-url", sandbox_exchange.url, "--redis-url", redis_server.url, "--http", "127.0.0.1:0")
    async with start("bridge", *flags) as bridge:
        await until_ready(await pages(bridge), "active")
        result = await run("bridge", *flags, "--partitions", "2")
    assert result.code == 1
    assert "partitions, this worker is set to 2" in result.err
    assert "Traceback" not in result.err


async def test_bad_settings_are_exit_code_2(tmp_path: Path) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text('redis-url = "redis://x"')
    result = await run("bridge", "--config", str(config))
    assert result.code == 2
    assert "unknown setting 'redis-url': did you mean 'redis_url'" in one_line(result)
    assert (await run("bridge", key=None)).code == 2


def test_a_refused_key_ends_it_with_1_when_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise AuthenticationError("the platform refuses the API key", status_code=403)

    monkeypatch.setattr(service, "serve", refused)
    monkeypatch.setattr("agentexchange_bridge.logs.configure_logs", lambda **_: None)
    monkeypatch.setenv("AGENTEXCHANGE_API_KEY", KEY)
    assert cli.main(["bridge", "--exit-on-auth-failure"]) == 1
    assert capsys.readouterr().err == "agentexchange: bridge: the platform refuses the API key\n"

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from agentexchange._urls import redis_url, upstream_url
from agentexchange.redis import RespStream
from agentexchange_bridge.doctor import Level, examine
from agentexchange_bridge.doctor._server import CLOCK_FAIL_S, clock, version
from agentexchange_schemas import Layout, account_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange.testing import SandboxExchange
    from agentexchange_bridge.doctor import Finding
    from tests._servers import RedisServer

KEY = SecretStr("ak_live_sandbox")
SCOPE = account_scope(KEY.get_secret_value())


async def findings(
    url: str | None = None, upstream: str | None = None, key: SecretStr | None = None
) -> dict[str, Finding]:
    found = examine(
        redis=redis_url(url) if url else None, upstream=upstream_url(upstream) if upstream else None, api_key=key
    )
    return {finding.check: finding async for finding in found}


async def write(server: RedisServer, *commands: tuple[Any, ...]) -> None:
    stream = await RespStream.connect(redis_url(server.url))
    for command in commands:
        await stream.command(*command)
    stream.close()


async def test_a_well_kept_server_passes_every_check(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(appendonly=True, maxmemory="512mb")
    layout = Layout()
    scopes = ("m0", SCOPE)
    await write(
        server,
        ("HSET", layout.meta, "version", "1", "partitions", "1"),
        *(("SET", layout.lease(scope), "worker/1", "PX", "60000") for scope in scopes),
        *(("HSET", layout.status(scope), "state", "live") for scope in scopes),
    )
    found = await findings(server.url, key=KEY)
    assert {check: finding.level for check, finding in found.items() if finding.level is not Level.OK} == {}
    assert set(found) >= {"server", "clock", "eviction", "persistence", "subscriber buffer", "replicas", "layout"}
    assert "held by worker/1" in found["market m0"].found
    assert KEY.get_secret_value() not in str(found)


async def test_an_empty_server_of_defaults_gets_warnings_with_fixes(redis_server: RedisServer) -> None:
    found = await findings(redis_server.url, key=KEY)
    warned = {check for check, finding in found.items() if finding.level is Level.WARN}
    assert warned == {"eviction", "persistence", "layout", "market m0", f"account {SCOPE[:10]}…"}
    assert all(found[check].fix for check in warned)


@pytest.mark.parametrize(
    ("options", "check", "level"),
    [
        ({"maxmemory": "64mb", "maxmemory-policy": "allkeys-lru"}, "eviction", Level.FAIL),
        ({"maxmemory": "1kb", "maxmemory-policy": "noeviction"}, "eviction", Level.WARN),
        ({"client-output-buffer-limit": "pubsub 1mb 1mb 10"}, "subscriber buffer", Level.WARN),
        ({"client-output-buffer-limit": "pubsub 0 0 0"}, "subscriber buffer", Level.OK),
    ],
)
async def test_settings_that_lose_data_are_found(
    make_redis: Callable[..., RedisServer], options: dict[str, str], check: str, level: Level
) -> None:
    finding = (await findings(make_redis(options=options).url))[check]
    assert finding.level is level
    assert bool(finding.fix) is (level is not Level.OK)


async def test_a_primary_that_goes_on_without_its_replica_is_found(make_redis: Callable[..., RedisServer]) -> None:
    primary = make_redis(options={"repl-diskless-sync-delay": "0"})
    replica = make_redis(options={"replicaof": f"127.0.0.1 {primary.port}"})
    await write(primary, ("WAIT", "1", "8000"))
    assert (await findings(primary.url))["replicas"].level is Level.WARN
    assert "give the URL of the primary" in (await findings(replica.url))["replicas"].fix
    await write(primary, ("CONFIG", "SET", "min-replicas-to-write", "1"))
    assert (await findings(primary.url))["replicas"].level is Level.OK


@pytest.mark.parametrize(
    ("meta", "level"),
    [
        ({"version": "1", "partitions": "2"}, Level.OK),
        ({"version": "2", "partitions": "1"}, Level.FAIL),
        ({"version": "1", "partitions": "x"}, Level.FAIL),
    ],
)
async def test_layout(redis_server: RedisServer, meta: dict[str, str], level: Level) -> None:
    await write(redis_server, ("HSET", "ax:meta", *(part for pair in meta.items() for part in pair)))
    found = await findings(redis_server.url)
    assert found["layout"].level is level
    assert ("market m1" in found) is (level is Level.OK)


async def test_topics_that_are_not_as_their_scope_is_are_named(redis_server: RedisServer) -> None:
    layout = Layout()
    states = json.dumps({f"ticker:P{number}": ["stale", None] for number in range(7)})
    await write(
        redis_server,
        ("SET", layout.lease("m0"), "worker/1", "PX", "60000"),
        ("HSET", layout.status("m0"), "state", "live", "topic_states", states),
    )
    finding = (await findings(redis_server.url))["market m0"]
    assert finding.level is Level.WARN
    assert "ticker:P0 stale" in finding.found
    assert finding.found.endswith("ticker:P4 stale and 2 more")


@pytest.mark.parametrize(
    ("offset_us", "level", "ms", "side"),
    [(0, Level.OK, 0, ""), (-2_000_000, Level.WARN, 2000, "ahead of"), (9_000_000, Level.FAIL, 9000, "behind")],
)
async def test_the_clock_of_a_bridge_is_compared_with_this_machine_s(
    redis_server: RedisServer, offset_us: int, level: Level, ms: int, side: str
) -> None:
    layout = Layout()
    await write(
        redis_server,
        ("SET", layout.lease("m0"), "worker/1", "PX", "60000"),
        ("HSET", layout.status("m0"), "state", "live", "clock_offset_us", offset_us),
    )
    finding = (await findings(redis_server.url))["clock of market m0"]
    assert finding.level is level
    told = re.fullmatch(r"its bridge is (\d+) ms (.*) this machine", finding.found)
    assert told is not None
    assert int(told[1]) == pytest.approx(ms, abs=100)
    assert side in told[2]


async def test_another_prefix_is_looked_at_where_the_url_names_one(redis_server: RedisServer) -> None:
    await write(redis_server, ("HSET", "crew:meta", "version", "1", "partitions", "1"))
    assert (await findings(f"{redis_server.url}?prefix=crew"))["layout"].level is Level.OK
    assert (await findings(redis_server.url))["layout"].level is Level.WARN


@pytest.mark.parametrize(
    ("state", "level"), [("live", Level.OK), ("blind", Level.WARN), ("", Level.WARN), ("auth_failed", Level.FAIL)]
)
async def test_state_of_a_served_scope(redis_server: RedisServer, state: str, level: Level) -> None:
    layout = Layout()
    await write(
        redis_server, ("SET", layout.lease("m0"), "w/7"), ("HSET", layout.status("m0"), "state", state, "message", "m")
    )
    assert (await findings(redis_server.url))["market m0"].level is level


ASKS = ("-@all", "+ping", "+select", "+acl|whoami", "+acl|dryrun", "+info", "+time", "+hgetall", "+get", "+exists")
READS = ("+hget", "+subscribe", "+mget", "+xrange", "+xrevrange", "+xread")


@pytest.mark.parametrize(
    ("rules", "levels", "missing"),
    [
        (("~ax:*", "&ax:*", *ASKS, *READS), {"user 'someone' as a crew": Level.OK}, ""),
        (("~ax:*", "&ax:*", *ASKS, *READS[:-1]), {"user 'someone' as a crew": Level.FAIL}, "XREAD STREAMS"),
        (("~ax:*", "resetchannels", *ASKS, *READS), {"permissions": Level.WARN}, "neither"),
        (("~ax:*", "&ax:*", *ASKS, "+evalsha"), {"user 'someone' as a bridge": Level.FAIL}, "SCRIPT LOAD"),
        (("~ax:*", "&ax:*", *ASKS), {"permissions": Level.WARN}, "neither as a crew nor as a bridge"),
        (("~ax:*", *ASKS, "-acl"), {"permissions": Level.WARN}, "does not let this user ask"),
    ],
)
async def test_rights(
    redis_server: RedisServer, rules: tuple[str, ...], levels: dict[str, Level], missing: str
) -> None:
    await write(redis_server, ("ACL", "SETUSER", "someone", "on", ">pw-of-crew", *rules))
    found = await findings(redis_server.url.replace("redis://", "redis://someone:pw-of-crew@"))
    told = {check: finding for check, finding in found.items() if check.startswith(("user", "permissions"))}
    assert {check: finding.level for check, finding in told.items()} == levels
    assert missing in next(iter(told.values())).found
    assert found["settings"].level is Level.WARN
    assert "pw-of-crew" not in str(found)


async def test_a_wrong_password_and_an_absent_server_are_one_failure_each(redis_server: RedisServer) -> None:
    await write(redis_server, ("CONFIG", "SET", "requirepass", "right"))
    wrong = await findings(redis_server.url.replace("redis://", "redis://:wr0ng@"))
    assert [finding.level for finding in wrong.values()] == [Level.FAIL]
    assert "wr0ng" not in str(wrong)
    redis_server.kill()
    gone = await findings(redis_server.url)
    assert [(finding.check, finding.level) for finding in gone.values()] == [("redis", Level.FAIL)]


@pytest.mark.parametrize(
    ("info", "level"),
    [
        ({"redis_version": "7.0.15"}, Level.OK),
        ({"redis_version": "8.2.1"}, Level.OK),
        ({"redis_version": "7.2.4", "valkey_version": "9.0.0"}, Level.OK),
        ({"redis_version": "6.2.14"}, Level.FAIL),
        ({}, Level.WARN),
    ],
)
def test_versions(info: dict[str, str], level: Level) -> None:
    assert version(info).level is level


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0.0, Level.OK), (-2.0, Level.WARN), (CLOCK_FAIL_S + 1, Level.FAIL), (-3600, Level.FAIL)]
)
async def test_clock(monkeypatch: pytest.MonkeyPatch, ahead_s: float, level: Level) -> None:
    class Server:
        async def command(self, *_: str) -> list[bytes]:
            return [str(int(1_000_000 + ahead_s)).encode(), b"0"]

    monkeypatch.setattr("agentexchange_bridge.doctor._server.time.time", lambda: 1_000_000.0)
    finding = await clock(Server())  # type: ignore[arg-type]
    assert finding.level is level


async def test_the_platform_and_its_word_on_the_key(sandbox_exchange: SandboxExchange) -> None:
    async def platform(key: SecretStr | None) -> Finding:
        return (await findings(upstream=sandbox_exchange.url, key=key))["platform"]

    good = await platform(KEY)
    assert (good.level, "takes the key" in good.found) == (Level.OK, True)
    bad = await platform(SecretStr("ak_wrong_key"))
    assert (bad.level, "refuses the API key" in bad.found) == (Level.FAIL, True)
    assert "ak_wrong_key" not in str(bad)
    assert (await platform(None)).level is Level.WARN


async def test_an_address_where_nobody_or_somebody_else_listens(redis_server: RedisServer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = await findings(upstream=f"ws://127.0.0.1:{nobody.getsockname()[1]}", key=KEY)
    assert "cannot be reached" in away["platform"].found
    other = await findings(upstream=redis_server.url.replace("redis", "ws", 1), key=KEY)
    assert other["platform"].level is Level.FAIL
    assert KEY.get_secret_value() not in str(other) + str(away)

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis

from agentexchange_schemas import Interest, Layout, Topic
from tests._patience import PATIENCE_S
from tests.bridge.cli._run import KEY, one_line, run

if TYPE_CHECKING:
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

LAYOUT = Layout()
TTL_S = 600  # the longest: these programs do not renew
ALICE, BOB = "a-9f86d081884c7d659a2feaa0c55ad015", "a-60303ae22b998861bce3b28f33eec1be"
OPERATOR = ("-@all", "+ping", "+client|setname", "+zrange", "+hstrlen", "+hmget", "+pttl", "%R~ax:*")


def register(client: redis.Redis, account: str, name: str, *topics: str, age_s: int = 65, **changes: Any) -> None:
    """A program as it registers, four seconds ago."""
    since_us = int((time.time() - age_s) * 1e6)
    interest = Interest(name, "trader-1", 4711, frozenset(map(Topic.parse, topics)), since_us, TTL_S * 1000, 1)
    key = LAYOUT.interest(account, f"{name}-3fa9c1")
    client.hset(key, mapping=interest.to_fields() | changes)
    client.pexpire(key, (TTL_S - 4) * 1000)
    client.zadd(LAYOUT.interest(account), {f"{name}-3fa9c1": time.time() + TTL_S - 4})
    client.zadd(LAYOUT.interests, {account: int(time.time())})


@pytest.fixture
def crews(redis_server: RedisServer) -> RedisServer:
    """Three programs of two accounts, and what is left of a fourth."""
    with redis.Redis.from_url(redis_server.url) as client:
        register(client, ALICE, "momentum", "ticker:BTCUSDT", "candles:BTCUSDT:1m", "orders")
        register(client, ALICE, "screener", "ticker:all", age_s=7500)
        register(client, BOB, "many", *(f"ticker:P{number}" for number in range(20)))
        register(client, BOB, "dead", "ticker:BTCUSDT")
        client.delete(LAYOUT.interest(BOB, "dead-3fa9c1"))
    return redis_server


async def interest(server: RedisServer, *argv: str) -> tuple[int, list[str], str]:
    result = await run("interest", "--redis-url", server.url, *argv, key=None)
    return result.code, result.out.splitlines(), result.err


async def test_who_wants_what_is_a_line_each(crews: RedisServer) -> None:
    code, lines, err = await interest(crews)
    assert (code, err) == (0, "")
    head, many, momentum, screener, _, total = lines
    assert head.split() == ["ACCOUNT", "CLIENT", "HOST", "AGE", "RENEWED", "TOPICS"]
    assert many.startswith("a-60303ae2  many ")
    assert many.endswith("and 12 more")
    assert momentum.split()[:4] == ["a-9f86d081", "momentum", "trader-1", "1m"]
    assert momentum.endswith("candles:BTCUSDT:1m orders ticker:BTCUSDT")
    assert "2h 5m" in screener
    assert total == "3 programs, 24 topics"


async def test_programs_get_one_json_object_each(crews: RedisServer) -> None:
    code, lines, _ = await interest(crews, "--json")
    found = {values["name"]: values for values in map(json.loads, lines)}
    assert code == 0
    momentum = found["momentum"]
    assert momentum["topics"] == ["candles:BTCUSDT:1m", "orders", "ticker:BTCUSDT"]
    assert (momentum["account"], momentum["client"], momentum["pid"]) == (ALICE, "momentum-3fa9c1", 4711)
    assert 65 <= momentum["age_s"] < 65 + PATIENCE_S
    assert 4 <= momentum["renewed_s"] < 4 + PATIENCE_S
    assert momentum["since"].endswith("Z")
    assert len(found["many"]["topics"]) == 20


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--topic", "ticker:btcusdt"], {"momentum", "screener"}),
        (["--topic", "candles:BTCUSDT:1m"], {"momentum"}),
        (["--topic", "orders", "--account", "a-60303a"], set()),
        (["--account", "a-60303a"], {"many"}),
        (["--account", ALICE], {"momentum", "screener"}),
        (["--account", "a-" + "0" * 32], set()),
    ],
)
async def test_some_of_them_can_be_asked_for(crews: RedisServer, argv: list[str], names: set[str]) -> None:
    code, lines, _ = await interest(crews, "--json", *argv)
    assert code == 0
    assert {json.loads(line)["name"] for line in lines} == names


async def test_nobody_is_said_in_words(redis_server: RedisServer) -> None:
    assert (await interest(redis_server))[:2] == (0, ["no program wants anything"])
    assert (await interest(redis_server, "--topic", "orders"))[:2] == (0, ["no program wants orders"])


async def test_the_rights_of_an_operator_are_enough(crews: RedisServer) -> None:
    with redis.Redis.from_url(crews.url) as client:
        client.execute_command("ACL", "SETUSER", "operator", "reset", "on", ">pw", *OPERATOR)  # type: ignore[no-untyped-call]
        client.execute_command("ACL", "SETUSER", "nobody", "reset", "on", ">pw", "+ping", "+client|setname")  # type: ignore[no-untyped-call]
    result = await run("interest", "--redis-url", crews.url.replace("://", "://operator:pw@"))
    assert (result.code, result.out.count("\n")) == (0, 6)
    refused = await run("interest", "--redis-url", crews.url.replace("://", "://nobody:pw@"))
    assert refused.code == 1
    assert "NOPERM" in one_line(refused)


async def test_what_cannot_be_read_is_named_beside_the_others(crews: RedisServer) -> None:
    with redis.Redis.from_url(crews.url) as client:
        register(client, BOB, "odd", "orders", topics="\x1b[31mticker")
        register(client, BOB, "huge", "orders", host="x" * 100_000)
    code, lines, err = await interest(crews, "--json")
    assert (code, len(lines)) == (0, 3)
    assert err.count("cannot be read") == 2
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--topic", "trades:BTCUSDT"], "topic 'trades:BTCUSDT' is not valid"),
        (["--account", "alice"], "account 'alice' is not 'a-' and 6 to 32 digits"),
        (["--redis-url", "ws://x"], "must begin with redis://"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    given = argv if "--redis-url" in argv else [*argv, "--redis-url", "redis://localhost:1"]
    result = await run("interest", *given)
    assert result.code == 2
    assert message in one_line(result)


async def test_no_url_is_exit_code_2() -> None:
    result = await run("interest")
    assert result.code == 2
    assert "AGENTEXCHANGE_REDIS_URL" in one_line(result)


async def test_an_account_that_nobody_has_is_exit_code_1(crews: RedisServer) -> None:
    result = await run("interest", "--redis-url", crews.url, "--account", "a-ffffff")
    assert result.code == 1
    assert "no account that begins with a-ffffff" in one_line(result)


async def test_a_redis_that_is_away_is_exit_code_1(redis_server: RedisServer) -> None:
    redis_server.kill()
    result = await run("interest", "--redis-url", redis_server.url)
    assert result.code == 1
    assert "cannot connect" in one_line(result)
    assert KEY not in result.err

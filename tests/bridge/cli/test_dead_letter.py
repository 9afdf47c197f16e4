from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import redis

from agentexchange_schemas import Layout, account_scope
from agentexchange_schemas.envelope import encode
from tests.bridge.cli._run import KEY, one_line, run

if TYPE_CHECKING:
    from tests._servers import RedisServer

SCOPE = account_scope(KEY)
LAYOUT = Layout()
DEAD = LAYOUT.dead(SCOPE, "executors")
RETRIES = LAYOUT.retry(LAYOUT.log(SCOPE), "executors")


@pytest.fixture
def letters(redis_server: RedisServer) -> list[str]:
    """Three dead letters; returns their ids."""
    with redis.Redis.from_url(redis_server.url) as client:
        return [_bury(client, number) for number in range(3)]


def _bury(client: redis.Redis, number: int) -> str:
    fields = {
        "e": encode("orders", 1, number + 1, None, 1_763_806_931_042_000 + number, {"order_id": str(number)}),
        "topic": "orders",
        "error": "ValueError: no such pair",
        "attempts": 5,
        "history": json.dumps([{"at": "2026-11-22T10:00:00Z", "member": "a-1", "error": "ValueError: no"}]),
        "id": f"1763806931042-{number}",
        "log": "log",
    }
    letter = client.xadd(DEAD, fields)
    assert isinstance(letter, bytes)
    return letter.decode()


async def dead_letter(server: RedisServer, *argv: str, key: str | None = KEY) -> tuple[int, str, str]:
    result = await run("dead-letter", *argv, "--redis-url", server.url, "--group", "executors", key=key)
    return result.code, result.out, result.err


async def test_letters_are_listed_for_people_and_programs(redis_server: RedisServer, letters: list[str]) -> None:
    code, out, _ = await dead_letter(redis_server, "list")
    assert code == 0
    assert out.count("ValueError: no such pair") == 3
    assert out.splitlines()[0].startswith(letters[0])
    code, out, _ = await dead_letter(redis_server, "list", letters[1], "--json")
    (letter,) = map(json.loads, out.splitlines())
    assert (letter["id"], letter["topic"], letter["attempts"]) == (letters[1], "orders", 5)
    assert letter["data"] == {"order_id": "1"}
    assert letter["event_id"] == "1763806931042-1"
    assert letter["history"][0]["member"] == "a-1"


async def test_a_retried_letter_is_for_its_group_only(redis_server: RedisServer, letters: list[str]) -> None:
    code, out, _ = await dead_letter(redis_server, "retry", letters[1])
    assert (code, out) == (0, "1 dead letter handed to the group again\n")
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.xlen(DEAD) == 2
        assert client.xlen(LAYOUT.log(SCOPE)) == 0
        ((_, fields),) = client.xrange(RETRIES)
        assert set(fields) == {b"e", b"history", b"id"}
    code, _, err = await dead_letter(redis_server, "retry", letters[1])
    assert code == 1
    assert "1 of the ids is not there" in err


async def test_all_are_dropped(redis_server: RedisServer, letters: list[str]) -> None:
    code, out, _ = await dead_letter(redis_server, "drop", "--all", "--scope", SCOPE, key=None)
    assert (code, out) == (0, "3 dead letters dropped\n")
    code, out, _ = await dead_letter(redis_server, "list")
    assert (code, out) == (0, "no dead letters of executors\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["retry", "--group", "g"], "retry needs ids, or --all instead"),
        (["drop", "1-1", "--all", "--group", "g"], "drop needs ids, or --all instead"),
        (["list", "--all", "--group", "g"], "without --all"),
        (["drop", "one", "--group", "g"], "id 'one' is not one that 'list' prints"),
        (["list"], "required: --group"),
        (["list", "--group", "a b"], "group 'a b' is not valid"),
        (["list", "--group", "g", "--scope", "x"], "scope 'x' is neither"),
        (["list", "--group", "g", "--redis-url", "ws://x"], "must begin with redis://"),
        (["bury", "--group", "g"], "invalid choice"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    given = argv if "--redis-url" in argv else [*argv, "--redis-url", "redis://localhost:1"]
    result = await run("dead-letter", *given)
    assert result.code == 2
    assert message in one_line(result)


async def test_a_redis_that_is_away_is_exit_code_1(redis_server: RedisServer) -> None:
    redis_server.kill()
    code, _, err = await dead_letter(redis_server, "list")
    assert code == 1
    assert "does not answer" in err
    assert KEY not in err

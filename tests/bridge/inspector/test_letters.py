from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import ConnectionError as PublicConnectionError
from agentexchange._urls import redis_url
from agentexchange_bridge.inspector._link import Link
from agentexchange_bridge.inspector.letters import Letters
from agentexchange_bridge.inspector.past import RedisHistory
from agentexchange_schemas import Layout
from tests.bridge.inspector._samples import OTHER, OWN, START_US, order, tick
from tests.sdk._layout_writer import LayoutWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

LAYOUT = Layout()


@pytest.fixture
async def letters(redis_server: RedisServer) -> AsyncIterator[Letters]:
    link = Link(redis_url(redis_server.url), name="test")
    yield Letters(link, RedisHistory(link, LAYOUT, ["m0", OWN], wall=lambda: START_US))
    link.close()


@pytest.fixture
def market(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    writer = LayoutWriter(redis_server.url)
    writer.install()
    writer.ticker("BTCUSDT", "1")
    yield writer
    writer.close()


def bury(writer: LayoutWriter, scope: str, group: str, letter_id: str, raw: bytes, **more: Any) -> None:
    """A dead letter as a member leaves it, of a group that reads the scope's log."""
    fields = {"e": raw, "topic": "orders", "error": "KeyError('x')", "attempts": 5, "history": json.dumps([])}
    fields |= {"id": "1-1", "log": "log"} | more
    writer.client.xadd(LAYOUT.dead(scope, group), fields, id=letter_id)
    if group not in [one["name"].decode() for one in groups_of(writer, scope)]:
        writer.client.xgroup_create(LAYOUT.log(scope), group, mkstream=True)


def groups_of(writer: LayoutWriter, scope: str) -> list[dict[str, Any]]:
    return writer.client.xinfo_groups(LAYOUT.log(scope)) if writer.client.exists(LAYOUT.log(scope)) else []


async def test_letters_of_every_group_that_reads_a_log(letters: Letters, market: LayoutWriter) -> None:
    bury(market, OWN, "executors", "1000-0", order(0, "o-1"))
    bury(market, OWN, "audit", "3000-0", order(0, "o-2"), attempts=2)
    bury(market, "m0", "quants", "2000-0", tick(0), topic="ticker:BTCUSDT")
    bury(market, OTHER, "executors", "4000-0", order(0, "of-another"))
    rows = await letters.rows()
    assert [(row.scope, row.group, row.id, row.given_up_us) for row in rows] == [
        (OWN, "audit", "3000-0", 3_000_000),
        ("m0", "quants", "2000-0", 2_000_000),
        (OWN, "executors", "1000-0", 1_000_000),
    ]
    assert (rows[0].topic, rows[0].error, rows[0].attempts) == ("orders", "KeyError('x')", 2)
    assert rows[0].fields is not None
    assert rows[0].fields["order_id"] == "o-2"


async def test_a_letter_is_retried_once(letters: Letters, market: LayoutWriter) -> None:
    bury(market, OWN, "executors", "1000-0", order(0))
    (row,) = await letters.rows()
    assert await letters.retry(row)
    assert not await letters.retry(row)
    assert await letters.rows() == []
    assert market.client.xlen(LAYOUT.retry(LAYOUT.log(OWN), "executors")) == 1


async def test_a_letter_is_dropped(letters: Letters, market: LayoutWriter) -> None:
    bury(market, OWN, "executors", "1000-0", order(0))
    bury(market, OWN, "executors", "1001-0", order(0, "o-2"))
    newest, oldest = await letters.rows()
    assert await letters.drop(oldest)
    assert not await letters.drop(oldest)
    assert await letters.rows() == [newest]


async def test_letters_of_other_accounts_cannot_be_touched(letters: Letters, market: LayoutWriter) -> None:
    bury(market, OWN, "executors", "1000-0", order(0))
    bury(market, OTHER, "executors", "1000-0", order(0))
    (row,) = await letters.rows()
    foreign = replace(row, scope=OTHER)
    assert not await letters.drop(foreign)
    assert not await letters.retry(foreign)
    assert market.client.xlen(LAYOUT.dead(OTHER, "executors")) == 1


async def test_no_groups_no_letters(letters: Letters, market: LayoutWriter) -> None:
    assert await letters.rows() == []
    market.client.xgroup_create(LAYOUT.log("m0"), "not a name of ours {x}")
    assert await letters.rows() == []


async def test_of_very_many_letters_the_newest_are_given(letters: Letters, market: LayoutWriter) -> None:
    for number in range(600):
        bury(market, OWN, "executors", f"{1_000 + number}-0", b"no envelope")
    rows = await letters.rows()
    assert (len(rows), rows[0].id, rows[0].fields) == (500, "1599-0", None)


async def test_who_may_ask_of_no_log_is_told(market: LayoutWriter, redis_server: RedisServer) -> None:
    market.client.execute_command("ACL", "SETUSER", "nobody", "on", ">pw-nobody-1", "~*", "+ping")  # type: ignore[no-untyped-call]
    link = Link(redis_url(redis_server.url.replace("://", "://nobody:pw-nobody-1@")), name="test")
    letters = Letters(link, RedisHistory(link, LAYOUT, ["m0"], wall=lambda: START_US))
    with pytest.raises(PublicConnectionError, match="NOPERM"):
        await letters.rows()
    link.close()


async def test_a_server_that_is_away_is_a_public_error(
    letters: Letters, market: LayoutWriter, redis_server: RedisServer
) -> None:
    bury(market, OWN, "executors", "1000-0", order(0))
    (row,) = await letters.rows()
    redis_server.kill()
    for ask in (letters.rows(), letters.retry(row), letters.drop(row)):
        with pytest.raises(PublicConnectionError):
            await ask

"""The rights that docs/groups.md lists are enough, and those of a plain shared client are not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentexchange_schemas import account_scope
from tests.sdk._acked_client import Call, group_member, position_holder
from tests.sdk._shared_client import KEY, eventually

if TYPE_CHECKING:
    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = [pytest.mark.server, pytest.mark.every_server]
ACCOUNT = account_scope(KEY)
DOCS = Path(__file__).parents[2] / "docs"
SHARED = ("-@all", "+ping", "+hgetall", "+hget", "+exists", "+xread", "+xrevrange", "+subscribe", "+unsubscribe")


def documented(pattern: str) -> list[str]:
    found = re.search(pattern, (DOCS / "groups.md").read_text(), re.DOTALL)
    assert found is not None
    return [rule.replace("a-…", ACCOUNT) for rule in re.findall(r"[+~][^\s`]+", found[1])]


def restrict(writer: LayoutWriter, server: RedisServer, *rules: str) -> str:
    channels = (f"&ax:{{{ACCOUNT}}}:*", "%R~ax:meta", f"%R~ax:{{{ACCOUNT}}}:*")
    writer.client.execute_command("ACL", "SETUSER", "crew", "reset", "on", ">pw", *SHARED, *channels, *rules)
    return server.url.replace("://", "://crew:pw@")


async def test_a_groups_rights_are_enough(account: LayoutWriter, redis_server: RedisServer) -> None:
    url = restrict(account, redis_server, *documented(r"for groups:\n\n```text\n(.*?)```"))
    member = group_member(url, max_attempts=1, claim_after_s=0.2)

    async def fail(call: Call) -> None:
        if call.fields["order_id"] == "1":
            raise RuntimeError("no")

    member.crew.behave = fail
    async with member.running() as got:
        await eventually(lambda: bool(account.client.exists(f"ax:{{{ACCOUNT}}}:log:retry:executors")))
        for number in (1, 2):
            account.event("orders", {"order_id": str(number), "status": "new"}, latest=False)
        await got.until(lambda got: got.ids == ["2"])
        await eventually(lambda: account.client.xlen(f"ax:{{{ACCOUNT}}}:dead:executors") == 1)


async def test_a_positions_rights_are_enough(account: LayoutWriter, redis_server: RedisServer) -> None:
    url = restrict(account, redis_server, *documented(r"and for positions (.*?)\. The same"))
    async with position_holder(url).running() as got:
        await eventually(lambda: bool(account.client.hget(f"ax:{{{ACCOUNT}}}:pos:crew-7", "log")))
        account.event("orders", {"order_id": "1", "status": "new"}, latest=False)
        await got.until(lambda got: got.ids == ["1"])
    assert not account.client.exists(f"ax:{{{ACCOUNT}}}:pos:crew-7:holder")

"""Groups and positions: how they end, and what they outlive."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, UsageError
from agentexchange.errors import AuthenticationError
from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange_schemas import Cause, FeedState, account_scope
from tests._patience import PATIENCE_S
from tests.sdk._acked_client import Call, group_member, position_holder
from tests.sdk._shared_client import KEY, eventually, no_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests._servers import RedisServer
    from tests.sdk._acked_client import AckedClient
    from tests.sdk._layout_writer import LayoutWriter

    Make = Callable[..., AckedClient]

pytestmark = pytest.mark.server
ACCOUNT = account_scope(KEY)
LOG = f"ax:{{{ACCOUNT}}}:log"
BOTH = pytest.mark.parametrize("make", [group_member, position_holder])


def order(writer: LayoutWriter, number: int) -> None:
    writer.event("orders", {"order_id": str(number), "status": "new"}, latest=False)


def is_empty(writer: LayoutWriter) -> bool:
    found: Any = writer.client.xpending(LOG, "executors")
    return int(found["pending"]) == 0


async def reading(writer: LayoutWriter) -> None:
    await eventually(lambda: any(client["cmd"].startswith("xread") for client in writer.client.client_list()))


@BOTH
@pytest.mark.parametrize("ending", ["cancel", "stop"])
async def test_it_ends_cleanly_at_every_step(
    account: LayoutWriter, redis_server: RedisServer, ending: str, make: Make
) -> None:
    """Cancelled or stopped after each number of turns of the loop: before the first connect, between, and after."""
    before = asyncio.all_tasks()
    for turns in range(0, 60, 2):
        order(account, turns)
        client = make(redis_server.url)
        task = asyncio.create_task(client.transport.run())
        for _ in range(turns):
            await asyncio.sleep(0.0003)
        if ending == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            client.transport.stop()
            await asyncio.wait_for(task, PATIENCE_S)
        assert asyncio.all_tasks() == before
    await eventually(lambda: len(account.client.client_list()) == 1)


@BOTH
async def test_a_refused_key_raises(account: LayoutWriter, redis_server: RedisServer, make: Make) -> None:
    task = asyncio.create_task(make(redis_server.url).transport.run())
    await reading(account)
    account.heartbeat(FeedState.AUTH_FAILED)
    with pytest.raises(AuthenticationError):
        await asyncio.wait_for(task, 10)


@BOTH
async def test_a_wrong_password_is_refused_in_words_without_it(redis_server: RedisServer, make: Make) -> None:
    url = redis_server.url.replace("://", "://crew:s3cret@")
    with pytest.raises(FinalConnectionError, match="WRONGPASS") as caught:
        await asyncio.wait_for(make(url).transport.run(), 10)
    assert "s3cret" not in str(caught.value)


@BOTH
async def test_redis_away_is_told_and_handlers_finish_meanwhile(
    account: LayoutWriter, make_redis: Callable[..., RedisServer], redis_server: RedisServer, make: Make
) -> None:
    client = make(redis_server.url, shared={"sleep": no_wait})
    may_return = asyncio.Event()

    async def wait(call: Call) -> None:
        await may_return.wait()

    client.crew.behave = wait
    async with client.running() as got:
        await reading(account)
        order(account, 1)
        await got.until(lambda got: bool(got.calls))
        for known in account.client.client_list():
            if known["name"] == "agentexchange-sdk":
                with contextlib.suppress(Exception):
                    account.client.client_kill_filter(_id=known["id"])
        await got.until(lambda got: FeedState.BLIND in got.states)
        may_return.set()
        await got.until(lambda got: got.ids == ["1"])
        order(account, 2)
        await got.until(lambda got: got.ids == ["1", "2"])
        await got.until(lambda got: got.states[-1] is FeedState.LIVE)
    assert len(got.calls) == 2


async def test_what_a_member_holds_is_handled_though_redis_was_wiped(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    member = group_member(redis_server.url, claim_after_s=0.3)
    may_return = asyncio.Event()

    async def wait(call: Call) -> None:
        if call.fields["order_id"] == "50":
            await may_return.wait()

    async with member.running() as got:
        await reading(account)
        for number in range(50):
            order(account, number)
        await got.until(lambda got: len(got.done) == 50)
        member.crew.behave = wait
        with account.client.pipeline() as pipe:  # all at once: they are read together
            real, account.client = account.client, pipe
            for number in range(50, 55):
                order(account, number)
            account.client = real
            pipe.execute()
        await got.until(lambda got: got.calls[-1].fields["order_id"] == "50")
        account.client.flushall()
        account.seqs.clear()
        account.epoch, account.log_name = 2, "log-2"
        account.lease()
        await got.until(lambda got: bool(got.causes(Cause.LOG_REPLACED)))
        may_return.set()
        order(account, 55)
        await got.until(lambda got: got.ids[-6:] == ["50", "51", "52", "53", "54", "55"])
        await eventually(lambda: is_empty(account))


async def test_events_that_redis_forgot_were_acknowledged_are_not_handled_again(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    """As after a restart from an append-only file that lost its last second."""
    async with group_member(redis_server.url).running() as got:
        await reading(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        await eventually(lambda: is_empty(account))
        account.client.xgroup_setid(LOG, "executors", "0")
        order(account, 2)
        await got.until(lambda got: got.ids == ["1", "2"])
        await eventually(lambda: is_empty(account))
    assert len(got.calls) == 2


async def test_through_the_public_client(account: LayoutWriter, redis_server: RedisServer) -> None:
    ws = AgentExchangeWS(KEY, redis_server.url, group="executors", consumer="worker")
    got: list[str] = []

    @ws.on_order_update()
    def on_order(data: dict[str, Any]) -> None:
        got.append(data["order_id"])
        if len(got) == 2:
            ws.stop()

    task = asyncio.create_task(ws.connect())
    await reading(account)
    with pytest.raises(UsageError, match="topics are fixed"):
        ws.subscribe("portfolio", on_order)
    with pytest.raises(UsageError, match="topics are fixed"):
        ws.unsubscribe("orders")
    order(account, 1)
    order(account, 2)
    await asyncio.wait_for(task, 10)
    assert got == ["1", "2"]
    stats = ws.stats()
    assert stats.transport["handled"] == 2
    assert [handler.topic for handler in stats.handlers] == ["orders"]
    assert is_empty(account)


async def test_draining_waits_for_the_handler_under_way_and_gives_back_the_rest(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    ws = AgentExchangeWS(KEY, redis_server.url, group="executors", claim_after=0.5)
    got: list[str] = []
    is_busy, may_return = asyncio.Event(), asyncio.Event()

    @ws.on_order_update()
    async def on_order(data: dict[str, Any]) -> None:
        is_busy.set()
        await may_return.wait()
        got.append(data["order_id"])

    task = asyncio.create_task(ws.connect())
    await reading(account)
    order(account, 1)
    order(account, 2)
    await asyncio.wait_for(is_busy.wait(), 10)
    ending = asyncio.create_task(ws.disconnect(drain=True, timeout=20))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(ending), 1.3)  # longer than without draining
    async with group_member(redis_server.url, claim_after_s=10.0).running() as other:  # takes only what is given back
        await reading(account)
        may_return.set()
        await asyncio.wait_for(ending, 10)
        await task
        await other.until(lambda other: other.ids == ["2"])
        assert got == ["1"]


@pytest.mark.parametrize("option", ["group", "resume"])
async def test_a_handler_may_end_the_client_and_its_event_is_acknowledged(
    account: LayoutWriter, redis_server: RedisServer, option: str
) -> None:
    """The handler waited for the end, the end for the handler, until it was cancelled: its event came again."""
    options: dict[str, Any] = {option: "executors"}
    ws = AgentExchangeWS(KEY, redis_server.url, start="earliest", **options)
    got: list[str] = []

    @ws.on_order_update()
    async def on_order(data: dict[str, Any]) -> None:
        await ws.disconnect()
        got.append(data["order_id"])

    order(account, 1)
    async with asyncio.timeout(10):
        await ws.connect()
    assert got == ["1"]
    assert ws.stats().handlers[0].errors == 0
    assert ws.stats().transport["handled"] == 1

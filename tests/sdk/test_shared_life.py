"""The shared transport against a real server: what is told, raised and outlived."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from agentexchange.errors import AuthenticationError
from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange.latest import LatestReader
from agentexchange_schemas import Cause, FeedState, FeedStatus, account_scope
from tests._patience import PATIENCE_S
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._shared_client import KEY, SharedClient, eventually, no_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests._servers import RedisServer

pytestmark = pytest.mark.server
CREW_READS = (
    "+ping",
    "+get",
    "+hget",
    "+hmget",
    "+xrange",
    "+hgetall",
    "+hkeys",
    "+exists",
    "+mget",
    "+xrevrange",
    "+xread",
    "+time",
    "+smembers",
)
CREW_COMMANDS = (*CREW_READS, "+subscribe", "+unsubscribe")


async def test_no_bridge_is_told_and_live_again(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT", silent_after_s=0.1)
    async with client.running() as got:
        writer.release()
        await got.until(lambda got: got.states[-1] is FeedState.NO_BRIDGE)
        writer.lease()
        await got.until(lambda got: got.states[-1] is FeedState.LIVE)
        assert got.states == [FeedState.LIVE, FeedState.NO_BRIDGE, FeedState.LIVE]


async def test_an_empty_redis_is_no_bridge_until_one_comes(redis_server: RedisServer) -> None:
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        assert got.states == [FeedState.NO_BRIDGE]
        with contextlib.closing(LayoutWriter(redis_server.url)) as writer:
            writer.install()
            writer.lease()
            writer.heartbeat()
            writer.ticker("BTCUSDT", "1")
            await got.until(lambda got: got.prices == ["1"])
        assert got.states == [FeedState.NO_BRIDGE, FeedState.LIVE]


async def test_notices_are_told_and_set_the_state(writer: LayoutWriter, redis_server: RedisServer) -> None:
    notice = FeedStatus(scope="m0", state=FeedState.BLIND, since="2026-11-22T10:00:00Z", cause=Cause.UPSTREAM_LOST)
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        writer.notice(notice.to_fields())
        await got.until(lambda got: len(got.statuses) == 2)
        assert got.statuses[1] == notice
        writer.heartbeat(FeedState.LIVE)
        await got.until(lambda got: len(got.statuses) == 3)
        assert got.states == [FeedState.LIVE, FeedState.BLIND, FeedState.LIVE]


async def test_upstream_refusing_this_key_raises(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer
) -> None:
    account.lease(FeedState.AUTH_FAILED)
    client = SharedClient(redis_server.url, "orders")
    with pytest.raises(AuthenticationError) as caught:
        await asyncio.wait_for(client.transport.run(), 10)
    assert KEY not in str(caught.value)


async def test_upstream_refusing_this_key_later_raises(account: LayoutWriter, redis_server: RedisServer) -> None:
    account.install()
    client = SharedClient(redis_server.url, "orders")
    task = asyncio.create_task(client.transport.run())
    await client.got.until(lambda got: bool(got.statuses))
    account.heartbeat(FeedState.AUTH_FAILED)
    with pytest.raises(AuthenticationError):
        await asyncio.wait_for(task, 10)


async def test_market_auth_trouble_is_only_told(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.lease(FeedState.AUTH_FAILED)
    async with SharedClient(redis_server.url, "ticker:BTCUSDT").running() as got:
        assert got.states == [FeedState.AUTH_FAILED]


async def test_another_layout_version_is_refused_in_words(writer: LayoutWriter, redis_server: RedisServer) -> None:
    writer.install(version=2)
    with pytest.raises(FinalConnectionError, match="layout version 2"):
        await asyncio.wait_for(SharedClient(redis_server.url, "ticker:BTCUSDT").transport.run(), 10)


async def test_a_wrong_password_is_refused_in_words_without_it(redis_server: RedisServer) -> None:
    url = redis_server.url.replace("://", "://crew:s3cret@")
    with pytest.raises(FinalConnectionError, match="WRONGPASS") as caught:
        await asyncio.wait_for(SharedClient(url, "ticker:BTCUSDT").transport.run(), 10)
    assert "s3cret" not in str(caught.value)


async def test_redis_lost_is_told_and_the_span_at_return(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT", "orders", sleep=no_wait)
    async with client.running() as got:
        writer.ticker("BTCUSDT", "1")
        await got.until(lambda got: bool(got.events))
        redis_server.kill()
        await got.until(lambda got: got.states[-1] is FeedState.BLIND)
        blind = got.statuses[-1]
        assert blind.cause == Cause.REDIS_LOST
        redis_server.start()
        writer.install()
        writer.lease()
        await got.until(lambda got: got.states[-1] is FeedState.LIVE)
        back = got.statuses[-1]
        assert back.cause == Cause.REDIS_LOST
        assert back.since == blind.since
        assert back.until is not None
        writer.ticker("BTCUSDT", "2")
        await got.until(lambda got: got.prices == ["1", "2"])


async def test_a_half_dead_subscription_is_replaced(writer: LayoutWriter, redis_server: RedisServer) -> None:
    """The lease is held but no heartbeat arrives: the subscription is taken for dead."""
    client = SharedClient(redis_server.url, "ticker:BTCUSDT", silent_after_s=0.05, replace_after_s=0.2, sleep=no_wait)
    async with client.running() as got:
        await got.until(lambda got: FeedState.BLIND in got.states)
        await got.until(lambda got: got.states[-1] is FeedState.LIVE)
        assert "no heartbeat" in (got.statuses[1].message or "")


async def test_an_unreachable_redis_is_told_blind_and_stop_ends_the_wait(redis_server: RedisServer) -> None:
    redis_server.kill()
    forever = asyncio.Event()
    client = SharedClient(redis_server.url, "ticker:BTCUSDT", sleep=lambda _delay: forever.wait())
    task = asyncio.create_task(client.transport.run())
    await client.got.until(lambda got: got.states == [FeedState.BLIND])
    client.transport.stop()
    await asyncio.wait_for(task, PATIENCE_S)


async def test_a_cancelled_run_leaves_nothing_open(writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:all")
    task = asyncio.create_task(client.transport.run())
    await client.got.until(lambda got: bool(got.statuses))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: len(writer.client.client_list()) == 1)


async def test_a_crews_rules_are_enough(make_redis: Callable[..., RedisServer]) -> None:
    """The commands and keys that docs/shared.md lists, and no more."""
    scope = account_scope(KEY)
    rules = ["on", ">pw", "resetchannels", "&ax:{m*}:*", f"&ax:{{{scope}}}:*", "%R~ax:meta", "%R~ax:{m*}:*"]
    rules += [f"%R~ax:{{{scope}}}:*", "-@all", *CREW_COMMANDS]
    server = make_redis(options={"user crew": " ".join(rules)})
    url = f"redis://crew:pw@127.0.0.1:{server.port}"
    with (
        contextlib.closing(LayoutWriter(server.url)) as writer,
        contextlib.closing(LayoutWriter(server.url, scope)) as account,
    ):
        writer.install()
        writer.lease()
        account.lease()
        writer.ticker("BTCUSDT", "1")
        account.event("portfolio", {"total_equity": "1"})
        async with (
            SharedClient(url, "ticker:all", "orders", "portfolio").running() as got,
            SharedClient(url, "ticker:BTCUSDT").running() as single,
        ):
            await got.until(lambda got: len(got.events) == 2)
            await single.until(lambda got: len(got.events) == 1)
            writer.ticker("BTCUSDT", "2")
            await got.until(lambda got: len(got.events) == 3)
            await single.until(lambda got: len(got.events) == 2)
        with LatestReader(url, KEY) as reader:
            assert reader.portfolio() is not None
            assert reader.open_orders() == {}


async def test_another_accounts_channel_is_refused_in_words(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(options={"user crew": "on >pw ~* +@all resetchannels &ax:{m*}:*"})
    url = f"redis://crew:pw@127.0.0.1:{server.port}"
    with pytest.raises(FinalConnectionError, match="NOPERM"):
        await asyncio.wait_for(SharedClient(url, "orders").transport.run(), 10)


@pytest.mark.parametrize("ending", ["cancel", "stop"])
async def test_it_ends_cleanly_at_every_step(writer: LayoutWriter, redis_server: RedisServer, ending: str) -> None:
    """Cancelled or stopped after each number of turns of the loop: before the first connect, between, and after."""
    writer.ticker("BTCUSDT", "1")
    before = asyncio.all_tasks()
    for turns in range(0, 60, 2):
        client = SharedClient(redis_server.url, "ticker:all", "candles:BTCUSDT:1m", "portfolio")
        task = asyncio.create_task(client.transport.run())
        for _ in range(turns):
            await asyncio.sleep(0.0003)
        if turns == 58:
            await client.got.until(lambda got: bool(got.events))
        if ending == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            client.transport.stop()
            await asyncio.wait_for(task, PATIENCE_S)
        assert asyncio.all_tasks() == before
    await eventually(lambda: len(writer.client.client_list()) == 1)


async def test_a_password_that_worked_may_be_wrong_for_a_while(make_redis: Callable[..., RedisServer]) -> None:
    server = make_redis(options={"user crew": "on >old ~* &* +@all"})
    client = SharedClient(f"redis://crew:old@127.0.0.1:{server.port}", "ticker:BTCUSDT", sleep=no_wait)
    with contextlib.closing(LayoutWriter(server.url)) as writer:
        writer.install()
        writer.lease()
        async with client.running() as got:
            writer.client.acl_setuser("crew", enabled=True, passwords=["-old", "+new"])
            writer.client.client_kill_filter(_type="pubsub")
            await got.until(lambda got: got.states[-1] is FeedState.BLIND)
            writer.client.acl_setuser("crew", enabled=True, passwords=["-new", "+old"])
            await got.until(lambda got: got.states[-1] is FeedState.LIVE)

"""Durable positions against a real server: what is handed on after a restart, what is told, who may hold one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange_schemas import Cause, account_scope
from tests.sdk._acked_client import Call, position_holder
from tests.sdk._shared_client import KEY, eventually

if TYPE_CHECKING:
    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server
ACCOUNT = account_scope(KEY)
LOG = f"ax:{{{ACCOUNT}}}:log"
POSITION = f"ax:{{{ACCOUNT}}}:pos:crew-7"


def order(writer: LayoutWriter, number: int) -> None:
    writer.event("orders", {"order_id": str(number), "status": "filled"}, latest=False)


async def reading(writer: LayoutWriter, logs: int = 1) -> None:
    """Wait until so many logs are being read."""

    def waiting() -> int:
        return sum(client["cmd"] == "xread" for client in writer.client.client_list())

    await eventually(lambda: waiting() >= logs)


async def test_a_new_name_begins_now_and_goes_on_after_a_restart(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    order(account, 1)
    async with position_holder(redis_server.url).running() as got:
        await reading(account)
        order(account, 2)
        await got.until(lambda got: got.ids == ["2"])
        assert [call.source for call in got.done] == ["live"]
    order(account, 3)
    order(account, 4)
    async with position_holder(redis_server.url, start="earliest").running() as got:
        await got.until(lambda got: got.ids == ["3", "4"])
        assert [call.source for call in got.done] == ["recovered", "recovered"]
    async with position_holder(redis_server.url, name="others", start="earliest").running() as got:
        await got.until(lambda got: got.ids == ["1", "2", "3", "4"])


async def test_a_name_may_begin_at_a_time(account: LayoutWriter, redis_server: RedisServer) -> None:
    order(account, 1)
    account.received_us += 10_000
    start = datetime.fromtimestamp((account.received_us + 1) / 1e6, UTC)
    order(account, 2)
    async with position_holder(redis_server.url, start=start).running() as got:
        await got.until(lambda got: got.ids == ["2"])


async def test_a_restart_before_the_first_event_misses_nothing(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    async with position_holder(redis_server.url).running():
        await reading(account)
    order(account, 1)
    async with position_holder(redis_server.url).running() as got:
        await got.until(lambda got: got.ids == ["1"])


async def test_the_position_never_passes_a_handler_that_has_not_returned(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    holder = position_holder(redis_server.url)

    async def hang(call: Call) -> None:
        if call.fields["order_id"] == "2":
            await asyncio.sleep(3600)

    holder.crew.behave = hang
    async with holder.running() as got:
        await reading(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        first: Any = account.client.xrange(LOG)[0][0]
        for number in (2, 3):
            order(account, number)
        await got.until(lambda got: len(got.calls) == 2)
        await eventually(lambda: account.client.hget(POSITION, "log") == first)
    async with position_holder(redis_server.url).running() as got:
        await got.until(lambda got: got.ids == ["2", "3"])


async def test_every_kind_resumes(writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer) -> None:
    topics = ("ticker:all", "candles:BTCUSDT:1m", "orders", "portfolio")
    async with position_holder(redis_server.url, *topics).running():
        await reading(account, 3)
    writer.ticker("BTCUSDT", "1")
    writer.event("candles:BTCUSDT:1m", {"symbol": "BTCUSDT", "close": "2"})
    writer.event("candles:ETHUSDT:1m", {"symbol": "ETHUSDT", "close": "2"})
    order(account, 1)
    account.event("portfolio", {"total_equity": "1"})
    async with position_holder(redis_server.url, *topics).running() as got:
        await got.until(lambda got: len(got.done) == 4)
        assert {call.topic for call in got.done} == {"ticker:BTCUSDT", "candles:BTCUSDT:1m", "orders", "portfolio"}


async def test_a_failing_handler_is_tried_again_and_then_passed(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    holder = position_holder(redis_server.url, max_attempts=3)

    async def fail(call: Call) -> None:
        if call.fields["order_id"] == "1":
            raise RuntimeError("no")

    holder.crew.behave = fail
    async with holder.running() as got:
        await reading(account)
        order(account, 1)
        order(account, 2)
        await got.until(lambda got: got.ids == ["2"])
        assert len(got.calls) == 4
        assert holder.transport.stats()["given_up"] == 1  # type: ignore[attr-defined]


async def test_a_second_live_holder_is_refused_in_words(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with position_holder(redis_server.url, hold_s=9.0).running():
        await reading(account)
        with pytest.raises(FinalConnectionError, match=r"holds it, and it is free \d\.\d s after"):
            await asyncio.wait_for(position_holder(redis_server.url, hold_s=9.0).transport.run(), 30)


async def test_a_dead_holders_position_is_free_after_its_time(account: LayoutWriter, redis_server: RedisServer) -> None:
    account.client.set(f"{POSITION}:holder", "dead-1", px=300)
    async with position_holder(redis_server.url).running():
        await reading(account)


async def test_a_holder_that_lost_its_position_stops_with_an_error(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    """As one that was stopped for longer than its hold lasts."""
    holder = position_holder(redis_server.url, hold_s=0.3)
    task = asyncio.create_task(holder.transport.run())
    await reading(account)
    account.client.set(f"{POSITION}:holder", "thief-1")
    with pytest.raises(FinalConnectionError, match="was lost: thief-1 holds it"):
        await asyncio.wait_for(task, 10)


async def test_a_holder_whose_position_was_moved_meanwhile_stops_with_an_error(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    """The other one has ended already: going on would move the position back."""
    holder = position_holder(redis_server.url, hold_s=0.3)
    task = asyncio.create_task(holder.transport.run())
    await reading(account)
    account.client.hincrby(POSITION, "#turn", 1)
    account.client.delete(f"{POSITION}:holder")
    with pytest.raises(FinalConnectionError, match="another program held it meanwhile"):
        await asyncio.wait_for(task, 10)


async def test_trimmed_events_are_told_exactly(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with position_holder(redis_server.url).running() as got:
        await reading(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
    for number in range(2, 8):
        order(account, number)
    account.client.xtrim(LOG, maxlen=2, approximate=False)
    async with position_holder(redis_server.url).running() as got:
        await got.until(lambda got: got.ids == ["6", "7"])
        (gap,) = got.causes(Cause.TRIMMED)
        assert (gap.topic, gap.first_missing, gap.last_missing, gap.count) == ("orders", 2, 5, 4)


async def test_trimmed_events_of_a_quiet_topic_are_told(account: LayoutWriter, redis_server: RedisServer) -> None:
    """No later event of the topic shows the hole."""
    async with position_holder(redis_server.url, "orders", "portfolio").running():
        await reading(account)
    order(account, 1)
    order(account, 2)
    account.event("portfolio", {"total_equity": "1"})
    account.client.xtrim(LOG, maxlen=1, approximate=False)
    async with position_holder(redis_server.url, "orders", "portfolio").running() as got:
        await got.until(lambda got: bool(got.causes(Cause.TRIMMED)))
        (gap,) = got.causes(Cause.TRIMMED)
        assert (gap.topic, gap.first_missing, gap.last_missing) == ("orders", 1, 2)
    async with position_holder(redis_server.url, "orders", "portfolio").running() as got:
        order(account, 3)
        await got.until(lambda got: got.ids == ["3"])
        assert got.causes(Cause.TRIMMED) == []


async def test_a_wiped_redis_is_told_and_everything_new_comes(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with position_holder(redis_server.url).running() as got:
        await reading(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        account.client.flushall()
        account.seqs.clear()
        account.epoch, account.log_name = 2, "log-2"
        account.lease()
        order(account, 2)
        account.heartbeat()
        await got.until(lambda got: got.ids == ["1", "2"])
        assert len(got.causes(Cause.LOG_REPLACED)) == 1


async def test_a_log_that_was_replaced_while_away_is_told(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with position_holder(redis_server.url).running() as got:
        await reading(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
    position = account.client.hgetall(POSITION)
    account.client.flushall()
    account.client.hset(POSITION, mapping=position)
    account.seqs.clear()
    account.epoch, account.log_name = 2, "log-2"
    account.lease()
    order(account, 2)
    async with position_holder(redis_server.url).running() as got:
        await got.until(lambda got: got.ids == ["2"])
        assert len(got.causes(Cause.LOG_REPLACED)) == 1


async def test_a_restarted_redis_loses_nothing(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with position_holder(redis_server.url).running() as got:
        await reading(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        for client in account.client.client_list():
            if client["cmd"] == "xread":
                account.client.client_kill_filter(_id=client["id"])
        order(account, 2)
        await got.until(lambda got: got.ids == ["1", "2"])

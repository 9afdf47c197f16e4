"""Members of a group against a real server: who gets what, and what is acknowledged when."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._group.dead import DeadLetters
from agentexchange._urls import redis_url
from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange.errors import UsageError
from agentexchange_schemas import Cause, FeedState, Topic, account_scope
from tests.sdk._acked_client import Call, group_member
from tests.sdk._shared_client import KEY, eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests._servers import RedisServer
    from tests.sdk._acked_client import AckedClient
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server
ACCOUNT = account_scope(KEY)
LOG = f"ax:{{{ACCOUNT}}}:log"
DEAD = f"ax:{{{ACCOUNT}}}:dead:executors"


def order(writer: LayoutWriter, number: int, **more: Any) -> None:
    fields = {"order_id": str(number), "symbol": "BTCUSDT", "side": "buy", "status": "filled"}
    writer.event("orders", fields | more, latest=False)


def pending(writer: LayoutWriter, log: str = LOG) -> int:
    found: Any = writer.client.xpending(log, "executors")
    return int(found["pending"])


def write_together(writer: LayoutWriter, numbers: Iterable[int]) -> None:
    """Orders in one step, so that a member reads as many at once as it takes."""
    with writer.client.pipeline() as pipe:
        real, writer.client = writer.client, pipe
        for number in numbers:
            order(writer, number)
        writer.client = real
        pipe.execute()


def counts(member: AckedClient) -> dict[str, int]:
    stats: dict[str, int] = member.transport.stats()  # type: ignore[attr-defined]
    return stats


def calls(writer: LayoutWriter, command: str) -> int:
    """How often Redis has run it, in scripts too."""
    return int(writer.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def joined(writer: LayoutWriter, readers: int = 1) -> None:
    """Wait until so many logs are being read."""

    def waiting() -> int:
        return sum(client["cmd"] == "xreadgroup" for client in writer.client.client_list())

    await eventually(lambda: waiting() >= readers)


async def test_each_event_goes_to_one_member_in_order(account: LayoutWriter, redis_server: RedisServer) -> None:
    one, two = group_member(redis_server.url), group_member(redis_server.url)

    async def slowly(call: Call) -> None:
        await asyncio.sleep(0.001)

    one.crew.behave = two.crew.behave = slowly
    async with one.running() as first, two.running() as second:
        await joined(account, 2)
        for number in range(200):
            order(account, number)
        await eventually(lambda: len(first.done) + len(second.done) >= 200)
        await eventually(lambda: pending(account) == 0)
        assert sorted(map(int, first.ids + second.ids)) == list(range(200))
        assert first.ids == sorted(first.ids, key=int)
        assert second.ids == sorted(second.ids, key=int)
        assert {call.source for call in first.done + second.done} == {"live"}
        assert len(first.done) > 10
        assert len(second.done) > 10


async def test_a_new_group_begins_now_and_an_old_one_where_it_stood(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    order(account, 1)
    async with group_member(redis_server.url).running() as got:
        await joined(account)
        order(account, 2)
        await got.until(lambda got: got.ids == ["2"])
    order(account, 3)
    async with group_member(redis_server.url, start="earliest").running() as got:
        await got.until(lambda got: got.ids == ["3"])
    async with group_member(redis_server.url, group="others", start="earliest").running() as got:
        await got.until(lambda got: got.ids == ["1", "2", "3"])


async def test_an_event_is_acknowledged_only_when_its_handler_has_returned(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    member = group_member(redis_server.url)
    may_return = asyncio.Event()

    async def wait(call: Call) -> None:
        await may_return.wait()

    member.crew.behave = wait
    async with member.running() as got:
        await joined(account)
        order(account, 1)
        await got.until(lambda got: bool(got.calls))
        assert pending(account) == 1
        may_return.set()
        await eventually(lambda: pending(account) == 0)


async def test_a_long_handler_keeps_its_claim(account: LayoutWriter, redis_server: RedisServer) -> None:
    """It takes more than twice as long as another member waits before it takes over what nobody renews."""
    slow = group_member(redis_server.url, claim_after_s=0.3)  # renewed ten times while the other one waits
    idle = group_member(redis_server.url, claim_after_s=1.0)
    may_return = asyncio.Event()

    async def wait(call: Call) -> None:
        await may_return.wait()

    slow.crew.behave = wait
    async with slow.running() as busy:
        await joined(account)
        order(account, 1)
        await busy.until(lambda got: bool(got.calls))
        async with idle.running() as other:
            await asyncio.sleep(2.2)  # the time that passes is what is tested
            assert other.calls == []
            may_return.set()
            await eventually(lambda: pending(account) == 0)
            assert other.calls == []
    assert len(busy.calls) == 1


async def test_what_waits_behind_a_long_handler_goes_to_others(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    slow, idle = group_member(redis_server.url, claim_after_s=0.3), patient_member(redis_server.url)
    may_return = asyncio.Event()
    slow.crew.behave = until_100(may_return)
    async with slow.running() as busy:
        await joined(account)
        for number in range(300):
            order(account, number)
        await busy.until(lambda got: got.calls[-1].fields["order_id"] == "100" if got.calls else False)
        async with idle.running() as other:
            await eventually(lambda: len(busy.done) + len(other.done) == 299)
            assert {call.source for call in other.done} == {"live"}  # given back untouched
            may_return.set()
            await busy.until(lambda got: got.ids[-1] == "100")
            await eventually(lambda: pending(account) == 0)
    assert sorted(map(int, busy.ids + other.ids)) == list(range(300))


async def test_what_was_given_back_is_not_claimed_again_by_renewing_what_is_kept(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    """It waited for the long handler after all when nobody had taken it before the next renewal."""
    slow, late = group_member(redis_server.url, claim_after_s=0.3), patient_member(redis_server.url)
    may_return = asyncio.Event()
    slow.crew.behave = until_100(may_return)
    async with slow.running() as busy:
        await joined(account)
        write_together(account, range(300))
        await busy.until(lambda got: got.calls[-1].fields["order_id"] == "100" if got.calls else False)
        await eventually(lambda: counts(slow)["given_back"] > 0)
        renewed = calls(account, "xclaim")
        await eventually(lambda: calls(account, "xclaim") >= renewed + 3)
        async with late.running() as other:
            await eventually(lambda: len(busy.done) + len(other.done) == 299)
            assert {call.source for call in other.done} == {"live"}
            may_return.set()
            await eventually(lambda: pending(account) == 0)


def patient_member(url: str) -> AckedClient:
    """One that takes over what was given back, and what is held only if nobody renewed it for ten seconds."""
    return group_member(url, claim_after_s=10.0)


def until_100(may_return: asyncio.Event) -> Callable[[Call], Awaitable[None]]:
    """A handler that waits at order 100."""

    async def wait(call: Call) -> None:
        if call.fields["order_id"] == "100":
            await may_return.wait()

    return wait


async def test_a_failing_handler_is_tried_again_in_order(account: LayoutWriter, redis_server: RedisServer) -> None:
    member = group_member(redis_server.url)

    async def fail_twice(call: Call) -> None:
        if call.fields["order_id"] == "1":
            call.fields.clear()
            if len(member.crew.calls) <= 2:
                raise RuntimeError("no")
            call.fields["order_id"] = "1"

    member.crew.behave = fail_twice
    async with member.running() as got:
        await joined(account)
        order(account, 1)
        order(account, 2)
        await got.until(lambda got: got.ids == ["1", "2"])
        assert [call.source for call in got.calls] == ["live", "redelivered", "redelivered", "live"]
        await eventually(lambda: pending(account) == 0)
    assert account.client.xlen(DEAD) == 0


async def test_a_hopeless_event_goes_to_the_dead_letters(account: LayoutWriter, redis_server: RedisServer) -> None:
    member = group_member(redis_server.url, max_attempts=3, consumer="worker")

    async def fail(call: Call) -> None:
        if call.fields["order_id"] == "1":
            raise ValueError(f"cannot do it with {KEY}")

    member.crew.behave = fail
    async with member.running() as got:
        await joined(account)
        order(account, 1)
        order(account, 2)
        await got.until(lambda got: got.ids == ["2"])
        await eventually(lambda: pending(account) == 0)
    ((_, letter),) = account.client.xrange(DEAD)
    ((log_id, entry), *_) = account.client.xrange(LOG)
    assert letter[b"e"] == entry[b"e"]
    assert letter[b"id"] == log_id
    assert (letter[b"topic"], letter[b"attempts"], letter[b"log"]) == (b"orders", b"3", b"log")
    assert letter[b"error"] == b"ValueError: cannot do it with ***"
    history = json.loads(letter[b"history"])
    assert len(history) == 3
    assert all(item["member"].startswith("worker-") and item["at"].endswith("Z") for item in history)
    assert KEY.encode() not in b"".join(letter.values())


async def test_a_retried_dead_letter_goes_to_its_group_only(account: LayoutWriter, redis_server: RedisServer) -> None:
    member = group_member(redis_server.url, max_attempts=2)
    works = False

    async def fail(call: Call) -> None:
        if not works:
            raise RuntimeError("no")

    member.crew.behave = fail
    async with member.running() as got:
        await joined(account)
        order(account, 1)
        await eventually(lambda: account.client.xlen(DEAD) == 1)
        with DeadLetters(redis_url(redis_server.url), ACCOUNT, "executors") as letters:
            (letter,) = letters.all()
            assert letters.retry(letter)
            assert not letters.retry(letter)
            await eventually(lambda: account.client.xlen(DEAD) == 1)
            (letter,) = letters.all()
            assert [len(letter.history), letter.attempts, letter.log] == [4, 2, LOG]
            works = True
            assert letters.retry(letter)
        await got.until(lambda got: got.ids == ["1"])
        assert got.calls[-1].source == "redelivered"
        await eventually(lambda: account.client.xlen(f"{LOG}:retry:executors") == 0)
        assert account.client.xlen(LOG) == 1
        assert account.client.xlen(DEAD) == 0


async def test_a_dead_members_events_are_taken_over(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with group_member(redis_server.url).running() as got:
        await joined(account)
        for number in range(3):
            order(account, number)
        await got.until(lambda got: len(got.done) == 3)
    for number in range(3, 6):
        order(account, number)
    account.client.xreadgroup("executors", "dead-1", {LOG: ">"})
    async with group_member(redis_server.url, claim_after_s=0.3).running() as got:
        await got.until(lambda got: got.ids == ["3", "4", "5"])
        assert {call.source for call in got.calls} == {"redelivered"}
        await eventually(lambda: pending(account) == 0)


async def test_an_event_that_kills_members_goes_to_the_dead_letters_alone(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    """Only the event under way is counted as delivered once more, not those behind it."""
    async with group_member(redis_server.url).running():
        await joined(account)
    order(account, 1)
    order(account, 2)
    account.client.xreadgroup("executors", "dead-0", {LOG: ">"})
    account.client.xclaim(LOG, "executors", "dead-3", 0, [account.client.xrange(LOG)[0][0]], retrycount=3, idle=60_000)
    async with group_member(redis_server.url, claim_after_s=0.2, max_attempts=3).running() as got:
        await got.until(lambda got: got.ids == ["2"])
        await eventually(lambda: account.client.xlen(DEAD) == 1)
    ((_, letter),) = account.client.xrange(DEAD)
    assert letter[b"attempts"] == b"3"
    assert b"delivered 3 times" in letter[b"error"]
    assert b"dead-3" in letter[b"history"]


async def test_unwanted_topics_and_junk_are_acknowledged_unseen(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    member = group_member(redis_server.url)
    async with member.running() as got:
        await joined(account)
        account.event("portfolio", {"total_equity": "1"})
        account.client.xadd(LOG, {"e": b"junk"}, id=f"{account.received_us // 1000 + 1}-0")
        account.received_us += 10_000
        account.notice({"state": "live", "since": "2026-11-22T10:00:00Z", "scope": ACCOUNT})
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        await eventually(lambda: pending(account) == 0)
        stats = counts(member)
        assert (stats["handled"], stats["unwanted"], stats["junk"]) == (1, 2, 1)


async def test_candles_and_tickers_come_from_their_logs(
    writer: LayoutWriter, account: LayoutWriter, redis_server: RedisServer
) -> None:
    topics = ("ticker:all", "candles:BTCUSDT:1m", "orders")
    member = group_member(redis_server.url, *topics)
    async with member.running() as got:
        await joined(account, 3)
        writer.ticker("BTCUSDT", "1")
        writer.event("candles:BTCUSDT:1m", {"symbol": "BTCUSDT", "close": "2"})
        writer.event("candles:ETHUSDT:1m", {"symbol": "ETHUSDT", "close": "2"})
        order(account, 1)
        await got.until(lambda got: len(got.done) == 3)
        assert {call.topic for call in got.done} == {"ticker:BTCUSDT", "candles:BTCUSDT:1m", "orders"}


async def test_a_member_with_other_topics_is_refused_in_words(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with group_member(redis_server.url, "orders").running():
        await joined(account)
        other = group_member(redis_server.url, "orders", "portfolio")
        with pytest.raises(FinalConnectionError, match="give every member the same handlers"):
            await asyncio.wait_for(other.transport.run(), 10)


async def test_topics_are_fixed_while_connected(redis_server: RedisServer) -> None:
    transport = group_member(redis_server.url, "orders").transport
    transport.subscribe(Topic.orders())
    with pytest.raises(UsageError):
        transport.subscribe(Topic.portfolio())
    with pytest.raises(UsageError):
        transport.unsubscribe(Topic.orders())


async def test_a_member_that_ends_gives_back_what_it_holds(account: LayoutWriter, redis_server: RedisServer) -> None:
    """No other member has to wait for claim_after; and nothing of it stays in the group."""
    leaving, staying = (group_member(redis_server.url) for _ in range(2))

    async def wait_long(call: Call) -> None:
        if call.fields["order_id"] == "100":
            await asyncio.sleep(3600)

    leaving.crew.behave = wait_long
    async with leaving.running() as busy:
        await joined(account)
        for number in range(300):
            order(account, number)
        await busy.until(lambda got: bool(got.calls) and got.calls[-1].fields["order_id"] == "100")
    async with staying.running() as got:
        await eventually(lambda: len(got.done) + len(busy.done) == 300)
        again = [call for call in got.done if call.source == "redelivered"]
        assert [call.fields["order_id"] for call in again] == ["100"]


async def test_no_bridge_is_told_and_live_again(account: LayoutWriter, redis_server: RedisServer) -> None:
    member = group_member(redis_server.url, shared={"silent_after_s": 0.1})
    async with member.running() as got:
        account.release()
        await got.until(lambda got: got.states[-1] is FeedState.NO_BRIDGE)
        account.lease()
        await got.until(lambda got: got.states == [FeedState.LIVE, FeedState.NO_BRIDGE, FeedState.LIVE])


async def test_a_removed_group_is_made_anew_where_it_stood_and_told(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    async with group_member(redis_server.url).running() as got:
        await joined(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        await eventually(lambda: pending(account) == 0)
        account.client.xgroup_destroy(LOG, "executors")
        order(account, 2)
        await got.until(lambda got: got.ids == ["1", "2"])
        (gap,) = got.causes(Cause.LOG_REPLACED)
        assert "was removed" in (gap.message or "")


async def test_a_wiped_redis_is_told_and_everything_new_comes(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with group_member(redis_server.url).running() as got:
        await joined(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        account.client.flushall()
        account.seqs.clear()
        account.epoch, account.log_name = 2, "log-2"
        account.lease()
        for number in (2, 3):
            order(account, number)
        account.heartbeat()
        await got.until(lambda got: got.ids == ["1", "2", "3"])
        assert len(got.causes(Cause.LOG_REPLACED)) == 1


async def test_a_replaced_log_is_told_once_though_its_name_is_seen_before_the_group_is_missed(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    """A look at the scope may find the new log's name first; the group then begins with the new log's first entry."""
    member = group_member(redis_server.url)
    async with member.running() as got:
        await joined(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
        await eventually(lambda: pending(account) == 0)
        account.epoch, account.log_name = 2, "log-2"
        account.client.hset(account.layout.seq(ACCOUNT), "#id", "log-2")
        account.heartbeat()
        await got.until(lambda got: bool(got.causes(Cause.LOG_REPLACED)))
        account.received_us -= 3_600_000_000  # a clock that was set back
        with account.client.pipeline() as pipe:
            real, account.client = account.client, pipe
            pipe.delete(LOG)
            order(account, 2)
            account.client = real
            pipe.execute()
        await got.until(lambda got: got.ids == ["1", "2"])
        assert len(got.causes(Cause.LOG_REPLACED)) == 1


async def test_trimmed_events_that_were_never_read_are_told_exactly(
    account: LayoutWriter, redis_server: RedisServer
) -> None:
    async with group_member(redis_server.url).running() as got:
        await joined(account)
        order(account, 1)
        await got.until(lambda got: got.ids == ["1"])
    for number in range(2, 8):
        order(account, number)
    account.client.xtrim(LOG, maxlen=2, approximate=False)
    async with group_member(redis_server.url).running() as got:
        await got.until(lambda got: got.ids == ["6", "7"])
        (gap,) = got.causes(Cause.TRIMMED)
        assert (gap.topic, gap.first_missing, gap.last_missing, gap.count) == ("orders", 2, 5, 4)


async def test_trimmed_events_that_were_pending_are_told(account: LayoutWriter, redis_server: RedisServer) -> None:
    async with group_member(redis_server.url).running():
        await joined(account)
    for number in range(3):
        order(account, number)
    account.client.xreadgroup("executors", "dead-1", {LOG: ">"})
    account.client.xtrim(LOG, maxlen=1, approximate=False)
    async with group_member(redis_server.url, claim_after_s=0.2).running() as got:
        await got.until(lambda got: got.ids == ["2"])
        (gap,) = got.causes(Cause.TRIMMED)
        assert gap.count == 2
        await eventually(lambda: pending(account) == 0)

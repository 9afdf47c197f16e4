"""One scope's writer on a real server, and what happens to it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.redis import LinkClosedError
from agentexchange_bridge.lease import Free, LeaseState, Refused
from agentexchange_bridge.notices import to_us
from agentexchange_bridge.scripts import WRITE_BATCH
from agentexchange_bridge.stats import RedisState
from agentexchange_schemas import Cause, FeedState
from tests._patience import PATIENCE_S
from tests.bridge._kit import (
    ACCOUNT,
    LAYOUT,
    BufferLimits,
    candle,
    eventually,
    make_writer,
    order,
    ticker,
    until,
)
from tests.bridge._writers import Running, assert_whole, connected, live, log_of, notices

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange.redis import RespStream
    from tests._servers import RedisServer

pytestmark = pytest.mark.server


async def test_the_candles_under_way_are_saved_while_every_closed_one_is_written_and_at_the_end(
    redis_server: RedisServer, running: Running
) -> None:
    states, unwritten = iter(range(1_000_000)), []

    def state() -> bytes:
        unwritten.append(writer.outbox.holds_candles)
        return b"%d" % next(states)

    async def saved() -> bytes | None:
        async with connected(redis_server) as redis:
            found: bytes | None = await redis.command("GET", LAYOUT.candle_state("m0"))
            return found

    now = [0.0]
    writer = make_writer(redis_server.url, ttl_s=1e9, clock=lambda: now[0], candle_state=state)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    now[0] = 1.0
    await eventually(lambda: _is(saved(), b"0"))
    writer.candle(*candle(closed=True))
    assert writer.outbox.holds_candles
    await until(lambda: writer.outbox.is_empty)
    now[0] = 7.0
    await eventually(lambda: _is(saved(), b"1"))
    writer.candle(*candle(closed=True))
    await running.stop(writer)
    assert await saved() == b"2"
    assert unwritten == [False, False, False]


async def _is(found: Awaitable[bytes | None], expected: bytes) -> bool:
    return await found == expected


async def test_events_are_written_at_once_and_gathered_while_a_write_is_under_way(
    redis_server: RedisServer, running: Running
) -> None:
    sizes: list[int] = []
    writer = make_writer(
        redis_server.url, limits={"batch_events": 400}, on_batch=lambda batch: sizes.append(batch.events)
    )
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    writer.tick(*ticker("FIRST"))
    await until(lambda: writer.outbox.is_empty)
    for _ in range(1000):
        writer.tick(*ticker())
    await until(lambda: writer.outbox.is_empty)
    entries = await log_of(redis_server)
    assert len(entries) == 1001
    assert_whole(entries)
    assert sizes[0] == 1
    assert sizes[1:] == [400, 400, 200]
    assert writer.stats.written == 1001
    await running.stop(writer)


async def test_the_status_says_who_serves_what_and_how_far_it_is(redis_server: RedisServer, running: Running) -> None:
    writer = make_writer(redis_server.url)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    writer.status(live())
    writer.tick(*ticker())
    writer.candle(*candle(closed=True))
    await until(lambda: writer.outbox.is_empty)
    async with connected(redis_server) as redis:
        told: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            while told.get("log_id") != writer.outbox.log_ids[0]:
                flat = [part.decode() for part in await redis.command("HGETALL", LAYOUT.status("m0"))]
                told = dict(zip(flat[::2], flat[1::2], strict=True))
    assert (told["state"], told["worker"], told["candle_log_id"]) == ("live", "w1", writer.outbox.log_ids[1])
    assert int(told["epoch"]) == writer.stats.epoch
    assert int(told["last_event"]) == writer.outbox.last_event_us
    assert int(told["settled"]) >= writer.outbox.last_event_us
    await running.stop(writer)


async def test_an_idle_scope_beats_on_though_its_timers_fire_early(
    redis_server: RedisServer, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop's timers may fire half a millisecond before the clock says so, and nothing else wakes an idle writer."""
    call_later = asyncio.get_running_loop().call_later

    def too_early(delay: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        return call_later(max(0.0, delay - 0.01), *args, **options)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", too_early)
    writer = make_writer(redis_server.url)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    beats: set[bytes] = set()

    async def has_beaten_five_times() -> bool:
        async with connected(redis_server) as redis:
            beats.add(await redis.command("HGET", LAYOUT.status("m0"), "beat"))
        return len(beats) > 5

    await eventually(has_beaten_five_times)
    await running.stop(writer)


async def test_a_second_writer_stands_by_and_takes_over_at_once_when_the_first_gives_up(
    redis_server: RedisServer, running: Running
) -> None:
    """It does not wait for the end of a lease, which would be in ten minutes."""
    first, second = (make_writer(redis_server.url, worker=worker, ttl_s=600.0) for worker in ("w1", "w2"))
    running.start(first)
    await until(lambda: first.outbox.is_open)
    first.status(live())
    running.start(second)
    first.tick(*ticker())
    await until(lambda: second.stats.redis is RedisState.READY)
    assert not second.is_owner
    await running.stop(first)
    await until(lambda: second.outbox.is_open)
    second.status(live())
    second.tick(*ticker())
    await running.stop(second)
    entries = await log_of(redis_server)
    assert_whole(entries)
    assert second.stats.epoch > first.stats.epoch
    ticks = [event for _, event in entries if event.topic != "status"]
    assert [(event.seq, event.epoch) for event in ticks] == [(1, first.stats.epoch), (2, second.stats.epoch)]
    begin, end = notices(entries, Cause.TAKEOVER)
    (down,) = [status for status in notices(entries, Cause.SHUTDOWN) if status.since == begin.since]
    assert (begin.state, end.state, end.since) == (FeedState.BLIND, FeedState.LIVE, down.since)
    assert end.until is not None


async def test_a_dead_owners_scope_is_free_after_its_time_to_live(redis_server: RedisServer, running: Running) -> None:
    first, second = make_writer(redis_server.url, ttl_s=0.3), make_writer(redis_server.url, worker="w2")
    task = running.start(first)
    await until(lambda: first.outbox.is_open)
    first.status(live())
    first.tick(*ticker())
    await until(lambda: first.outbox.is_empty)
    task.cancel()
    running.start(second)
    await until(lambda: second.outbox.is_open)
    second.status(live())
    second.tick(*ticker())
    await running.stop(second)
    entries = await log_of(redis_server)
    assert_whole(entries)
    assert len(notices(entries, Cause.TAKEOVER)) == 2


async def test_a_fenced_writer_drops_what_it_holds_and_stands_by_again(
    redis_server: RedisServer, running: Running
) -> None:
    owned: list[bool] = []
    writer = make_writer(redis_server.url, on_owner=lambda _scope, is_ours: owned.append(is_ours))
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    async with connected(redis_server) as redis:
        await redis.command("SET", LAYOUT.lease("m0"), f"w2/{writer.stats.epoch + 1}", "PX", 60_000)
        await redis.command("SET", LAYOUT.epoch("m0"), writer.stats.epoch + 1)
        writer.tick(*ticker())
        await until(lambda: not writer.is_owner)
        assert not writer.outbox.is_open
        assert writer.stats.discarded >= 1
        assert await redis.command("EXISTS", LAYOUT.log("m0")) == 0
        await redis.command("DEL", LAYOUT.lease("m0"))
        await until(lambda: writer.is_owner)
    assert owned == [True, False, True]
    await running.stop(writer)


async def test_a_writer_whose_process_slept_asks_before_it_writes(redis_server: RedisServer, running: Running) -> None:
    """After SIGSTOP the first thing it sees is its own clock: the lease is in doubt, and nothing is sent under it."""
    asleep = [0.0]
    writer = make_writer(redis_server.url, clock=lambda: time.monotonic() + asleep[0])
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    writer.tick(*ticker())
    await until(lambda: writer.outbox.is_empty)
    epoch = writer.stats.epoch
    async with connected(redis_server) as redis:
        await redis.command("SET", LAYOUT.lease("m0"), f"w2/{epoch + 1}", "PX", 60_000)
        asleep[0] = 60.0
        assert writer._lease.state(writer._options.clock()) is LeaseState.DOUBTFUL
        writer.tick(*ticker())
        await until(lambda: not writer.is_owner)
        assert await redis.command("XLEN", LAYOUT.log("m0")) == 1


async def test_a_heartbeat_whose_answer_comes_after_the_next_is_due_is_followed_by_it(
    redis_server: RedisServer, running: Running
) -> None:
    """With nothing to write the writer slept on, until its lease was over and anybody could take the scope."""
    writer = make_writer(redis_server.url, ttl_s=60.0)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)

    async def is_overdue() -> bool:
        """One heartbeat has no answer yet, and the next one is due."""
        for _ in range(10):
            if not writer._is_beat_due:
                return False
            await asyncio.sleep(0)
        return True

    async with connected(redis_server) as redis:
        redis_server.stop()
        await eventually(is_overdue)
        redis_server.cont()
        beaten = await _calls(redis, "evalsha")

        async def has_beaten() -> bool:
            return await _calls(redis, "evalsha") >= beaten + 3

        await eventually(has_beaten)
    await running.stop(writer)


async def _calls(redis: RespStream, command: str) -> int:
    """How often Redis has run it."""
    for line in (await redis.command("INFO", "commandstats")).decode().splitlines():
        if line.startswith(f"cmdstat_{command}:calls="):
            return int(line.partition("=")[2].partition(",")[0])
    return 0


async def test_an_expired_lease_that_nobody_took_is_taken_again_and_nothing_is_lost(
    redis_server: RedisServer, running: Running
) -> None:
    writer = make_writer(redis_server.url)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    epoch = writer.stats.epoch
    async with connected(redis_server) as redis:
        await redis.command("DEL", LAYOUT.lease("m0"))
    for _ in range(10):
        writer.tick(*ticker())
    await until(lambda: writer.stats.epoch > epoch and writer.outbox.is_empty)
    entries = await log_of(redis_server)
    assert_whole(entries)
    assert len([event for _, event in entries if event.topic != "status"]) == 10
    assert notices(entries, Cause.TAKEOVER) == []
    await running.stop(writer)


async def test_a_lost_answer_writes_nothing_twice(
    redis_server: RedisServer, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is cut when the server has applied the batch and its answer is not yet read."""
    writer = make_writer(redis_server.url)
    connect, cuts = writer._connect, 20

    async def connect_to_lose() -> RespStream:
        stream = await connect()
        send = stream.send

        def lose(packed: bytes, **options: Any) -> asyncio.Future[list[Any]]:
            nonlocal cuts
            answer = send(packed, **options)
            if WRITE_BATCH.sha.encode() not in packed or not cuts:
                return answer
            cuts -= 1
            lost: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(lambda _: lost.set_exception(LinkClosedError("cut by the test")))
            return lost

        monkeypatch.setattr(stream, "send", lose)
        return stream

    monkeypatch.setattr(writer, "_connect", connect_to_lose)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    number = 0
    while cuts:
        writer.tick(*ticker(price=str(number)))
        number += 1
        await asyncio.sleep(0.005)
    await until(lambda: writer.outbox.is_empty)
    await running.stop(writer)
    entries = await log_of(redis_server)
    assert_whole(entries)
    assert [event.data["price"] for _, event in entries if event.topic != "status"] == [str(n) for n in range(number)]
    assert writer.stats.written == len(entries)


async def test_redis_killed_under_load_costs_no_order_and_no_order_of_them(
    make_redis: Callable[..., RedisServer], running: Running
) -> None:
    server = await asyncio.to_thread(make_redis, appendonly=True)
    writer = make_writer(server.url, ACCOUNT)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            writer.order(*order(str(sent), "filled" if sent % 3 == 0 else "pending"))
            sent += 1

    for _ in range(3):
        for _ in range(50):
            send(20)
            await asyncio.sleep(0.001)
        await asyncio.to_thread(server.kill)
        send(500)
        await until(lambda: writer.stats.redis is not RedisState.READY)
        send(500)
        await asyncio.to_thread(server.start)
        send(100)
        await until(lambda: writer.stats.redis is RedisState.READY and writer.outbox.is_empty)
    await running.stop(writer)
    entries = await log_of(server, ACCOUNT)
    assert_whole(entries)
    assert [event.data["order_id"] for _, event in entries if event.topic == "orders"] == [str(n) for n in range(sent)]
    assert len(notices(entries, Cause.REDIS_LOST)) == 3
    assert writer.stats.dropped == 0


@pytest.mark.parametrize("appendonly", [True, False])
async def test_after_an_outage_the_owner_comes_before_a_standby_with_nothing_to_write(
    make_redis: Callable[..., RedisServer], running: Running, *, appendonly: bool
) -> None:
    """Redis was away for longer than a lease lives: the standby finds it free, and the owner has the orders."""
    server = await asyncio.to_thread(make_redis, appendonly=appendonly)
    owner = make_writer(server.url, ACCOUNT, ttl_s=0.3)
    standby = make_writer(server.url, ACCOUNT, worker="w2", ttl_s=0.3)
    running.start(owner)
    await until(lambda: owner.outbox.is_open)
    running.start(standby)
    await until(lambda: standby.is_ready)
    sent = 0
    for _ in range(5):
        failures = standby.stats.redis_failures
        await asyncio.to_thread(server.kill)
        for _ in range(10):
            owner.order(*order(str(sent)))
            sent += 1
        await until(lambda failures=failures: standby.stats.redis_failures > failures)
        await asyncio.sleep(0.35)  # the lease's whole life
        await asyncio.to_thread(server.start)
        await until(lambda: owner.outbox.is_empty and standby.is_ready and owner.is_ready)
        assert owner.is_owner
        assert not standby.is_owner
    entries = await log_of(server, ACCOUNT)
    assert_whole(entries)
    assert [event.data["order_id"] for _, event in entries if event.topic == "orders"] == [str(n) for n in range(sent)]
    assert owner.stats.discarded == 0


async def test_after_redis_was_stopped_for_longer_than_a_lease_lives_the_owner_comes_first(
    redis_server: RedisServer, running: Running
) -> None:
    """What the standby asked meanwhile is answered first, and late: it takes nothing on that."""
    owner = make_writer(redis_server.url, ACCOUNT, ttl_s=0.6)
    standby = make_writer(redis_server.url, ACCOUNT, worker="w2", ttl_s=0.6)
    running.start(owner)
    await until(lambda: owner.outbox.is_open)
    running.start(standby)
    await until(lambda: standby.is_ready)
    redis_server.stop()
    owner.order(*order("1"))
    await asyncio.sleep(1.2)  # twice the lease's life
    redis_server.cont()
    await until(lambda: owner.outbox.is_empty)
    assert owner.is_owner
    assert not standby.is_owner
    await running.stop(owner)
    assert [event.data["order_id"] for _, event in await log_of(redis_server, ACCOUNT) if event.topic == "orders"] == [
        "1"
    ]


@pytest.mark.parametrize(("took_s", "is_abandoned"), [(0.1, True), (1.0, False)])
async def test_a_late_answer_does_not_make_a_lease_abandoned(took_s: float, *, is_abandoned: bool) -> None:
    now = [10.0]
    writer = make_writer("redis://127.0.0.1:1", clock=lambda: now[0])
    writer._stood_by(Refused("w2/7", 1000), asked_at=10.0)
    now[0] += took_s
    writer._stood_by(Free(is_new=False, is_released=False), asked_at=10.0)
    assert writer._vacancy.may_take(11.1) is is_abandoned


async def test_a_restarted_server_without_persistence_gets_what_is_still_known(
    redis_server: RedisServer, running: Running
) -> None:
    writer = make_writer(redis_server.url, ACCOUNT)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    for number in range(10):
        writer.order(*order(str(number)))
    await until(lambda: writer.outbox.is_empty)
    epoch = writer.stats.epoch
    await asyncio.to_thread(redis_server.restart)
    writer.order(*order("10"))
    await until(lambda: writer.stats.resent == 10 and writer.outbox.is_empty)
    entries = await log_of(redis_server, ACCOUNT)
    assert_whole(entries)
    assert [event.data["order_id"] for _, event in entries if event.topic == "orders"] == [str(n) for n in range(11)]
    assert all(event.epoch > epoch for _, event in entries)
    assert notices(entries, Cause.LOG_REPLACED)
    await running.stop(writer)


async def test_a_wiped_server_gets_a_new_log_and_work_goes_on(redis_server: RedisServer, running: Running) -> None:
    writer = make_writer(redis_server.url)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    writer.tick(*ticker())
    await until(lambda: writer.outbox.is_empty)
    async with connected(redis_server) as redis:
        before = await redis.command("HGET", LAYOUT.seq("m0"), "#id")
        await redis.command("FLUSHALL")
        writer.tick(*ticker("NEW"))
        await until(lambda: writer.outbox.is_empty)
        assert await redis.command("HGET", LAYOUT.seq("m0"), "#id") not in (None, before)
    (told,) = notices(entries := await log_of(redis_server), Cause.LOG_REPLACED)
    assert told.count == 1
    assert_whole(entries)
    await running.stop(writer)


async def test_a_standby_that_takes_over_a_wiped_server_tells_since_when_nobody_was_there(
    redis_server: RedisServer, running: Running
) -> None:
    owner, standby = (make_writer(redis_server.url, worker=worker, ttl_s=0.3) for worker in ("w1", "w2"))
    begun_us = time.time_ns() // 1000
    task = running.start(owner)
    await until(lambda: owner.outbox.is_open)
    running.start(standby)
    await until(lambda: standby._owner_seen_us)
    task.cancel()
    async with connected(redis_server) as redis:
        await redis.command("FLUSHALL")
    wiped_us = time.time_ns() // 1000
    await until(lambda: standby.outbox.is_open)
    granted_us = time.time_ns() // 1000
    standby.status(live())
    await running.stop(standby)
    begin, end = notices(await log_of(redis_server), Cause.TAKEOVER)
    assert begun_us <= to_us(begin.since) <= wiped_us
    assert (end.since, end.until) == (begin.since, end.until)
    assert end.until is not None
    assert to_us(end.until) >= granted_us


async def test_out_of_memory_is_redis_away_and_ends_by_itself(redis_server: RedisServer, running: Running) -> None:
    writer = make_writer(redis_server.url, limits={"buffer": BufferLimits(ticks=100)})
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    async with connected(redis_server) as redis:
        await redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1mb")
        for number in range(1000):
            writer.tick(*ticker(f"S{number % 10}", price=str(number)))
        writer.candle(*candle(closed=True))
        await until(lambda: writer.stats.redis_failures >= 3)
        assert writer.stats.redis is not RedisState.READY
        assert await redis.command("EXISTS", LAYOUT.log("m0"), LAYOUT.candle_log("m0")) == 0
        assert await redis.command("GET", LAYOUT.lease("m0")) == writer._lease.owner.encode(), "it stays the owner"
        await redis.command("CONFIG", "SET", "maxmemory", "0")
    await until(lambda: writer.outbox.is_empty and not writer.outbox.buffer.losses)
    entries = await log_of(redis_server)
    assert_whole(entries)
    newest = {event.topic: event.data["price"] for _, event in entries if event.topic != "status"}
    assert newest == {f"ticker:S{n}": str(990 + n) for n in range(10)}
    conflated = sum(status.count or 0 for status in notices(entries, Cause.CONFLATED))
    assert conflated == 1000 - len([1 for _, event in entries if event.topic != "status"]) > 0
    assert len(notices(entries, Cause.REDIS_LOST)) == 1
    assert len(await log_of(redis_server, candles=True)) == 1
    await until(lambda: writer.stats.lost == {("conflated", "ticker"): conflated})
    assert writer.stats.written_by_kind == {
        "ticker": 1000 - conflated,
        "candles": 1,
        "status": writer.stats.notices,
    }
    await running.stop(writer)


async def test_a_log_with_foreign_entries_ahead_of_the_clock_is_moved_above(
    redis_server: RedisServer, running: Running
) -> None:
    writer = make_writer(redis_server.url)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    ahead_ms = time.time_ns() // 1_000_000 + 3_600_000
    async with connected(redis_server) as redis:
        await redis.command("XADD", LAYOUT.log("m0"), f"{ahead_ms}-5000", "x", "y")
        writer.tick(*ticker())
        await until(lambda: writer.outbox.is_empty)
        entries = await redis.command("XRANGE", LAYOUT.log("m0"), "-", "+")
    assert entries[1][0] == f"{ahead_ms + 1}-0".encode()
    await running.stop(writer)


async def test_a_wrong_type_in_the_way_is_waited_for(redis_server: RedisServer, running: Running) -> None:
    writer = make_writer(redis_server.url)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    async with connected(redis_server) as redis:
        await redis.command("SET", LAYOUT.log("m0"), "in the way")
        writer.tick(*ticker())
        await until(lambda: writer.stats.redis_failures >= 2)
        assert await redis.command("HGET", LAYOUT.seq("m0"), "#batch") is None
        await redis.command("DEL", LAYOUT.log("m0"))
    await until(lambda: writer.outbox.is_empty)
    assert_whole(await log_of(redis_server))
    await running.stop(writer)


async def test_redis_that_is_not_there_yet_is_waited_for(
    make_redis: Callable[..., RedisServer], running: Running
) -> None:
    server = await asyncio.to_thread(make_redis)
    await asyncio.to_thread(server.kill)
    writer = make_writer(server.url, ttl_s=0.3)
    running.start(writer)
    await until(lambda: writer.stats.redis_failures >= 3)
    assert not writer.is_ready
    await asyncio.to_thread(server.start)
    await until(lambda: writer.outbox.is_open and writer.is_ready)
    await running.stop(writer)


async def test_stop_ends_a_writer_that_stands_by_and_one_that_owns(redis_server: RedisServer, running: Running) -> None:
    first, second = make_writer(redis_server.url), make_writer(redis_server.url, worker="w2")
    running.start(first)
    await until(lambda: first.outbox.is_open)
    running.start(second)
    await until(lambda: second.is_ready)
    await running.stop(second)
    for _ in range(2000):
        first.tick(*ticker())
    await running.stop(first)
    entries = await log_of(redis_server)
    assert len(entries) == 2001, "all is written before the lease is given back"
    assert notices(entries)[-1].cause == Cause.SHUTDOWN


async def test_scripts_that_the_server_forgot_are_loaded_again(redis_server: RedisServer, running: Running) -> None:
    writer = make_writer(redis_server.url)
    running.start(writer)
    await until(lambda: writer.outbox.is_open)
    async with connected(redis_server) as redis:
        await redis.command("SCRIPT", "FLUSH")
    writer.tick(*ticker())
    await until(lambda: writer.outbox.is_empty)
    assert_whole(await log_of(redis_server))
    await running.stop(writer)


async def test_a_cancelled_writer_leaves_at_every_await(redis_server: RedisServer) -> None:
    for wait in (0.0, 0.001, 0.005, 0.02, 0.05):
        writer = make_writer(redis_server.url, worker=f"w{wait}", ttl_s=0.2)
        task = asyncio.create_task(writer.run())
        await asyncio.sleep(wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_two_rivals_never_write_the_same_seq(redis_server: RedisServer, running: Running) -> None:
    """Two writers fight for a scope whose lease an operator keeps deleting; the log stays whole."""
    writers = [make_writer(redis_server.url, worker=f"w{n}", ttl_s=0.3) for n in range(2)]
    for writer in writers:
        running.start(writer)

    epochs: set[int] = set()

    async def feed(writer: Any) -> None:
        while len(epochs) < 10:
            if writer.outbox.is_open:
                writer.tick(*ticker())
                epochs.add(writer.stats.epoch)
            await asyncio.sleep(0.002)

    async with connected(redis_server) as redis:
        tasks = [asyncio.create_task(feed(writer)) for writer in writers]
        while not all(task.done() for task in tasks):
            await redis.command("DEL", LAYOUT.lease("m0"))
            await asyncio.sleep(0.02)
    for writer in writers:
        await running.stop(writer)
    entries = await log_of(redis_server)
    assert_whole(entries)
    assert len({event.epoch for _, event in entries}) > 3

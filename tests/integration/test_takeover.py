"""Two workers, one active: killed, stopped, replaced; the sequence goes on, and the blind span is told."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from agentexchange.testing import SandboxExchange
from agentexchange_schemas import FeedStatus, account_scope
from agentexchange_schemas.envelope import Envelope, decode
from tests._patience import at_best
from tests.integration._system import KEY, Worker, eventually, worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer

TAKEOVER_S = 5.0
SCOPES = ("m0", account_scope(KEY))


def log(redis: Redis, scope: str = "m0") -> list[Envelope]:
    return [decode(entry[b"e"]) for _, entry in redis.xrange(f"ax:{{{scope}}}:log")]


def owner(redis: Redis, scope: str = "m0") -> str:
    return (redis.get(f"ax:{{{scope}}}:lease") or b"").decode().partition("/")[0]


def is_registered(redis: Redis, worker: Worker) -> bool:
    return any(f"-{worker.pid}-" in name.decode() for name in redis.zrange("ax:workers", 0, -1))


def assert_whole(events: list[Envelope]) -> None:
    """Seqs of each topic without a hole, epochs and times growing."""
    last: dict[str, int] = {}
    for event in events:
        assert event.seq == last.get(event.topic, 0) + 1, event
        last[event.topic] = event.seq
    for before, after in pairwise(events):
        assert before.received_us < after.received_us
        assert before.epoch <= after.epoch


def takeovers(events: list[Envelope]) -> list[FeedStatus]:
    notices = [FeedStatus.from_fields(event.data) for event in events if event.topic == "status"]
    return [notice for notice in notices if notice.cause == "takeover"]


async def active_of(redis: Redis, *workers: Worker) -> tuple[Worker, Worker]:
    """The worker that owns every scope, and the other."""

    def pids() -> set[str]:
        return {owner(redis, scope).split("-")[-2] if owner(redis, scope) else "" for scope in SCOPES}

    await eventually(lambda: len(pids()) == 1 and "" not in pids(), what="one owner of all scopes")
    pid = int(pids().pop())
    first, second = workers
    return (first, second) if first.pid == pid else (second, first)


@pytest.mark.server
async def test_a_standby_takes_over_from_a_killed_worker(redis_server: RedisServer, tmp_path: Path) -> None:
    redis = Redis.from_url(redis_server.url)
    async with SandboxExchange(rate=1000, order_rate=20, api_keys=[KEY]) as exchange:
        with worker(exchange.url, redis_server.url, log=tmp_path / "first.log") as first:
            await eventually(lambda: len(log(redis)) > 100)
            with worker(exchange.url, redis_server.url, log=tmp_path / "second.log"):
                await eventually(lambda: redis.zcard("ax:workers") == 2)
                first.end(signal.SIGKILL)
                before = log(redis)[-1]
                await eventually(lambda: takeovers(log(redis)) and len(log(redis)) > 1000)
                for scope in SCOPES:
                    events = log(redis, scope)
                    assert_whole(events)
                    assert events[-1].epoch > events[0].epoch
                    told = takeovers(events)[-1]
                    assert told.since.timestamp() * 1e6 <= before.received_us + 2_000_000
                    assert told.until is None or told.until > told.since


@pytest.mark.server
async def test_a_takeover_from_a_killed_worker_takes_seconds(redis_server: RedisServer, tmp_path: Path) -> None:
    redis = Redis.from_url(redis_server.url)
    async with SandboxExchange(rate=1000, api_keys=[KEY]) as exchange:
        with contextlib.ExitStack() as stack:
            workers = (
                stack.enter_context(worker(exchange.url, redis_server.url, log=tmp_path / f"{number}.log"))
                for number in itertools.count()
            )
            running = [next(workers)]
            await eventually(lambda: len(log(redis)) > 100)

            async def take_over() -> float:
                running.append(next(workers))
                await eventually(lambda: is_registered(redis, running[-1]))
                killed_at = time.monotonic()
                running[-2].end(signal.SIGKILL)
                before = log(redis)[-1]
                await eventually(lambda: log(redis)[-1].received_us > before.received_us + 1)
                return time.monotonic() - killed_at

            assert await at_best(take_over, within_s=TAKEOVER_S) <= TAKEOVER_S


@pytest.mark.server
async def test_a_standby_takes_over_at_once_from_a_worker_that_stops(redis_server: RedisServer, tmp_path: Path) -> None:
    """Its lease would live for a minute more."""
    redis = Redis.from_url(redis_server.url)
    long_lease = ("--lease-ttl-s", "60")
    async with SandboxExchange(rate=1000, api_keys=[KEY]) as exchange:
        with worker(exchange.url, redis_server.url, log=tmp_path / "first.log", args=long_lease) as first:
            await eventually(lambda: len(log(redis)) > 100)
            with worker(exchange.url, redis_server.url, log=tmp_path / "second.log", args=long_lease) as second:
                await eventually(lambda: redis.zcard("ax:workers") == 2)
                assert first.end(signal.SIGTERM) == 0
                assert not owner(redis) or str(second.pid) in owner(redis)
                await eventually(lambda: str(second.pid) in owner(redis), what="no wait for the lease to end")
                count = len(log(redis))
                await eventually(lambda: len(log(redis)) > count + 100)
                assert_whole(log(redis))


@pytest.mark.server
async def test_a_stopped_worker_that_comes_back_writes_nothing_and_stands_by(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis = Redis.from_url(redis_server.url)
    async with SandboxExchange(rate=1000, order_rate=20, api_keys=[KEY]) as exchange:
        logs = tmp_path / "a.log", tmp_path / "b.log"
        with (
            worker(exchange.url, redis_server.url, log=logs[0]) as one,
            worker(exchange.url, redis_server.url, log=logs[1]) as two,
        ):
            await eventually(lambda: redis.zcard("ax:workers") == 2 and len(log(redis)) > 100)
            old, new = await active_of(redis, one, two)
            old.send(signal.SIGSTOP)
            old_epoch = log(redis)[-1].epoch
            await eventually(lambda: str(new.pid) in owner(redis))
            await eventually(lambda: log(redis)[-1].epoch > old_epoch)
            old.send(signal.SIGCONT)
            await eventually(lambda: any("fenced" in str(line.get("event")) for line in old.lines()), what="it is told")
            count = len(log(redis))
            await eventually(lambda: len(log(redis)) > count + 1000)
            assert_whole(log(redis))
            assert str(new.pid) in owner(redis)

            new.end(signal.SIGKILL)
            await eventually(lambda: str(old.pid) in owner(redis), what="it stands by again")
            count = len(log(redis))
            await eventually(lambda: len(log(redis)) > count + 100)
            for scope in SCOPES:
                assert_whole(log(redis, scope))

"""A recorder against a real server: gaps, restarts, replaced logs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._urls import redis_url
from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange.recording import Recording, RotatingWriter, TopicChoice, WriterOptions
from agentexchange_bridge.acl import PASSWORD_PLACEHOLDER, crew_rule
from agentexchange_bridge.recorder import Recorder, RecorderOptions
from agentexchange_schemas import Cause, FeedStatus, Layout, account_scope
from tests.sdk._layout_writer import LayoutWriter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from agentexchange.recording import Recorded
    from tests._servers import RedisServer

pytestmark = pytest.mark.server
ACCOUNT = account_scope("ak_live_recorded")
TOPICS = ["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"]


class Run:
    """A recorder under way, and what it told."""

    def __init__(self, server: RedisServer, path: Path, **options: Any) -> None:
        self.told: list[str] = []
        self.writer = RotatingWriter(path, options=WriterOptions(block_s=0.05, fsync="never"))
        self.recorder = Recorder(
            RecorderOptions(
                url=redis_url(server.url), writer=self.writer, tell=self.told.append, **{"block_s": 0.05} | options
            )
        )

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(self.recorder.run(stop))
        try:
            yield
        finally:
            stop.set()
            try:
                await task
            finally:
                self.writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - looks at counters that nobody announces
                await asyncio.sleep(0.02)


@pytest.fixture
def log(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    writer = LayoutWriter(redis_server.url)
    writer.install()
    writer.lease()
    yield writer
    writer.close()


def events(path: Path) -> list[Recorded]:
    with Recording(path) as recording:
        return list(recording.events())


def holes(path: Path) -> list[FeedStatus]:
    return [FeedStatus.from_fields(e.envelope.data) for e in events(path) if e.envelope.topic == "status"]


async def test_what_the_logs_get_is_recorded_byte_by_byte(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    log.bulk(TOPICS, 30)
    account = LayoutWriter(redis_server.url, ACCOUNT)
    account.event("orders", {"order_id": "1", "status": "new"})
    run = Run(redis_server, tmp_path / "day.axlog", accounts=(ACCOUNT,), start_us=0)
    async with run.going():
        log.bulk(TOPICS, 3000)
        log.notice({"state": "live", "since": "2026-11-22T10:00:00Z"})
        account.event("orders", {"order_id": "1", "status": "filled"})
        account.close()
        await run.until(lambda: run.writer.events == 3033)
    layout = Layout()
    wanted = {
        fields[b"e"]
        for key in (layout.log("m0"), layout.candle_log("m0"), layout.log(ACCOUNT))
        for _, fields in log.client.xrange(key)
    }
    found = events(tmp_path / "day.axlog")
    assert [e.envelope.received_us for e in found] == sorted(e.envelope.received_us for e in found)
    assert {e.raw for e in found} == wanted
    assert len(found) == 3033
    assert {e.scope for e in found} == {"m0", ACCOUNT}
    assert run.told == []


async def test_it_begins_with_now_and_takes_only_what_is_wanted(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    log.bulk(TOPICS, 30)
    run = Run(redis_server, tmp_path / "day.axlog", topics=TopicChoice(["ticker:ETHUSDT"]))
    async with run.going():
        await run.until(lambda: all(source.cursor for source in run.recorder._sources) and run.recorder._has_worked)
        log.bulk(TOPICS, 30)
        await run.until(lambda: run.writer.events == 10)
    assert [e.envelope.seq for e in events(tmp_path / "day.axlog")] == list(range(11, 21))


async def test_after_a_pause_it_goes_on_with_the_very_next_event_of_every_log(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    path = tmp_path / "day.axlog"
    log.bulk(TOPICS[:2], 30)
    run = Run(redis_server, path, start_us=0)
    async with run.going():
        await run.until(lambda: run.writer.events == 30)
    log.bulk(TOPICS, 30)  # candles for the first time
    run = Run(redis_server, path)
    async with run.going():
        await run.until(lambda: run.writer.events == 30)
    assert len({e.raw for e in events(path)}) == len(events(path)) == 60
    assert run.told == []


async def test_a_restarted_redis_costs_nothing_that_it_kept(
    make_redis: Callable[..., RedisServer], tmp_path: Path
) -> None:
    server = make_redis(appendonly=True, options={"appendfsync": "always"})
    log = LayoutWriter(server.url)
    log.install()
    log.bulk(TOPICS, 300)
    run = Run(server, tmp_path / "day.axlog", start_us=0)
    async with run.going():
        await run.until(lambda: run.writer.events == 300)
        server.kill()
        await run.until(lambda: run.recorder.stats.is_away)
        server.start()
        log.bulk(TOPICS, 300)
        await run.until(lambda: run.writer.events == 600)
    log.close()
    assert len({e.raw for e in events(tmp_path / "day.axlog")}) == 600
    assert (run.recorder.stats.outages, run.recorder.stats.holes) == (1, 0)
    assert [sentence.partition(":")[0] for sentence in run.told] == ["Redis is away, trying again", "Redis is back"]


async def test_what_was_trimmed_while_it_was_away_is_told_with_its_numbers(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    """The server does not answer meanwhile: seqs tell what later events show, counters what quiet topics lack."""
    path = tmp_path / "day.axlog"
    log.bulk(TOPICS[:2], 20)
    gate = asyncio.Event()
    gate.set()

    async def gated(_: float) -> None:
        await gate.wait()

    run = Run(redis_server, path, start_us=0, sleep=gated)
    async with run.going():
        await run.until(lambda: run.writer.events == 20)
        gate.clear()
        log.bulk(TOPICS[:1], 1)
        await run.until(lambda: run.writer.events == 21)
        log.bulk(TOPICS[:2], 60)
        log.client.xtrim(Layout().log("m0"), maxlen=2, approximate=False)
        gate.set()
        await run.until(lambda: run.recorder.stats.holes == 2)
    told = holes(path)
    assert {(hole.topic, hole.first_missing, hole.last_missing) for hole in told} == {
        ("ticker:BTCUSDT", 12, 40),
        ("ticker:ETHUSDT", 11, 39),
    }
    assert all(hole.cause == Cause.TRIMMED and hole.scope == "m0" for hole in told)
    assert run.recorder.stats.missing == 58
    topics = [e.envelope.topic for e in events(path)]
    assert topics[-4:] == ["status", "ticker:BTCUSDT", "status", "ticker:ETHUSDT"]


async def test_a_pause_longer_than_the_log_is_told(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    path = tmp_path / "day.axlog"
    log.bulk(TOPICS[:2], 20)
    run = Run(redis_server, path, start_us=0)
    async with run.going():
        await run.until(lambda: run.writer.events == 20)
    log.bulk(TOPICS[:2], 20)
    log.client.xtrim(Layout().log("m0"), maxlen=4, approximate=False)
    run = Run(redis_server, path)
    async with run.going():
        await run.until(lambda: run.writer.events == 5)
    (hole,) = holes(path)
    assert (hole.topic, hole.cause, hole.count) == (None, Cause.TRIMMED, None)
    assert "no longer holds everything after" in run.told[0]


async def test_a_replaced_log_is_recorded_from_its_beginning_and_told(
    redis_server: RedisServer, log: LayoutWriter, tmp_path: Path
) -> None:
    path = tmp_path / "day.axlog"
    log.bulk(TOPICS[:2], 20)
    run = Run(redis_server, path, start_us=0, look_every_s=0.05)
    async with run.going():
        await run.until(lambda: run.writer.events == 20)
        log.client.flushall()
        other = LayoutWriter(redis_server.url)
        other.log_name, other.received_us = "log-2", log.received_us - 10_000_000  # a clock that was set back
        other.install()
        other.bulk(TOPICS[:2], 10)
        other.close()
        await run.until(lambda: run.writer.events >= 31)
    with Recording(path) as recording:
        assert {(lane.log, lane.log_id) for lane in recording.lanes} >= {("log", "log-1"), ("log", "log-2")}
        assert recording.count >= 31
    assert {hole.cause for hole in holes(path)} == {Cause.LOG_REPLACED}
    assert "was replaced by another" in run.told[0]


async def test_it_waits_for_a_bridge_and_misses_nothing_of_it(redis_server: RedisServer, tmp_path: Path) -> None:
    run = Run(redis_server, tmp_path / "day.axlog", look_every_s=0.05)
    async with run.going():
        await run.until(lambda: bool(run.told))
        assert "no bridge has written under the prefix 'ax' yet" in run.told[0]
        log = LayoutWriter(redis_server.url)
        log.install()
        log.bulk(TOPICS, 30)
        log.close()
        await run.until(lambda: run.writer.events == 30)


async def test_a_layout_it_does_not_know_ends_it(redis_server: RedisServer, log: LayoutWriter, tmp_path: Path) -> None:
    log.install(version=2)
    run = Run(redis_server, tmp_path / "day.axlog")
    with pytest.raises(FinalConnectionError, match="layout version 2"):
        await asyncio.wait_for(run.recorder.run(asyncio.Event()), 10)
    run.writer.close()


async def test_a_crews_rights_are_enough(redis_server: RedisServer, log: LayoutWriter, tmp_path: Path) -> None:
    log.bulk(TOPICS, 30)
    account = LayoutWriter(redis_server.url, ACCOUNT)
    account.event("orders", {"order_id": "1", "status": "new"})
    account.close()
    log.client.execute_command("ACL", "SETUSER", "crew", "reset", *crew_rule("ax", [ACCOUNT]).split())
    run = Run(redis_server, tmp_path / "day.axlog", start_us=0, accounts=(ACCOUNT,), look_every_s=0.0)
    url = redis_server.url.replace("://", f"://crew:{PASSWORD_PLACEHOLDER}@")
    run.recorder._options = dataclasses.replace(run.recorder._options, url=redis_url(url))
    async with run.going():
        await run.until(lambda: run.writer.events == 31)
    assert run.told == []

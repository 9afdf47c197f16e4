"""A replay of logs whose server goes away, and what it tells when they come back shorter, or as others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, EventMeta, FeedStatus, ReplayProgress
from agentexchange import ConnectionError as PublicConnectionError
from agentexchange._urls import redis_url
from agentexchange.redis import LinkClosedError
from agentexchange.replay import RedisSource
from agentexchange.replay._link import Link
from agentexchange_schemas import Cause, FeedState
from agentexchange_schemas.envelope import decode
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._shared_client import KEY
from tests.sdk.replay._sources import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from agentexchange.recording import LaneRun, TopicChoice
    from tests._servers import RedisServer

pytestmark = pytest.mark.server

A, B, RARE = "ticker:A", "ticker:B", "ticker:RARE"
MAYBE = (None, Cause.TRIMMED, None, None)


@pytest.fixture
def kept(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """A server that has all of its data again after a restart."""
    return make_redis(appendonly=True, options={"appendfsync": "always"})


@pytest.fixture
def writer(kept: RedisServer) -> Iterator[LayoutWriter]:
    with contextlib.closing(LayoutWriter(kept.url)) as writer:
        writer.install()
        yield writer


def cut(writer: LayoutWriter) -> int:
    """End the connections of replays, as a proxy or a firewall does; how many there were."""
    replays = [one["id"] for one in writer.client.client_list() if one["name"] == "agentexchange-replay"]
    for number in replays:
        writer.client.client_kill_filter(_id=number)
    return len(replays)


# What a program sees


class Program:
    """Replays ticks, and pauses at the fifth one."""

    def __init__(self, url: str) -> None:
        self.ws = AgentExchangeWS(KEY, url)
        self.seqs: list[int | None] = []
        self.told: list[FeedStatus] = []
        self.ws.on_status()(self.told.append)
        self.ws.on_ticker("A")(self._on_tick)
        self.control = self.ws.replay(speed=0, progress_bar=False)
        self.is_paused = asyncio.Event()

    async def _on_tick(self, data: dict[str, Any], meta: EventMeta) -> None:
        self.seqs.append(meta.seq)
        if len(self.seqs) == 5:
            self.control.pause()
            self.is_paused.set()

    async def until(self, condition: Callable[[ReplayProgress], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition(self.control.progress):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)


@pytest.fixture
async def program(kept: RedisServer, writer: LayoutWriter) -> AsyncIterator[Program]:
    """Of a log that is too long to be read ahead, while it is paused near its beginning."""
    writer.bulk([A], 20_000, pad="x" * 400)
    program = Program(kept.url)
    async with program.ws:
        await program.is_paused.wait()
        yield program


async def test_a_server_that_is_restarted_is_gone_on_with_at_the_very_next_entry(
    kept: RedisServer, program: Program
) -> None:
    await asyncio.to_thread(kept.kill)
    program.control.resume()
    await program.until(lambda progress: progress.is_away)
    assert len(program.seqs) < 20_000
    await asyncio.to_thread(kept.restart)
    async with asyncio.timeout(30):
        await program.control.finished()
    assert program.seqs == list(range(1, 20_001))
    assert [one.state for one in program.told] == [FeedState.LIVE]
    assert program.control.progress.share == 1
    assert not program.control.progress.is_away


async def test_a_connection_that_is_cut_too(writer: LayoutWriter, program: Program) -> None:
    assert cut(writer) == 1
    program.control.resume()
    async with asyncio.timeout(30):
        await program.control.finished()
    assert program.seqs == list(range(1, 20_001))


async def test_while_it_waits_it_is_steered_and_stopped(kept: RedisServer, program: Program) -> None:
    await asyncio.to_thread(kept.kill)
    program.control.resume()
    await program.until(lambda progress: progress.is_away)
    program.control.pause()
    await program.until(lambda progress: progress.is_paused)
    program.control.resume()
    await program.until(lambda progress: not progress.is_paused)
    program.ws.stop(drain=True, timeout=60)
    async with asyncio.timeout(20):  # not only when patience with handlers is at an end
        await program.control.finished()


async def test_what_was_trimmed_meanwhile_is_told_with_its_numbers(writer: LayoutWriter, program: Program) -> None:
    writer.client.xtrim(writer.layout.log("m0"), maxlen=100, approximate=False)
    program.control.resume()
    async with asyncio.timeout(30):
        await program.control.finished()
    read = program.seqs.index(19_901)
    assert program.seqs == [*range(1, read + 1), *range(19_901, 20_001)]
    _, warning, gap = program.told
    assert (warning.topic, warning.state, warning.cause) == (None, FeedState.LIVE, Cause.TRIMMED)
    assert "events of this span may be missing: the log no longer holds them" in str(warning.message)
    assert (warning.since, warning.until) == (gap.since, gap.until)
    assert (gap.scope, gap.topic, gap.state, gap.cause) == ("m0", A, FeedState.LIVE, Cause.TRIMMED)
    assert (gap.first_missing, gap.last_missing, gap.count) == (read + 1, 19_900, 19_900 - read)
    assert gap.message == f"{A}: {19_900 - read} events are missing: the log no longer holds them"


async def test_a_server_that_is_not_there_at_the_beginning_is_an_error(kept: RedisServer, writer: LayoutWriter) -> None:
    await asyncio.to_thread(kept.kill)
    with pytest.raises(PublicConnectionError, match="Redis at"):
        await Program(kept.url).ws.connect()


# What comes out of the source


class Reading:
    """The runs of a source, of which the first page was read."""

    def __init__(self, source: RedisSource, topics: TopicChoice = EVERYTHING, end_us: int | None = None) -> None:
        self._runs = source.runs(None, end_us, topics=topics)
        self.seqs: dict[str, list[int | None]] = {}
        self.gaps: list[FeedStatus] = []
        self.places: list[int] = []

    async def begin(self) -> Reading:
        self._take(await anext(self._runs))
        return self

    async def go_on(self) -> None:
        async with asyncio.timeout(20):
            async for run in self._runs:
                self._take(run)

    def _take(self, run: LaneRun) -> None:
        for raw in run.raws:
            envelope = decode(raw)
            self.places.append(envelope.received_us)
            if envelope.topic == "status":
                self.gaps.append(FeedStatus.from_fields(envelope.data))
            else:
                self.seqs.setdefault(envelope.topic, []).append(envelope.seq)

    def numbers(self) -> list[tuple[str | None, str | None, int | None, int | None]]:
        return [(gap.topic, gap.cause, gap.first_missing, gap.last_missing) for gap in self.gaps]


@contextlib.asynccontextmanager
async def reading(url: str, **options: Any) -> AsyncIterator[Reading]:
    async with RedisSource(redis_url(url), is_replayed=True) as source:
        yield await Reading(source, **options).begin()


async def test_the_gap_stands_before_the_first_event_behind_it_in_each_topic(writer: LayoutWriter) -> None:
    writer.bulk([A, B], 2000)
    async with reading(writer_url(writer)) as read:
        writer.client.xtrim(writer.layout.log("m0"), maxlen=1000, approximate=False)
        await read.go_on()
    assert read.seqs == {topic: [*range(1, 251), *range(501, 1001)] for topic in (A, B)}
    assert read.numbers() == [MAYBE, (A, Cause.TRIMMED, 251, 500), (B, Cause.TRIMMED, 251, 500)]
    assert read.places == sorted(read.places)


async def test_of_topics_that_were_quiet_since_the_counters_tell(writer: LayoutWriter) -> None:
    writer.bulk([A, B], 500)
    writer.bulk([B], 500)
    writer.bulk([A], 500)
    async with reading(writer_url(writer)) as read:
        writer.client.xtrim(writer.layout.log("m0"), maxlen=100, approximate=False)
        await read.go_on()
    assert read.numbers() == [MAYBE, (A, Cause.TRIMMED, 251, 650), (B, Cause.TRIMMED, 251, 750)]
    assert read.gaps[0].since == read.gaps[2].since < read.gaps[2].until


async def test_where_a_topic_was_not_seen_before_no_number_is_known_at_the_end_either(writer: LayoutWriter) -> None:
    writer.bulk([A], 600)
    writer.bulk([RARE], 1)
    writer.bulk([A], 600)
    async with reading(writer_url(writer)) as read:
        writer.client.xtrim(writer.layout.log("m0"), maxlen=0, approximate=False)
        await read.go_on()
    assert read.numbers() == [MAYBE, (A, Cause.TRIMMED, 501, 1200)]


async def test_of_a_part_of_a_log_that_is_gone_no_number_is_known(writer: LayoutWriter) -> None:
    writer.bulk([A], 2000)
    async with reading(writer_url(writer), end_us=writer.received_us - 500) as read:
        writer.client.xtrim(writer.layout.log("m0"), maxlen=10, approximate=False)
        await read.go_on()
    assert read.numbers() == [MAYBE]


async def test_a_log_that_came_back_as_another_is_not_read_on(kept: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk([A], 2000)
    async with reading(kept.url) as read:
        writer.client.flushall()
        writer.install()
        writer.log_name, writer.seqs, writer.epoch = "log-2", {}, 2
        writer.bulk([A], 50)
        await asyncio.to_thread(kept.restart)
        await read.go_on()
    assert read.seqs == {A: [*range(1, 501)]}
    assert read.numbers() == [(A, Cause.LOG_REPLACED, 501, 2000)]
    assert str(read.gaps[0].message).endswith("1500 events are missing: the log was replaced by another")


async def test_another_one_is_told_by_its_name_even_where_it_has_the_same_entries(writer: LayoutWriter) -> None:
    writer.bulk([A], 2000)
    async with reading(writer_url(writer)) as read:
        writer.client.hset(writer.layout.seq("m0"), "#id", "log-2")
        assert cut(writer) == 1
        await read.go_on()
    assert read.numbers() == [(A, Cause.LOG_REPLACED, 501, 2000)]


async def test_a_server_that_came_back_empty_has_lost_all(kept: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk([A], 2000)
    async with reading(kept.url) as read:
        writer.client.flushall()
        await asyncio.to_thread(kept.restart)
        await read.go_on()
    assert read.numbers() == [(A, Cause.LOG_REPLACED, 501, 2000)]


async def test_a_server_that_has_forgotten_the_last_entries_says_which(writer: LayoutWriter) -> None:
    writer.bulk([A], 800)
    async with reading(writer_url(writer)) as read:
        for entry_id, _ in writer.client.xrevrange(writer.layout.log("m0"), count=400):
            writer.client.xdel(writer.layout.log("m0"), entry_id)
        await read.go_on()
    assert read.numbers() == [(A, Cause.LOG_ROLLED_BACK, 501, 800)]


async def test_what_was_trimmed_since_it_was_opened_is_told_after_a_seek_back(writer: LayoutWriter) -> None:
    writer.bulk([A], 2000)
    async with RedisSource(redis_url(writer_url(writer)), is_replayed=True) as source:
        writer.client.xtrim(writer.layout.log("m0"), maxlen=700, approximate=False)
        read = await Reading(source).begin()
        await read.go_on()
    assert read.seqs == {A: [*range(1301, 2001)]}
    assert read.numbers() == [MAYBE]


async def test_a_log_that_is_trimmed_behind_what_was_read_lacks_nothing(writer: LayoutWriter) -> None:
    writer.bulk([A], 2000)
    async with reading(writer_url(writer)) as read:
        writer.client.xtrim(writer.layout.log("m0"), maxlen=1501, approximate=False)
        await read.go_on()
    assert read.seqs == {A: [*range(1, 2001)]}
    assert read.gaps == []


def writer_url(writer: LayoutWriter) -> str:
    return f"redis://127.0.0.1:{writer.client.connection_pool.connection_kwargs['port']}"


# The connection


async def test_it_tries_again_with_the_delays_of_every_client_until_an_answer_comes(kept: RedisServer) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            await asyncio.to_thread(kept.restart)

    link = Link(redis_url(kept.url), waits=True, sleep=sleep)
    await link.open()
    await asyncio.to_thread(kept.kill)
    answers = await asyncio.gather(link.command("PING"), link.command("ECHO", "x"))
    assert answers == [b"PONG", b"x"]
    assert [0.8 * full <= delay <= full for delay, full in zip(slept, (1, 2, 4), strict=True)] == [True] * 3
    assert link.connections == 2  # one for both
    assert not link.is_away
    slept.clear()
    link.stream.close()
    assert await link.command("PING") == b"PONG"
    assert [0.8 <= delay <= 1 for delay in slept] == [True]  # an answer was the proof of health
    await link.close()


async def test_where_it_does_not_wait_a_lost_connection_is_an_error(kept: RedisServer) -> None:
    link = Link(redis_url(kept.url), waits=False)
    await link.open()
    link.stream.close()
    with pytest.raises(LinkClosedError):
        await link.command("PING")
    assert not link.is_away

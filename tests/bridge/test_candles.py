"""The candles of one scope: what is read at a grant, what waits for it, and what becomes of both."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from agentexchange._urls import redis_url
from agentexchange.candles import CandleDesk, CandleSource, DeskStats
from agentexchange.candles._time import time_text
from agentexchange.redis import LinkClosedError, RespStream
from agentexchange_bridge.candles import ScopeCandles
from agentexchange_bridge.history import read_history
from agentexchange_schemas import Topic, envelope
from tests.bridge._kit import LAYOUT, fresh_grant, make_writer, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z, ms
MINUTE = 60_000
LOG = LAYOUT.candle_log("m0")
A1, A5 = Topic.candles("A", "1m"), Topic.candles("A", "5m")


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(redis_server.url))
    yield stream
    stream.close()


def closed(minute: int, *, symbol: str = "A", interval: str = "1m", **more: Any) -> dict[str, Any]:
    text = time_text(NOON + minute * MINUTE)
    prices = dict.fromkeys(("open", "high", "low", "close"), str(minute + 1))
    marks = {"is_closed": True, "source": "built", "complete": True, "trades": 1, "empty": False}
    times = {"open_time": text, "time": text}
    return {"symbol": symbol, "interval": interval, **prices, "volume": "1", **times, **marks, **more}


async def log(redis: RespStream, minute: int, **what: Any) -> None:
    """Write a candle as its owner would have, two seconds after its end."""
    fields = closed(minute, **what)
    topic, at_ms = f"candles:{fields['symbol']}:{fields['interval']}", NOON + (minute + 1) * MINUTE + 2_000
    raw = envelope.encode(topic, 1, 1, None, at_ms * 1000, fields)
    await redis.command("XADD", LOG, f"{at_ms}-*", "e", raw)


class Scope:
    """A scope's candles on a clock that the test sets. The writer is not run: what it is given stays in its outbox."""

    def __init__(self, server: RedisServer, *topics: Topic, mode: CandleSource = CandleSource.AUTO) -> None:
        self.now_ms = NOON + 3 * MINUTE
        self.turns = self.changes = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.faults: list[Exception] = []
        self.server = server
        self.writer = make_writer(server.url, wall=self.wall)
        self.candles = ScopeCandles(
            "m0",
            mode=mode,
            writer=self.writer,
            layout=LAYOUT,
            connect=self.connect,
            stats=DeskStats(),
            has_settled=lambda _topic: True,
            on_change=self.changed,
            wall=self.wall,
            sleep=self.sleep,
            log=structlog.get_logger(),
        )
        self.candles.want(topics)

    def wall(self) -> int:
        return self.now_ms * 1000

    def changed(self) -> None:
        self.changes += 1

    async def connect(self) -> RespStream:
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop()
        return await RespStream.connect(redis_url(self.server.url))

    async def sleep(self, _seconds: float) -> None:
        self.turns += 1
        await asyncio.sleep(0.001)

    def grant(self, *written: str) -> None:
        """As the writer does; the scope has had events of these topics."""
        self.writer.outbox.reconcile(fresh_grant(seqs=dict.fromkeys(written, 7)), 0.0)
        self.candles.granted()

    async def turn(self) -> None:
        """Let it look once more, from the beginning to the end."""
        seen = self.turns
        await until(lambda: self.turns >= seen + 2)

    @property
    def given(self) -> list[dict[str, Any]]:
        """The closed candles that wait in the outbox."""
        found = []
        while self.writer.outbox.backlog:
            batch = self.writer.outbox.next_batch()
            assert batch is not None
            found += [envelope.decode(_encoded(item)).data for item in batch.items if item[1] == "c"]
        return found


def _encoded(item: tuple[Any, ...]) -> bytes:
    head = envelope.encode(item[2], 1, 1, None, item[0], {})
    return head[:-1] + bytes(item[5])


@contextlib.asynccontextmanager
async def running(candles: ScopeCandles) -> AsyncIterator[None]:
    task = asyncio.create_task(candles.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_only_what_is_wanted_is_read_from_the_span_that_was_under_way(redis: RespStream) -> None:
    for minute in (-62, -60, -1, 0, 1):
        await log(redis, minute)
        await log(redis, minute, symbol="B")
    await redis.command("XADD", LOG, f"{NOON + 3 * MINUTE}-*", "foreign", "1")
    await redis.command("XADD", LOG, f"{NOON + 3 * MINUTE}-*", "e", b"\xff junk")
    found: list[dict[str, Any]] = []
    await read_history(redis, LOG, {"candles:A:15m"}, take=found.append)
    assert [fields["open_time"][11:16] for fields in found] == ["11:00", "11:59", "12:00", "12:01"]
    assert {fields["symbol"] for fields in found} == {"A"}
    found.clear()
    await read_history(redis, "no log", {"candles:A:15m"}, take=found.append)
    assert found == []


async def test_nothing_is_published_before_the_history_is_known(redis_server: RedisServer, redis: RespStream) -> None:
    for minute in range(2):
        await log(redis, minute)
    scope = Scope(redis_server, A5)
    scope.gate.clear()
    async with running(scope.candles):
        scope.grant("candles:A:1m")
        assert scope.candles.takes("A")
        assert not scope.candles.takes("B")
        scope.candles.tick("ticker:A", {"symbol": "A", "price": "9", "timestamp": None})
        scope.candles.candle("candles:A:1m", closed(1))
        scope.candles.candle("candles:A:5m", closed(-5, interval="5m"))
        scope.now_ms = NOON + 5 * MINUTE + 2_000
        assert scope.candles.state() is None
        assert scope.given == []
        scope.gate.set()
        await until(lambda: scope.candles.is_restored)
        await scope.turn()
        given = scope.given
        assert scope.candles.state() is None  # the five minutes wait for upstream's
        scope.now_ms += 3_000
        await scope.turn()
        assert scope.candles.state() is not None
        given += scope.given
    told = [(fields["interval"], fields["open_time"][11:16]) for fields in given]
    assert told == [("5m", "11:55"), ("1m", "12:02"), ("1m", "12:03"), ("1m", "12:04"), ("5m", "12:00")]
    five = given[-1]
    assert [five[name] for name in ("open", "high", "close", "trades", "complete")] == ["1", "9", "9", 3, False]


async def test_a_scope_that_is_lost_while_it_is_read_is_let_alone(redis_server: RedisServer) -> None:
    scope = Scope(redis_server, A1)
    scope.gate.clear()
    async with running(scope.candles):
        scope.grant()
        await asyncio.sleep(0)
        scope.candles.lost()
        scope.gate.set()
        await until(lambda: scope.turns)
        assert not scope.candles.is_restored
        assert not scope.candles.takes("A")
        scope.grant()
        await until(lambda: scope.candles.is_restored)
        assert scope.candles.takes("A")


async def test_a_history_that_cannot_be_read_is_asked_for_again(redis_server: RedisServer) -> None:
    scope = Scope(redis_server, A1)
    scope.faults.append(LinkClosedError("away"))
    async with running(scope.candles):
        scope.grant()
        await until(lambda: scope.candles.is_restored)
    assert scope.faults == []


async def test_a_candle_that_cannot_be_written_ends_nothing(redis_server: RedisServer) -> None:
    scope = Scope(redis_server, A1)
    scope.gate.clear()
    async with running(scope.candles):
        scope.grant()
        scope.candles.candle("candles:A:1m", closed(1, note="x" * 300_000))
        scope.candles.candle("candles:A:1m", closed(2))
        scope.gate.set()
        await until(lambda: scope.candles.is_restored)
        await scope.turn()
        assert [fields["open_time"][11:16] for fields in scope.given] == ["12:02"]
    assert len(scope.writer.outbox.buffer.losses.drain()) == 1


async def test_what_is_wanted_a_moment_after_a_grant_continues_from_the_state_once(
    redis_server: RedisServer, redis: RespStream
) -> None:
    desk = CandleDesk(CandleSource.BUILD)
    desk.want(A1, (NOON + 2 * MINUTE) * 1000)
    desk.settle(lambda _topic: True, (NOON + 2 * MINUTE) * 1000)
    desk.tick("A", "5", "2", None, (NOON + 3 * MINUTE) * 1000)
    desk.poll((NOON + 3 * MINUTE + 2_000) * 1000)
    state = desk.state((NOON + 3 * MINUTE + 2_000) * 1000)
    assert state is not None
    await redis.command("SET", LAYOUT.candle_state("m0"), state)

    scope = Scope(redis_server, mode=CandleSource.BUILD)
    scope.now_ms = NOON + 3 * MINUTE + 10_000
    async with running(scope.candles):
        scope.grant()
        await until(lambda: scope.candles.is_restored)
        for topics in ((A1,), (A1, A5)):
            scope.candles.want(topics)
            await until(lambda topics=topics: scope.candles._wanted.keys() == set(topics))
            await until(lambda: scope.candles.is_restored)
            scope.candles.tick("ticker:A", {"symbol": "A", "price": "6", "quantity": "1", "timestamp": None})
        scope.now_ms = NOON + 4 * MINUTE + 2_000
        await scope.turn()
        (fields,) = scope.given
    values = [fields[name] for name in ("open", "high", "volume", "trades", "complete")]
    assert values == ["5", "6", "4", 3, False]


async def test_routes_are_told_when_other_symbols_are_wanted(redis_server: RedisServer) -> None:
    scope = Scope(redis_server, A1)
    async with running(scope.candles):
        scope.grant()
        await until(lambda: scope.candles.is_restored)
        before = scope.changes
        scope.candles.want([Topic.candles("B", "1m")])
        await until(lambda: scope.candles.takes("B"))
        assert not scope.candles.takes("A")
        assert scope.changes > before
        scope.candles.want([])
        await until(lambda: not scope.candles.takes("B"))
        scope.candles.finish()

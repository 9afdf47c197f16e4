"""What a replay works out of what was recorded is the same from the logs in Redis as from a file."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, Candle, EventMeta
from agentexchange._urls import redis_url
from agentexchange.recording import RecordingWriter, TopicChoice, step_of
from agentexchange.replay import RedisSource
from agentexchange_schemas.envelope import encode, log_id
from tests.sdk._shared_client import KEY
from tests.sdk.recording._samples import START_US, tick
from tests.sdk.replay._play import BTC, candle

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server

SECOND_US = 1_000_000
BEGIN_US = START_US - START_US % (300 * SECOND_US)


def put(writer: LayoutWriter, *raws: bytes) -> None:
    """Into the logs, as a bridge does."""
    pipe = writer.client.pipeline(transaction=False)
    for raw in raws:
        topic, seq, received_us = step_of(raw)
        log = writer.layout.candle_log("m0") if topic.startswith(b"candles") else writer.layout.log("m0")
        pipe.xadd(log, {"e": raw}, id=log_id(received_us))
        pipe.hset(writer.layout.seq("m0"), topic, seq)
        pipe.set(writer.layout.latest("m0", topic.decode()), raw)
    pipe.execute()


def every_second(seconds: range, **more: Any) -> list[bytes]:
    return [tick(10 + number, received_us=BEGIN_US + number * SECOND_US, quantity="1", **more) for number in seconds]


async def candles_of(url: str, interval: str = "1m", **options: Any) -> list[tuple[Candle, EventMeta]]:
    ws, seen = AgentExchangeWS(KEY, url), []

    @ws.on_candles("BTCUSDT", interval)
    async def on_candle(data: Candle, meta: EventMeta) -> None:
        seen.append((data, meta))

    ws.replay(speed=0, progress_bar=False, **options)
    await ws.connect()
    return seen


async def test_handlers_for_what_no_log_holds_are_named(
    redis_server: RedisServer, writer: LayoutWriter, caplog: pytest.LogCaptureFixture
) -> None:
    put(writer, *every_second(range(5)))
    ws = AgentExchangeWS(KEY, redis_server.url)
    for topic in (BTC, "ticker:SOLUSDT", "candles:SOLUSDT:1m", "orders"):
        ws.subscribe(topic, lambda _: None)
    ws.replay(speed=0, progress_bar=False)
    await ws.connect()
    silent = "ticker:SOLUSDT, candles:SOLUSDT:1m, orders"
    assert f"in the logs in Redis there are no events of {silent}: handlers for that stay silent" in caplog.text
    assert f"no events of {BTC}" not in caplog.text


async def test_nothing_is_said_where_nobody_has_counted(
    redis_server: RedisServer, writer: LayoutWriter, caplog: pytest.LogCaptureFixture
) -> None:
    put(writer, *every_second(range(5)))
    writer.client.delete(writer.layout.seq("m0"))
    ws = AgentExchangeWS(KEY, redis_server.url)
    ws.subscribe("ticker:SOLUSDT", lambda _: None)
    ws.replay(speed=0, progress_bar=False)
    with caplog.at_level(logging.INFO):
        await ws.connect()
    assert "no events of" not in caplog.text


async def test_candles_that_no_log_holds_are_built_of_its_ticks_as_a_file_has_them(
    redis_server: RedisServer, writer: LayoutWriter, tmp_path: Path
) -> None:
    put(writer, *every_second(range(-10, 400)))
    built = await candles_of(redis_server.url)
    assert [one.complete for one, _ in built] == [False, *[True] * 6]
    assert [one.trades for one, _ in built] == [10, *[60] * 6]
    assert await candles_of(redis_server.url) == built
    async with RedisSource(redis_url(redis_server.url)) as source:
        with RecordingWriter(tmp_path / "t.axlog") as recording:
            async for lane, raws in source.runs(topics=TopicChoice()):
                recording.add(lane, raws)
    assert await candles_of(f"file://{tmp_path}/t.axlog") == built


async def test_those_that_a_log_holds_are_not_built(redis_server: RedisServer, writer: LayoutWriter) -> None:
    put(writer, *every_second(range(100)), candle(1, BEGIN_US + 62 * SECOND_US))
    assert [meta.seq for _, meta in await candles_of(redis_server.url)] == [1]


async def test_those_that_were_wanted_long_ago_and_are_trimmed_are_built(
    redis_server: RedisServer, writer: LayoutWriter
) -> None:
    other = encode("candles:ETHUSDT:1m", 7, 1, None, BEGIN_US + 70 * SECOND_US, {"symbol": "ETHUSDT", "interval": "1m"})
    put(writer, candle(1, BEGIN_US - 3600 * SECOND_US), *every_second(range(-10, 100)), other)
    writer.client.xtrim(writer.layout.candle_log("m0"), maxlen=1, approximate=False)
    assert [meta.seq for _, meta in await candles_of(redis_server.url)] == [None, None]


async def test_a_candle_is_whole_only_where_the_log_of_ticks_reaches_back(
    redis_server: RedisServer, writer: LayoutWriter
) -> None:
    """The candle log reaches back for days, which says nothing of ticks."""
    other = encode("candles:ETHUSDT:1m", 7, 1, None, BEGIN_US - 9_000 * SECOND_US, {"symbol": "ETHUSDT"})
    put(writer, other, *every_second(range(-10, 400)))
    writer.client.xtrim(writer.layout.log("m0"), maxlen=350, approximate=False)
    built = await candles_of(redis_server.url, start=f"{BTC}@101")  # the log begins with the 61st, in second 50
    assert [(one.complete, one.trades) for one, _ in built] == [(True, 60)] * 5
    writer.client.xtrim(writer.layout.log("m0"), maxlen=320, approximate=False)
    built = await candles_of(redis_server.url, start=f"{BTC}@101")
    assert [(one.complete, one.trades) for one, _ in built] == [(False, 40), *[(True, 60)] * 4]


async def test_ticks_that_were_trimmed_while_it_was_read_leave_their_mark(
    redis_server: RedisServer, writer: LayoutWriter
) -> None:
    put(writer, *every_second(range(-10, 3590), pad="x" * 3000))
    ws, seen = AgentExchangeWS(KEY, redis_server.url), []
    control = ws.replay(speed=0, progress_bar=False)

    @ws.on_candles("BTCUSDT", "1m")
    async def on_candle(data: Candle) -> None:
        seen.append(data)
        if len(seen) == 3:
            control.pause()
            is_paused.set()

    is_paused = asyncio.Event()
    async with ws:
        await is_paused.wait()
        writer.client.xtrim(writer.layout.log("m0"), maxlen=610, approximate=False)
        control.resume()
        await control.finished()
    marks = [one.complete for one in seen]
    assert len(marks) == 60
    gap = marks.index(False, 1)
    assert marks == [False, *[True] * (gap - 1), *[False] * (51 - gap), *[True] * 9]
    assert [one.trades for one in seen[-9:]] == [60] * 9

"""A client that replays the logs of a real server."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, EventMeta, FeedStatus
from agentexchange._urls import redis_url
from agentexchange.recording import Lane, RecordingWriter, TopicChoice
from agentexchange.replay import RedisSource
from tests.sdk._shared_client import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server

STATUS = {"scope": "m0", "state": "blind", "since": "2026-11-22T10:00:00Z"}


def fill(writer: LayoutWriter, account: LayoutWriter) -> None:
    for minute in range(3):
        writer.bulk(["ticker:BTCUSDT", "ticker:ETHUSDT"], 600)
        writer.notice(STATUS)
        writer.event("candles:BTCUSDT:1m", {"symbol": "BTCUSDT", "close": str(minute)})
        account.received_us = writer.received_us
        account.event("orders", {"order_id": str(minute), "status": "new"})


def client(url: str, **options: Any) -> tuple[AgentExchangeWS, list[Any]]:
    ws, calls = AgentExchangeWS(KEY, url), []

    async def on_event(data: dict[str, Any], meta: EventMeta) -> None:
        calls.append((data, meta))

    def on_event_too(data: dict[str, Any], meta: EventMeta) -> None:
        calls.append((data, meta))

    ws.subscribe("ticker:all", on_event)
    ws.subscribe("candles:BTCUSDT:1m", on_event_too)
    ws.subscribe("orders", on_event)

    @ws.on_status()
    async def on_status(status: FeedStatus) -> None:
        calls.append(status)

    ws.replay(speed=0, progress_bar=False, **options)
    return ws, calls


async def test_the_logs_are_replayed_in_order_and_the_replay_ends(
    redis_server: RedisServer, writer: LayoutWriter, account: LayoutWriter
) -> None:
    fill(writer, account)
    ws, calls = client(redis_server.url)
    await ws.connect()
    metas = [call[1] for call in calls if not isinstance(call, FeedStatus)]
    assert len(metas) == 1806
    statuses = [call for call in calls if isinstance(call, FeedStatus)]
    assert [(one.scope, one.state) for one in statuses] == [
        ("m0", "live"),
        ("m0", "blind"),
        (account.scope, "live"),
        *[("m0", "blind")] * 2,
    ]
    assert [meta.received_time for meta in metas] == sorted(meta.received_time for meta in metas)
    assert {meta.source for meta in metas} == {"replayed"}
    assert {meta.scope for meta in metas} == {"m0", account.scope}
    assert ws.stats().transport["events"] == 1809


async def test_a_recording_of_the_logs_replays_to_the_same_calls(
    redis_server: RedisServer, writer: LayoutWriter, account: LayoutWriter, tmp_path: Path
) -> None:
    fill(writer, account)
    ws, from_redis = client(redis_server.url)
    await ws.connect()
    async with RedisSource(redis_url(redis_server.url), accounts=[account.scope]) as source:
        with RecordingWriter(tmp_path / "t.axlog") as recording:
            async for lane, raws in source.runs(topics=TopicChoice()):
                recording.add(Lane(*lane), raws)
    ws, from_file = client(f"file://{tmp_path}/t.axlog")
    await ws.connect()
    assert from_file == from_redis


async def test_a_span_of_the_logs_by_the_names_of_events(
    redis_server: RedisServer, writer: LayoutWriter, account: LayoutWriter
) -> None:
    fill(writer, account)
    ws, calls = client(redis_server.url, start="ticker:BTCUSDT@301", end="candles:BTCUSDT:1m@2")
    await ws.connect()
    topics = [call[1].topic for call in calls if not isinstance(call, FeedStatus)]
    assert topics[:2] == ["ticker:BTCUSDT", "orders"]  # the order was received in the same microsecond
    assert topics[2:] == ["ticker:ETHUSDT", "ticker:BTCUSDT"] * 299 + ["ticker:ETHUSDT"]


async def test_a_start_before_what_the_log_holds_is_logged(
    redis_server: RedisServer, writer: LayoutWriter, caplog: pytest.LogCaptureFixture
) -> None:
    writer.bulk(["ticker:BTCUSDT"], 100)
    writer.client.xtrim(writer.layout.log("m0"), maxlen=30, approximate=False)
    ws, calls = client(redis_server.url, start="10m ago")
    await ws.connect()
    assert len(calls) == 1 + 30
    assert "what came before was trimmed" in caplog.text


async def test_without_a_bridge_there_is_nothing_and_it_says_so(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await client(redis_server.url)[0].connect()
    assert "no bridge has written" in caplog.text
    assert "nothing was recorded" in caplog.text


async def test_cancelled_at_any_moment_it_leaves_no_connection_and_can_play_again(
    redis_server: RedisServer, writer: LayoutWriter
) -> None:
    writer.bulk(["ticker:BTCUSDT"], 2000)
    others = len(writer.client.client_list())
    for turns in range(0, 40, 2):
        ws, calls = client(redis_server.url)
        playing = asyncio.create_task(ws.connect())
        for _ in range(turns):
            await asyncio.sleep(0)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    async with asyncio.timeout(10):
        while len(writer.client.client_list()) > others:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.01)
    calls.clear()
    await ws.connect()
    assert len(calls) == 1 + 2000

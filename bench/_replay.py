"""Replaying: how many events a second one core hands to a handler, and how well the recorded pace is kept."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis

from agentexchange import AgentExchangeWS, Ticker
from agentexchange.recording import RecordingWriter, WriterOptions, received_of
from agentexchange_schemas.envelope import log_id

from ._recording import BATCH, LANE, envelopes

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange import EventMeta

    from ._report import Report

KEY = "ak_live_bench"
REPEATED = 4
PACED_EVENTS = 15_000
PACED_SPEED = 0.5  # of 10,000 events a second
PREFIX = "bench-replay"


def replay_costs(report: Report, redis_url: str) -> None:
    """Add how fast recordings and logs are replayed, and how late events are that have a time."""
    raws = envelopes(REPEATED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.axlog"
        with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
            for begin in range(0, len(raws), BATCH):
                writer.add(LANE, raws[begin : begin + BATCH])
        url = f"file://{path}"
        for what, handler, target in (
            ("file, async handler", _async, "150,000"),
            ("file, async handler with models", _with_model, "60,000"),
            ("file, async handler with metadata", _with_meta, ""),
            ("file, sync handler", _sync, ""),
        ):
            report.add(
                "replay", what, _per_second(url, handler, len(raws)), "events/s CPU", f"(at least) {target or '-'}"
            )
        report.add("replay", "lateness at 5,000/s, p99", _lateness_ms(url), "ms", "2")
    _fill(redis_url, raws)
    speed = _per_second(f"{redis_url}?prefix={PREFIX}", _async, len(raws))
    report.add("replay", "Redis, async handler", speed, "events/s CPU", "(at least) 60,000")


async def _async(data: dict[str, Any]) -> None:
    pass


async def _with_model(data: Ticker) -> None:
    pass


async def _with_meta(data: dict[str, Any], meta: EventMeta) -> None:
    pass


def _sync(data: dict[str, Any]) -> None:
    pass


def _per_second(url: str, handler: Callable[..., Any], events: int, rounds: int = 3) -> float:
    """By the CPU time that this process takes, all of its threads together."""
    best = float("inf")
    for _ in range(rounds):
        ws = AgentExchangeWS(KEY, url)
        ws.on_ticker("all")(handler)
        control = ws.replay(speed=0, progress_bar=False)
        before = time.process_time()
        asyncio.run(ws.connect())
        best = min(best, time.process_time() - before)
        assert control.progress.events == events
    return events / best


def _lateness_ms(url: str) -> float:
    ws = AgentExchangeWS(KEY, url)
    late: list[float] = []
    first = 0.0

    @ws.on_ticker("all")
    async def on_tick(_: dict[str, Any], meta: EventMeta) -> None:
        nonlocal first
        at = time.perf_counter() - meta.received_time.timestamp() / PACED_SPEED
        first = first or at
        late.append(at - first)
        if len(late) == PACED_EVENTS:
            ws.stop()

    ws.replay(speed=PACED_SPEED, progress_bar=False)
    asyncio.run(ws.connect())
    early = min(late)
    return sorted(one - early for one in late)[len(late) * 99 // 100] * 1000


def _fill(redis_url: str, raws: list[bytes]) -> None:
    with Redis.from_url(redis_url) as client:
        client.hset(f"{PREFIX}:meta", mapping={"version": 1, "partitions": 1})
        for begin in range(0, len(raws), BATCH):
            pipe = client.pipeline(transaction=False)
            for raw in raws[begin : begin + BATCH]:
                pipe.xadd(f"{PREFIX}:{{m0}}:log", {"e": raw}, id=log_id(received_of(raw)))
            pipe.execute()

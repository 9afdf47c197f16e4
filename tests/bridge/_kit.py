"""What the bridge's tests share: builders with small limits, and waiting on a condition."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from agentexchange._urls import redis_url
from agentexchange.redis import RespStream
from agentexchange_bridge.batch import BatchEncoder, Retention
from agentexchange_bridge.buffer import BufferLimits
from agentexchange_bridge.lease import Grant, Lease
from agentexchange_bridge.outbox import Outbox, OutboxLimits, wall_us
from agentexchange_bridge.retained import RetainLimits
from agentexchange_bridge.writer import ScopeWriter, WriterOptions
from agentexchange_schemas import Layout, envelope
from tests._patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agentexchange_schemas.envelope import Envelope

LAYOUT = Layout()
KEEP_ALL = Retention(log_max_age_s=3600.0, log_max_len=1_000_000)
ACCOUNT = "a-" + "0" * 32


def ticker(symbol: str = "BTCUSDT", price: str = "1.0") -> tuple[str, dict[str, Any]]:
    """A ticker's topic and fields."""
    fields = {"symbol": symbol, "price": price, "timestamp": "2026-02-23T15:30:45.123Z", "quantity": "1"}
    return f"ticker:{symbol}", fields


def candle(*, closed: bool, symbol: str = "BTCUSDT", close: str = "1") -> tuple[str, dict[str, Any]]:
    """A candle's topic and fields."""
    prices = {"open": "1", "high": "2", "low": "1", "close": close, "volume": "3"}
    fields = {"symbol": symbol, "interval": "1m", **prices, "open_time": "2026-02-23T15:30:00Z", "is_closed": closed}
    return f"candles:{symbol}:1m", fields


def order(order_id: str, status: str = "pending") -> tuple[str, dict[str, Any]]:
    """An order update's topic and fields."""
    return "orders", {"order_id": order_id, "symbol": "BTCUSDT", "side": "buy", "status": status}


def fresh_grant(**changes: Any) -> Grant:
    """What the owner of a scope that nobody had before starts from."""
    values: dict[str, Any] = {
        "epoch": 100,
        "stored_epoch": 0,
        "log_floor_us": 0,
        "log_ids": ("0-0", "0-0"),
        "log_name": "name",
        "batch": "",
        "received_us": 0,
        "seqs": {},
        "status": {},
    }
    return Grant(**(values | changes))


def make_outbox(
    scope: str = "m0",
    *,
    worker: str = "w1",
    wall: Callable[[], int] | None = None,
    keep_frames: bool = False,
    **limits: Any,
) -> Outbox:
    """An outbox; limits are those of `OutboxLimits`."""
    encoder = BatchEncoder(LAYOUT, scope, worker=worker, retention=KEEP_ALL, publish="PUBLISH", keep_frames=keep_frames)
    clock = {} if wall is None else {"wall": wall}
    return Outbox(scope, encoder=encoder, limits=OutboxLimits(**limits), **clock)


def make_writer(
    url: str,
    scope: str = "m0",
    *,
    worker: str = "w1",
    ttl_s: float = 3.0,
    limits: dict[str, Any] | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], int] = wall_us,
    **options: Any,
) -> ScopeWriter:
    """A writer on a real server, quick to beat and to retry."""

    async def connect() -> RespStream:
        return await RespStream.connect(redis_url(url))

    async def prepare(_stream: RespStream) -> None:
        return

    return ScopeWriter(
        scope,
        outbox=make_outbox(scope, worker=worker, wall=wall, **(limits or {})),
        lease=Lease(worker, ttl_s),
        layout=LAYOUT,
        connect=connect,
        prepare=prepare,
        options=WriterOptions(beat_s=0.05, standby_s=0.02, backoff_cap_s=0.05, clock=clock, wall=wall),
        log=structlog.get_logger(),
        full_batch=(limits or {}).get("batch_events", 1000),
        **options,
    )


async def until(condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> None:
    """Let the loop run until ``condition`` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.002)


async def eventually(condition: Callable[[], Awaitable[Any]], timeout_s: float = PATIENCE_S) -> None:
    """Ask again and again until ``condition`` answers yes."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - a server is asked
            await asyncio.sleep(0.01)


async def read_log(stream: RespStream, key: str) -> list[tuple[str, Envelope]]:
    """Every entry of a log."""
    return [
        (entry_id.decode(), envelope.decode(fields[1]))
        for entry_id, fields in await stream.command("XRANGE", key, "-", "+")
    ]


__all__ = [
    "ACCOUNT",
    "KEEP_ALL",
    "LAYOUT",
    "BufferLimits",
    "RetainLimits",
    "candle",
    "eventually",
    "fresh_grant",
    "make_outbox",
    "make_writer",
    "order",
    "read_log",
    "ticker",
    "until",
]

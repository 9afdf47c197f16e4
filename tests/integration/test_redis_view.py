"""What an operator sees in Redis: the documented names, the same bytes in all three places, no key material."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from agentexchange.testing import SandboxExchange
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import Envelope, decode, encode, log_id
from tests.integration._system import KEY, TICKS_ON_DEMAND, eventually, worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer

ACCOUNT = account_scope(KEY)
CANDLE = {"time": "T", "open": "1", "high": "2", "low": "1", "close": "2", "volume": "3"}


def everything(redis: Redis) -> dict[bytes, object]:
    """Every key with its value, whatever its type."""
    read = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"stream": redis.xrange,
        b"zset": lambda key: redis.zrange(key, 0, -1),
    }
    return {key: read[redis.type(key)](key) for key in redis.scan_iter(count=1000)}


@pytest.mark.server
async def test_channel_latest_and_log_hold_the_same_bytes_under_the_documented_names(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis = Redis.from_url(redis_server.url)
    heard: dict[str, list[bytes]] = {}

    async def listen() -> None:
        async with AsyncRedis.from_url(redis_server.url) as listener, listener.pubsub() as pubsub:
            await pubsub.psubscribe("ax:*")
            async for message in pubsub.listen():
                if message["type"] == "pmessage":
                    heard.setdefault(message["channel"].decode(), []).append(message["data"])

    listening = asyncio.create_task(listen())
    async with SandboxExchange(rate=0, api_keys=[KEY], subscription_limit=None) as exchange:
        topics = ("--topic", "ticker:all", "--topic", "candles:BTCUSDT:1m", "--candles", "upstream", *TICKS_ON_DEMAND)
        with worker(exchange.url, redis_server.url, log=tmp_path / "worker.log", args=topics) as bridge:
            control = exchange.control
            await control.wait_for_subscriptions("ticker:all", "candles:BTCUSDT:1m", "orders", "portfolio")
            for number in range(3):
                control.push_tick("BTCUSDT", price=f"{number}.5")
            control.push_candle("BTCUSDT", "1m", CANDLE | {"is_closed": False})
            control.push_candle("BTCUSDT", "1m", CANDLE | {"is_closed": True})
            control.push_order({"order_id": "o-1", "status": "pending", "symbol": "BTCUSDT", "side": "buy"})
            control.push_order({"order_id": "ü {2}", "status": "pending"})
            control.push_order({"order_id": "o-1", "status": "filled"})
            control.push_portfolio({"total_equity": "10"})
            base, private = "ax:{m0}:", f"ax:{{{ACCOUNT}}}:"

            def has_come() -> bool:
                """The last of each scope's: none waits for another's."""
                count = {channel: len(raws) for channel, raws in heard.items()}
                market = count.get(f"{base}ticker:BTCUSDT") == 3 and count.get(f"{base}candles:BTCUSDT:1m") == 2
                return market and f"{private}portfolio" in heard and f"{base}status" in heard

            await eventually(has_come)
            stored = everything(redis)
            assert bridge.end() == 0
    listening.cancel()

    def entries(log: str) -> dict[bytes, Envelope]:
        return {entry[b"e"]: decode(entry[b"e"]) for _, entry in redis.xrange(log)}

    ticks = heard[f"{base}ticker:BTCUSDT"]
    assert stored[f"{base}latest:ticker:BTCUSDT".encode()] == ticks[-1]
    assert [raw for raw, event in entries(f"{base}log").items() if event.topic == "ticker:BTCUSDT"] == ticks
    assert [decode(raw).seq for raw in ticks] == [1, 2, 3]
    forming, closed = heard[f"{base}candles:BTCUSDT:1m"]
    assert decode(forming).seq is None
    assert stored[f"{base}latest:candles:BTCUSDT:1m".encode()] == closed
    assert list(entries(f"{base}log:candles")) == [closed]
    orders = heard[f"{private}orders"]
    assert [decode(raw).data["order_id"] for raw in orders] == ["o-1", "ü {2}", "o-1"]
    assert stored[f"{private}latest:orders:o-1".encode()] == orders[-1]
    assert 0 < redis.ttl(f"{private}latest:orders:o-1") <= 86_400
    assert len(stored[f"{private}latest:orders".encode()]) == 1  # type: ignore[arg-type]
    assert stored[f"{private}latest:portfolio".encode()] == heard[f"{private}portfolio"][-1]
    assert [raw for raw, event in entries(f"{private}log").items() if event.topic != "status"] == [
        *orders,
        *heard[f"{private}portfolio"],
    ]
    assert stored[b"ax:meta"] == {b"version": b"1", b"partitions": b"1"}
    for scope in (base, private):
        assert stored[f"{scope}lease".encode()].endswith(b"/" + stored[f"{scope}epoch".encode()])  # type: ignore[attr-defined, operator]
        for entry_id, entry in redis.xrange(f"{scope}log"):
            event = decode(entry[b"e"])
            assert entry_id.decode() == log_id(event.received_us)
            assert encode(*event) == entry[b"e"], "the codec gives the bytes that the bridge wrote"

    haystack = repr((stored, heard, everything(redis))) + (tmp_path / "worker.log").read_text()
    assert KEY not in haystack

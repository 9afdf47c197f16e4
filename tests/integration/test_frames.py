"""The frame of an event, from the platform to whoever looks: through a bridge and Redis, or straight into a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from agentexchange.recording import Recording
from agentexchange.testing import SandboxExchange
from agentexchange_schemas import Layout, account_scope
from agentexchange_schemas.envelope import decode, frame_of
from tests.bridge.cli._run import run, start
from tests.integration._system import KEY, eventually, worker

if TYPE_CHECKING:
    from pathlib import Path

    from agentexchange.testing import SandboxControl
    from tests._servers import RedisServer

ACCOUNT = account_scope(KEY)
LAYOUT = Layout()
TOPICS = ("ticker:all", "candles:BTCUSDT:1m")
FLAGS = tuple(flag for topic in TOPICS for flag in ("--topic", topic))

TICK = '{ "channel":"ticker", "symbol":"BTCUSDT", "data":{"price":64521.30,"timestamp":"2026-11-22T09:55:18.742Z"} }'
LARGE = json.dumps({"channel": "ticker", "symbol": "BTCUSDT", "data": {"price": "2"}, "beside": "x" * 70_000})
CANDLE = (
    '{"channel":"candles","symbol":"BTCUSDT","interval":"1m","data":{"open":"1","high":"2","low":"1","close":"2",'
    '"volume":"3","time":"2026-11-22T09:55:00Z","is_closed":true}}'
)
ORDER = '{"channel":"orders","data":{"order_id":"o-1","status":"caf\\u00e9","fee":"0.10"}}'
SHOWS_KEY = json.dumps({"channel": "orders", "api_key": KEY, "data": {"order_id": "o-2", "status": "new"}})
PORTFOLIO = '{"channel":"portfolio","data":{"total_equity":"100.10"}}'

FRAMES = [TICK, LARGE, CANDLE, ORDER, SHOWS_KEY, PORTFOLIO]
LAST = {"ticker:BTCUSDT", "candles:BTCUSDT:1m", "portfolio"}
KEPT = {
    "ticker:BTCUSDT@1": TICK,
    "ticker:BTCUSDT@2": None,
    "candles:BTCUSDT:1m@1": CANDLE,
    "orders@1": ORDER,
    "orders@2": None,
    "portfolio@1": PORTFOLIO,
}


def push(control: SandboxControl) -> None:
    for frame in FRAMES:
        control.push(frame)


def _is_live(redis: Redis, scope: str) -> bool:
    return redis.hget(LAYOUT.status(scope), "state") == b"live"


def _topics(path: Path) -> set[str]:
    if not path.exists() or not path.stat().st_size:
        return set()
    with Recording(path) as recording:
        return set(recording.topics)


async def shown(event: str, *where: str) -> dict[str, Any]:
    result = await run("show", event, *where, "--json", key=KEY)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


@pytest.mark.server
async def test_the_frame_is_kept_from_the_bridge_to_a_recording(redis_server: RedisServer, tmp_path: Path) -> None:
    day, redis = tmp_path / "day.axlog", Redis.from_url(redis_server.url)
    record = ("record", "--url", redis_server.url, "--out", str(day), "--from", "1h ago", "--block-s", "0.1")
    args = ("--keep-frames", "--candles", "upstream", *FLAGS)
    async with SandboxExchange(rate=0, pairs=3, api_keys=[KEY]) as exchange:
        with worker(exchange.url, redis_server.url, log=tmp_path / "bridge.log", args=args):
            await exchange.control.wait_for_subscriptions(*TOPICS, "orders", "portfolio")
            await eventually(lambda: _is_live(redis, "m0") and _is_live(redis, ACCOUNT), within_s=30)
            push(exchange.control)
            await eventually(lambda: redis.get(LAYOUT.latest(ACCOUNT, "portfolio")))
            await eventually(lambda: redis.get(LAYOUT.latest("m0", "candles:BTCUSDT:1m")))
            await eventually(lambda: redis.hget(LAYOUT.seq("m0"), "ticker:BTCUSDT") == b"2")
        for event, frame in KEPT.items():
            assert (await shown(event, "--url", redis_server.url))["frame"] == frame, event
        candle, latest = redis.xrange(LAYOUT.candle_log("m0")), redis.get(LAYOUT.latest("m0", "candles:BTCUSDT:1m"))
        assert [entry[b"e"] for _, entry in candle] == [latest]
        assert b"ak_live" not in b"".join(entry[b"e"] for _, entry in redis.xrange(LAYOUT.log(ACCOUNT)))
        assert [frame_of(entry[b"e"]) for _, entry in redis.xrange(LAYOUT.log("m0"))].count(TICK) == 1
        redis.close()
    async with start(*record, key=KEY) as recorder:
        await eventually(lambda: _topics(day) >= LAST)
        assert await recorder.end() == 0
    for event, frame in KEPT.items():
        assert (await shown(event, str(day)))["frame"] == frame, event
    for_people = (await run("show", "orders@1", str(day))).out
    assert f"  {ORDER}\n  not sent: symbol, side, executed_price, executed_quantity\n" in for_people


@pytest.mark.server
async def test_a_bridge_that_is_not_told_to_keeps_none(redis_server: RedisServer, tmp_path: Path) -> None:
    redis = Redis.from_url(redis_server.url)
    async with SandboxExchange(rate=0, pairs=3, api_keys=[KEY]) as exchange:
        with worker(exchange.url, redis_server.url, log=tmp_path / "bridge.log"):
            await exchange.control.wait_for_subscriptions("ticker:all", "orders", "portfolio")
            await eventually(lambda: _is_live(redis, ACCOUNT), within_s=30)
            exchange.control.push(ORDER)
            raw = await eventually(lambda: redis.get(LAYOUT.latest(ACCOUNT, "orders:o-1")))
        redis.close()
    assert (frame_of(raw), decode(raw).data["fee"]) == (None, "0.10")


async def test_a_recorder_of_the_platform_keeps_it_too(tmp_path: Path) -> None:
    day = tmp_path / "day.axlog"
    async with SandboxExchange(rate=0, pairs=3, api_keys=[KEY]) as exchange:
        topics = (*FLAGS, "--topic", "orders", "--topic", "portfolio")
        argv = ("record", "--url", exchange.url, "--out", str(day), "--keep-frames", "--block-s", "0.1", *topics)
        async with start(*argv, key=KEY) as recorder:
            await recorder.wait_line("feed live")
            await exchange.control.wait_for_subscriptions(*TOPICS, "orders", "portfolio")
            push(exchange.control)
            await eventually(lambda: _topics(day) >= LAST)
            assert await recorder.end() == 0
    for event, frame in KEPT.items():
        assert (await shown(event, str(day)))["frame"] == frame, event

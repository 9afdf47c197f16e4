"""The public API as a type checker sees it. Checked by mypy --strict, never run."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any, assert_type

from agentexchange import (
    AgentExchangeError,
    AgentExchangeWS,
    AuthenticationError,
    Candle,
    ClientStats,
    Clock,
    ConnectionError,  # noqa: A004 - the documented name
    EventMeta,
    FeedState,
    FeedStatus,
    Freshness,
    HandlerStats,
    OrderUpdate,
    Portfolio,
    ReplayControl,
    ReplayProgress,
    Ticker,
    Topic,
)
from agentexchange.recording import Cut, Lane, Recording, RecordingWriter, WriterOptions, moment_us
from agentexchange.replay import EventName, FileSource, RedisSource, Source
from agentexchange.serving import RecordedControl, RecordedExchange

ws = AgentExchangeWS(api_key="ak_live_...", base_url="ws://localhost:8000")
AgentExchangeWS("ak_live_...", "redis://localhost", max_queue=100)
AgentExchangeWS(
    "ak_live_...",
    "wss://example.com",
    open_timeout=5,
    stale_after=60.0,
    compression=True,
    ssl_context=ssl.create_default_context(),
    candles="build",
)
AgentExchangeWS("ak_live_...", max_sessions=3, ticker_all_from=None)
AgentExchangeWS("ak_live_...", "redis://localhost", recover_limit=1_000_000, client_name="crew-7")
AgentExchangeWS(
    "ak_live_...",
    "redis://localhost",
    group="executors",
    start="earliest",
    claim_after=60,
    max_attempts=3,
    consumer="worker-1",
)
AgentExchangeWS("ak_live_...", "redis://localhost", resume="crew-7", start=datetime(2026, 1, 1, tzinfo=UTC))
AgentExchangeWS("ak_live_...", group=None, resume=None)


@ws.on_ticker("BTCUSDT")
async def on_dict(data: dict[str, Any]) -> None:
    assert_type(data["price"], Any)


@ws.on_ticker("all")
@ws.on_ticker("ETHUSDT")
def on_model(tick: Ticker) -> None:
    assert_type(tick.price, str)


@ws.on_ticker("SOLUSDT", policy="wait", max_queue=50_000, recover="latest")
@ws.on_portfolio(policy="drop_oldest", max_queue=None, recover="all")
@ws.on_order_update(policy="conflate", max_queue=1, recover="latest")
def on_any(data: dict[str, Any], meta: EventMeta) -> None:
    assert_type(meta.source, str)


ws.on_ticker("BTCUSDT", policy="newest")  # type: ignore[arg-type]
ws.on_ticker("BTCUSDT", recover="none")  # type: ignore[arg-type]


@ws.on_candles("BTCUSDT", "1h", policy="wait", max_queue=100, recover="all")
@ws.on_candles("BTCUSDT", "1m", closed_only=False)
async def on_candle(candle: Candle, meta: EventMeta) -> None:
    assert_type(meta.topic, str)
    assert_type(meta.reconciled, bool)
    assert_type(candle.open, str)
    assert_type(candle.complete, bool | None)
    assert_type(candle.trades, int | None)


@ws.on_order_update()
async def on_order(order: OrderUpdate) -> None:
    assert_type(order.is_final, bool)
    assert_type(order.reconciled, bool)


@ws.on_portfolio()
def on_portfolio(portfolio: Portfolio) -> None:
    assert_type(portfolio.roi_pct, str | None)


@ws.on_status()
def on_status(status: FeedStatus) -> None:
    assert_type(status.state, FeedState)


class Crew:
    def __init__(self, client: AgentExchangeWS) -> None:
        client.on_ticker("BTCUSDT")(self.on_tick)

    async def on_tick(self, tick: Ticker) -> None: ...


async def main() -> None:
    await on_dict({})  # decorators keep the function's type
    on_model(Ticker(symbol="BTCUSDT", price="1"))
    ws.subscribe("ticker:SOLUSDT")
    ws.subscribe(Topic.ticker("SOLUSDT"), on_model)
    ws.unsubscribe("ticker:SOLUSDT")
    async with ws as entered:
        assert_type(entered, AgentExchangeWS)
    try:
        await ws.connect()
    except (AuthenticationError, ConnectionError) as exc:
        error: AgentExchangeError = exc
        assert_type(error.code, str | int | None)
        assert_type(error.status_code, int | None)
        assert_type(error.message, str)
    await ws.disconnect()
    await ws.disconnect(drain=True, timeout=5)
    ws.stop()
    ws.stop(drain=True, timeout=0.5)
    fresh = ws.freshness("ticker:BTCUSDT")
    assert_type(fresh, Freshness)
    assert_type((fresh.state, fresh.since, fresh.is_live), tuple[FeedState, datetime | None, bool])
    assert_type((fresh.age_s, ws.freshness(Topic.orders()).clock_difference_s), tuple[float | None, float | None])

    stats = ws.stats()
    assert_type(stats, ClientStats)
    assert_type(stats.handlers, list[HandlerStats])
    assert_type(stats.transport, dict[str, int | float])
    assert_type((stats.handlers[0].delivered, stats.handlers[0].slowest_s), tuple[int, float])


def sync_main() -> None:
    ws.run_forever()


def recordings() -> None:
    with Recording("day.axlog") as day:
        assert_type(day.cut, Cut | None)
        for event in day.events(start_us=0, topics=["ticker:all", Topic.orders()], scopes=["m0"], notices=False):
            assert_type(event.envelope.data, dict[str, Any])
            assert_type(event.raw, bytes)
        for lane, raws in day.runs():
            assert_type(lane, Lane)
            assert_type(raws, list[bytes])
    with RecordingWriter("day.axlog", options=WriterOptions(block_s=1.0, fsync="close")) as writer:
        writer.add(Lane("m0", "log"), [b""])
    Recording("day.axlog").events(topic="orders")  # type: ignore[call-arg]
    WriterOptions(fsync="often")  # type: ignore[arg-type]
    assert_type(moment_us("10m ago", now_us=0), int)


async def replays() -> None:
    player = AgentExchangeWS(base_url="file:///data/day.axlog?speed=0")
    control = player.replay("10m ago", datetime(2026, 1, 1, tzinfo=UTC), speed=2, on_progress=print, progress_bar=None)
    assert_type(control, ReplayControl)
    player.replay(EventName("ticker:BTCUSDT", 123), speed=0.5)
    control.pause()
    control.resume()
    control.step()
    control.step(5)
    control.seek("ticker:BTCUSDT@123")
    control.speed = 0
    control.stop()
    await control.finished()
    progress = control.progress
    assert_type(progress, ReplayProgress)
    assert_type((progress.share, progress.time, progress.events), tuple[float, datetime | None, int])
    assert_type((progress.events_per_s, progress.behind_s, progress.is_paused), tuple[float, float, bool])
    assert_type(player.clock, Clock)
    assert_type((player.clock.now(), player.clock.time()), tuple[datetime, float])
    player.replay(10)  # type: ignore[arg-type]
    control.step("5")  # type: ignore[arg-type]


async def sources(shared: RedisSource) -> None:
    async with FileSource("day.axlog") as day:
        source: Source = day
        assert_type((source.first_us, source.last_us, source.scopes), tuple[int | None, int | None, tuple[str, ...]])
        assert_type(await source.locate(EventName.parse("orders@1")), int | None)
    source = shared


async def serving() -> None:
    async with RecordedExchange("day.axlog", speed=10, at_end="loop", start="10m ago", dialect="page") as exchange:
        assert_type(exchange.url, str)
        assert_type(exchange.control, RecordedControl)
        assert_type(exchange.span, tuple[datetime, datetime])
        assert_type(exchange.control.positions, dict[int, datetime])
        exchange.control.set_speed(0)
        await exchange.control.wait_for_ends(1, timeout=5)
    RecordedExchange("day.axlog", at_end="later")  # type: ignore[arg-type]
    RecordedExchange("day.axlog", rate=5)  # type: ignore[call-arg]

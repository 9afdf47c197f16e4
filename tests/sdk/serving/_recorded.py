"""Recordings to serve: a market, candles and an account, with known bytes and spacing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agentexchange.recording import Lane
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import decode, encode
from tests.sdk.recording._samples import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEY = "ak_live_recorded"
OTHER_KEY = "ak_live_other"
START_US = 1_795_341_318_000_000
MARKET = Lane("m0", "log", "0123456789abcdef")
CANDLES = Lane("m0", "log:candles", "0123456789abcdef")
ACCOUNT = Lane(account_scope(KEY), "log", "fedcba9876543210")
OTHER_ACCOUNT = Lane(account_scope(OTHER_KEY), "log", "fedcba9876543210")


def event(topic: str, fields: dict[str, Any], *, ms: float) -> bytes:
    """An event received so many milliseconds after `START_US`."""
    at_us = START_US + int(ms * 1000)
    return encode(topic, 7, at_us - START_US + 1, at_us // 1000, at_us, fields)


def tick(number: int, *, ms: float, symbol: str = "BTCUSDT", **more: Any) -> bytes:
    fields = {"symbol": symbol, "price": f"{number}.50000000", "timestamp": "2026-11-22T14:00:00.000Z"}
    return event(f"ticker:{symbol}", fields | {"quantity": "0.01000000", "is_buyer_maker": False} | more, ms=ms)


def candle(*, ms: float, symbol: str = "BTCUSDT", interval: str = "1m", is_closed: bool = True) -> bytes:
    fields = {
        "symbol": symbol,
        "interval": interval,
        "open": "1",
        "high": "3",
        "low": "1",
        "close": "2",
        "volume": "9",
        "open_time": "2026-11-22T14:00:00.000Z",
        "time": "2026-11-22T14:00:00.000Z",
        "is_closed": is_closed,
    }
    return event(f"candles:{symbol}:{interval}", fields, ms=ms)


def order(number: int, *, ms: float, status: str = "pending") -> bytes:
    fields = {"order_id": f"o-{number}", "symbol": "BTCUSDT", "side": "buy", "status": status}
    return event("orders", {**fields, "executed_price": None, "executed_quantity": None, "type": "limit"}, ms=ms)


def portfolio(equity: str, *, ms: float) -> bytes:
    fields = {"total_equity": equity, "available_cash": "1", "unrealized_pnl": "0", "roi_pct": None}
    return event("portfolio", fields, ms=ms)


def ticks(count: int, *, every_ms: float = 1.0, symbols: Sequence[str] = ("BTCUSDT",), **more: Any) -> list[bytes]:
    symbol_of = [symbols[number % len(symbols)] for number in range(count)]
    return [tick(number, ms=number * every_ms, symbol=symbol_of[number], **more) for number in range(count)]


def recorded(folder: Path, *parts: tuple[Lane, list[bytes]], name: str = "day.axlog") -> Path:
    return write(folder / name, parts)


def live_frame(raw: bytes) -> str:
    """What the live platform sends of these events, written down here once more."""
    topic, fields = decode(raw).topic, decode(raw).data
    match topic.split(":"):
        case ["ticker", symbol]:
            data = {name: fields[name] for name in ("price", "quantity", "timestamp", "is_buyer_maker")}
            return _text({"channel": "ticker", "symbol": symbol, "data": data})
        case ["candles", symbol, interval]:
            names = ("time", "open", "high", "low", "close", "volume", "is_closed")
            data = {name: fields[name] for name in names}
            return _text({"channel": "candles", "symbol": symbol, "interval": interval, "data": data})
        case ["orders"]:
            data = {name: fields[name] for name in ("order_id", "status", "symbol", "side", "type")}
            return _text({"channel": "orders", "data": data})
    data = {name: fields[name] for name in ("total_equity", "available_cash", "unrealized_pnl")}
    return _text({"channel": "portfolio", "data": data})


def _text(frame: dict[str, Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))

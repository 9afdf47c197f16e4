"""The platform's wire protocol: requests out, frames in, as pure functions.

Both dialects are read: the live platform's (``channel``, fields under ``data``) and the documented one
(flat, ``type``), and mixtures of them. `parse` is the hot path: about 1.5 µs for a live ticker frame.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from ._fields import CANDLES, ORDERS, PORTFOLIO, TICKER
from .errors import SAMPLE_BYTES, FrameError, TopicError
from .topics import ALL, INTERVALS, Kind, Topic, normalize_symbol

__all__ = [
    "MAX_FRAME_BYTES",
    "PONG",
    "Ack",
    "EventFrame",
    "Message",
    "Ping",
    "Refusal",
    "parse",
    "subscribe_request",
    "unsubscribe_request",
]

MAX_FRAME_BYTES: Final = 1024 * 1024
"""Larger frames end a session (close code 1009); the platform's own are below 1 KiB."""

PONG: Final = '{"type":"pong","action":"pong"}'
"""Answers a ping in both dialects at once."""


class EventFrame(NamedTuple):
    """An event: its topic as text, and the fields a handler gets (documented keys first, missing ones None)."""

    topic: str
    fields: dict[str, Any]


class Ack(NamedTuple):
    """An accepted request; ``channel`` is the topic's text as upstream names it."""

    subscribed: bool
    channel: str


class Refusal(NamedTuple):
    """An error answer. It names no channel: match it to requests by order."""

    code: str
    message: str


class Ping(NamedTuple):
    """The server's heartbeat: answer with `PONG`."""


Message = EventFrame | Ack | Refusal | Ping

_PING: Final = Ping()
_ANSWERS: Final = ("ping", "subscribed", "unsubscribed", "error")
_MAX_TEXT: Final = 512  # characters of an error's code and message that are kept


def subscribe_request(topic: Topic) -> str:
    """The JSON text that subscribes ``topic`` (send it as a text frame: a binary one ends the session)."""
    return _request("subscribe", topic)


def unsubscribe_request(topic: Topic) -> str:
    """The JSON text that ends a subscription."""
    return _request("unsubscribe", topic)


def _request(action: str, topic: Topic) -> str:
    body = {"action": action, "channel": "ticker_all" if topic.is_wildcard else str(topic.kind)}
    if topic.symbol and not topic.is_wildcard:
        body["symbol"] = topic.symbol
    if topic.interval:
        body["interval"] = topic.interval
    return json.dumps(body, separators=(",", ":"))


def parse(raw: bytes) -> Message:
    """Read one frame.

    Raises:
        FrameError: junk; ``kind`` to count by, ``field`` at fault, ``sample`` of the bytes. Never anything else.
    """
    if len(raw) > MAX_FRAME_BYTES:
        raise FrameError(f"frame: {len(raw)} bytes are more than {MAX_FRAME_BYTES}", field="frame", kind="too_large")
    try:
        frame = from_json(raw, allow_inf_nan=False)
    except ValueError:
        raise FrameError("frame: not JSON", field="frame", kind="not_json", raw=raw) from None
    if type(frame) is not dict:
        raise FrameError(
            f"frame: a JSON {type(frame).__name__}, not an object", field="frame", kind="not_object", raw=raw
        )
    try:
        # live events carry no `type`, answers and heartbeats always do, and their `channel` may be an event's
        return _read_event(frame, raw) if frame.get("type") not in _ANSWERS else _read_answer(frame)
    except FrameError as exc:
        exc.sample = exc.sample or bytes(raw[:SAMPLE_BYTES])
        raise


# Events: one reader per kind. Each takes the frame and its bytes, and returns the event or raises FrameError.


def _read_ticker(frame: dict[str, Any], raw: bytes) -> EventFrame:
    data = TICKER.fields(frame, raw)
    symbol, topic = _ticker_topic(frame.get("symbol") or data["symbol"])
    data["symbol"] = symbol
    return EventFrame(topic, data)


def _read_candle(frame: dict[str, Any], raw: bytes) -> EventFrame:
    data = CANDLES.fields(frame, raw)
    symbol = _symbol(frame.get("symbol") or data["symbol"])
    interval = frame.get("interval") or data["interval"]
    if interval not in INTERVALS:
        raise FrameError(f"candle: interval {str(interval)[:20]!r} is not one", field="interval", kind="bad_interval")
    data["symbol"], data["interval"] = symbol, interval
    if data["open_time"] is None:
        data["open_time"] = data.get("time")
    return EventFrame(f"candles:{symbol}:{interval}", data)


def _read_order(frame: dict[str, Any], raw: bytes) -> EventFrame:
    return EventFrame("orders", ORDERS.fields(frame, raw))


def _read_portfolio(frame: dict[str, Any], raw: bytes) -> EventFrame:
    return EventFrame("portfolio", PORTFOLIO.fields(frame, raw))


_BY_CHANNEL: Final = {
    "ticker": _read_ticker,
    "ticker_all": _read_ticker,
    "candles": _read_candle,
    "orders": _read_order,
    "portfolio": _read_portfolio,
}
_BY_TYPE: Final = {
    "ticker": _read_ticker,
    "candle": _read_candle,
    "order": _read_order,
    "order_update": _read_order,
    "portfolio": _read_portfolio,
}


def _read_event(frame: dict[str, Any], raw: bytes) -> EventFrame:
    channel = frame.get("channel")
    if type(channel) is str:
        if (read := _BY_CHANNEL.get(channel)) is not None:
            return read(frame, raw)
        if ":" in channel:
            return _read_colon_form(frame, channel, raw)
    elif channel is None and (read := _BY_TYPE.get(str(frame.get("type")))) is not None:
        return read(frame, raw)
    field = "type" if channel is None else "channel"
    raise FrameError(f"frame: unknown {field} {str(frame.get(field))[:40]!r}", field=field, kind=f"unknown_{field}")


def _read_answer(frame: dict[str, Any]) -> Message:
    kind = frame["type"]
    if kind == "ping":
        return _PING
    if kind == "error":
        return Refusal(_text(frame, "code"), str(frame.get("message") or "")[:_MAX_TEXT])
    return Ack(kind == "subscribed", _text(frame, "channel"))


def _read_colon_form(frame: dict[str, Any], channel: str, raw: bytes) -> EventFrame:
    kind, _, rest = channel.partition(":")
    if kind not in (Kind.TICKER, Kind.CANDLES):
        raise FrameError(f"frame: unknown channel {channel[:40]!r}", field="channel", kind="unknown_channel")
    symbol, _, interval = rest.partition(":")
    named = {"symbol": symbol} if symbol.lower() != ALL else {}
    if interval:
        named["interval"] = interval
    return _BY_CHANNEL[kind](named | frame, raw)


def _text(frame: dict[str, Any], field: str) -> str:
    value = frame.get(field)
    if not isinstance(value, str):
        raise FrameError(f"{frame['type']}: {field} is not a string", field=field, kind="bad_answer")
    return value[:_MAX_TEXT]


# Symbols arrive by the thousand a second and are few: remember what was looked at, up to a bound.

_MAX_REMEMBERED: Final = 8192
_ticker_topics: dict[str, tuple[str, str]] = {}


def _symbol(symbol: Any) -> str:
    try:
        name = normalize_symbol(symbol)
    except TopicError as exc:
        raise FrameError(str(exc), field="symbol", kind="bad_symbol") from None
    if name == ALL.upper():
        raise FrameError("symbol 'ALL' is the wildcard's name, not a pair's", field="symbol", kind="bad_symbol")
    return name


def _ticker_topic(raw_symbol: Any) -> tuple[str, str]:
    """The symbol and its topic."""
    try:
        return _ticker_topics[raw_symbol]
    except (KeyError, TypeError):
        symbol = _symbol(raw_symbol)
    if len(_ticker_topics) >= _MAX_REMEMBERED:
        _ticker_topics.clear()
    _ticker_topics[raw_symbol] = result = (symbol, f"ticker:{symbol}")
    return result

"""What a client's message leads to: a pure decision over the message and the subscriptions so far."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from agentexchange.testing._dialect import Dialect

__all__ = ["ALL", "Verdict", "judge"]

ALL = "ticker:all"


class Verdict(NamedTuple):
    """What to do about one message; nothing set means: take no notice."""

    reply: dict[str, Any] | None = None
    subscribe: str | None = None
    unsubscribe: str | None = None
    pong: bool = False
    close: bool = False


_CLOSE = Verdict(close=True)


class _NotTextError(Exception):
    """A symbol that is no string: the platform falls over it and closes."""


def _error(code: str, message: str) -> Verdict:
    return Verdict(reply={"type": "error", "code": code, "message": message})


def _symbol(request: dict[str, Any]) -> str:
    symbol = request.get("symbol", "")
    if not isinstance(symbol, str):
        raise _NotTextError
    return symbol.strip().upper()


def _topic(request: dict[str, Any], dialect: Dialect) -> str | None:
    """The topic that a request names, None when there is no such channel."""
    channel, symbol = request.get("channel"), _symbol(request)
    if channel in ("orders", "portfolio"):
        return str(channel)
    if channel == "ticker_all":
        return ALL
    if channel == "ticker" and symbol:
        return ALL if symbol == "ALL" and dialect.ticker_all_symbol else f"ticker:{symbol}"
    interval = request.get("interval")
    if channel == "candles" and symbol and isinstance(interval, str) and interval in dialect.intervals:
        return f"candles:{symbol}:{interval}"
    return None


def _subscription(action: str, topic: str, held: Collection[str], limit: int | None) -> Verdict:
    if action == "unsubscribe":
        return Verdict(reply={"type": "unsubscribed", "channel": topic}, unsubscribe=topic)
    if limit is not None and topic not in held and len(held) >= limit:
        return _error("SUBSCRIPTION_LIMIT", f"At most {limit} subscriptions per connection")
    return Verdict(reply={"type": "subscribed", "channel": topic}, subscribe=topic)


def _parse(message: str | bytes) -> dict[str, Any] | None:
    if isinstance(message, bytes):
        return None
    try:
        request = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def judge(message: str | bytes, *, dialect: Dialect, held: Collection[str], limit: int | None) -> Verdict:
    """Decide about one message of a client.

    Args:
        message: a text frame as str, a binary frame as bytes.
        dialect: whose rules apply.
        held: the topics that the connection is subscribed to.
        limit: how many it may hold, None for any number.
    """
    request = _parse(message)
    if request is None:
        return _CLOSE
    if request.get(dialect.pong_field) == "pong":
        return Verdict(pong=True)
    action = request.get("action")
    if action not in ("subscribe", "unsubscribe"):
        return _error("UNKNOWN_ACTION", "Unknown action")
    try:
        topic = _topic(request, dialect)
    except _NotTextError:
        return _CLOSE
    if topic is None:
        return _error("INVALID_CHANNEL", "Invalid channel")
    return _subscription(action, topic, held, limit)

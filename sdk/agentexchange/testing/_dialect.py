"""What the two servers say: the live platform, and one that does just as the documentation page promises.

Both are written from the protocol notes alone and share nothing with the client's parser, so that a
mistake in one cannot hide in the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from agentexchange.testing._frames import json_bytes
from agentexchange.testing._recorded_fields import sent_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INTERVAL_MINUTES", "Dialect", "DialectName", "LiveDialect", "PageDialect", "dialect_named"]

DialectName = Literal["live", "page"]

INTERVAL_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}


class Dialect(Protocol):
    """The differences between the two servers, as values and as frame encoders (fields in, payload out)."""

    @property
    def name(self) -> DialectName:
        """``live`` or ``page``."""

    @property
    def paths(self) -> frozenset[str]:
        """Request paths that lead to the endpoint."""

    @property
    def intervals(self) -> frozenset[str]:
        """Candle intervals that a subscription may name."""

    @property
    def subscription_limit(self) -> int | None:
        """Subscriptions per connection, None for no limit."""

    @property
    def refusal(self) -> int:
        """HTTP status of a refused key, or a close code (4000 and up) after an accepted handshake."""

    @property
    def pong_field(self) -> str:
        """The field that must hold ``pong`` for a heartbeat answer to count."""

    @property
    def ticker_all_symbol(self) -> bool:
        """Whether channel ``ticker`` with symbol ``all`` means the whole market."""

    @property
    def twins(self) -> bool:
        """Whether a tick subscribed both ways comes twice."""

    @property
    def private_unasked(self) -> bool:
        """Whether orders and portfolio reach every connection of the key, subscribed or not."""

    @property
    def pushes_candles(self) -> bool:
        """Whether candles are pushed unless told otherwise."""

    @property
    def forming_candles(self) -> bool:
        """Whether pushed candles include those that are not closed yet."""

    def tick(self, symbol: str, price: str, quantity: str, stamp: str, is_buyer_maker: bool) -> bytes:  # noqa: FBT001  # called per tick: keywords cost
        """A ticker frame; ``symbol`` is already escaped for JSON."""

    def candle(self, symbol: str, interval: str, fields: Mapping[str, Any]) -> bytes:
        """A candle frame; the fields are time, open, high, low, close, volume, is_closed."""

    def order(self, fields: Mapping[str, Any]) -> bytes:
        """An order frame from the live platform's field names."""

    def portfolio(self, fields: Mapping[str, Any]) -> bytes:
        """A portfolio frame from the fields of both documents."""

    def recorded(self, topic: str, fields: Mapping[str, Any]) -> bytes:
        """The frame of a recorded event; ``fields`` are what a handler got."""


class LiveDialect:
    """As the live platform does: ``channel`` outside, the fields under ``data``."""

    name: DialectName = "live"
    paths = frozenset({"/ws/v1"})
    intervals = frozenset({"1m", "5m", "1h", "1d"})
    subscription_limit: int | None = 10
    refusal = 403
    pong_field = "action"
    ticker_all_symbol = False
    twins = True
    private_unasked = True
    pushes_candles = False
    forming_candles = True

    def tick(self, symbol: str, price: str, quantity: str, stamp: str, is_buyer_maker: bool) -> bytes:  # noqa: FBT001  # called per tick: keywords cost
        maker = "true" if is_buyer_maker else "false"
        return (
            f'{{"channel":"ticker","symbol":"{symbol}","data":{{"price":"{price}","quantity":"{quantity}",'
            f'"timestamp":"{stamp}","is_buyer_maker":{maker}}}}}'
        ).encode()

    def candle(self, symbol: str, interval: str, fields: Mapping[str, Any]) -> bytes:
        return json_bytes({"channel": "candles", "symbol": symbol, "interval": interval, "data": dict(fields)})

    def order(self, fields: Mapping[str, Any]) -> bytes:
        return json_bytes({"channel": "orders", "data": dict(fields)})

    def portfolio(self, fields: Mapping[str, Any]) -> bytes:
        data = {name: value for name, value in fields.items() if name != "roi_pct"}
        return json_bytes({"channel": "portfolio", "data": data})

    def recorded(self, topic: str, fields: Mapping[str, Any]) -> bytes:
        channel, *names = topic.split(":")
        head = dict(zip(("symbol", "interval"), names, strict=False))
        return json_bytes({"channel": channel, **head, "data": sent_fields(channel, fields)})


_PAGE_ORDER = ("order_id", "symbol", "side", "status", "executed_price", "executed_quantity")
_PAGE_PORTFOLIO = ("total_equity", "available_cash", "unrealized_pnl", "roi_pct")
_PAGE_CANDLE = ("open", "high", "low", "close", "volume")


class PageDialect:
    """As the page promises: flat frames that carry just the documented fields, and a ``type``.

    An order's own ``type`` (market, limit) has no place in a flat frame, and the page does not name it.
    """

    name: DialectName = "page"
    paths = frozenset({"/", "/ws/v1"})
    intervals = frozenset(INTERVAL_MINUTES)
    subscription_limit: int | None = None
    refusal = 4401
    pong_field = "type"
    ticker_all_symbol = True
    twins = False
    private_unasked = False
    pushes_candles = True
    forming_candles = False

    def tick(self, symbol: str, price: str, quantity: str, stamp: str, is_buyer_maker: bool) -> bytes:  # noqa: ARG002, FBT001  # one signature for both; called per tick
        return f'{{"type":"ticker","symbol":"{symbol}","price":"{price}","timestamp":"{stamp}"}}'.encode()

    def candle(self, symbol: str, interval: str, fields: Mapping[str, Any]) -> bytes:
        head = {"type": "candle", "symbol": symbol, "interval": interval}
        prices = {name: fields.get(name) for name in _PAGE_CANDLE}
        return json_bytes({**head, **prices, "open_time": fields.get("time")})

    def order(self, fields: Mapping[str, Any]) -> bytes:
        return json_bytes({"type": "order_update", **{name: fields.get(name) for name in _PAGE_ORDER}})

    def portfolio(self, fields: Mapping[str, Any]) -> bytes:
        return json_bytes({"type": "portfolio", **{name: fields.get(name) for name in _PAGE_PORTFOLIO}})

    def recorded(self, topic: str, fields: Mapping[str, Any]) -> bytes:
        match topic.split(":"):
            case ["ticker", symbol]:
                named = {"symbol": symbol, "price": fields.get("price"), "timestamp": fields.get("timestamp")}
                return json_bytes({"type": "ticker", **named})
            case ["candles", symbol, interval]:
                return self.candle(symbol, interval, {**fields, "time": fields.get("open_time")})
            case ["orders"]:
                return self.order(fields)
        return self.portfolio(fields)


_DIALECTS: dict[str, Dialect] = {"live": LiveDialect(), "page": PageDialect()}


def dialect_named(name: str) -> Dialect:
    """The dialect called ``name``.

    Raises:
        ValueError: there is none; the message names the choices.
    """
    found = _DIALECTS.get(name)
    if found is None:
        raise ValueError(f"dialect must be one of {', '.join(_DIALECTS)}, not {name!r}")
    return found

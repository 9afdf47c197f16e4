"""Event models: what a handler with an annotated parameter gets.

Prices, quantities and times are the strings upstream sent; the properties beside them are exact
views (`decimal.Decimal`, timezone-aware `datetime.datetime`). Unknown fields are kept (``model_extra``);
documented fields that upstream left out are None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from ._text import epoch_ms, to_datetime, to_decimal
from .topics import Kind

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

__all__ = [
    "EVENT_MODELS",
    "FINAL_STATUSES",
    "Candle",
    "Event",
    "OrderUpdate",
    "Portfolio",
    "Ticker",
    "event_time_ms",
]

FINAL_STATUSES: Final = frozenset({"filled", "cancelled", "canceled", "rejected", "expired"})
"""Order statuses after which an order changes no more."""


class Event(BaseModel):
    """Base of the four event models: frozen, unknown fields kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def decimal(self, field: str) -> Decimal | None:
        """The exact decimal of ``field`` (also one that upstream added), or None where it is absent.

        Raises:
            ValueError: the field holds something that is no decimal number.
        """
        value = getattr(self, field, None)
        return to_decimal(value if value is None else str(value), field=field)


class Ticker(Event):
    """One trade's price: topic ``ticker:<symbol>``."""

    symbol: str
    price: str
    timestamp: str | None = None
    quantity: str | None = None
    is_buyer_maker: bool | None = None

    @property
    def price_decimal(self) -> Decimal:
        """The price, exactly."""
        return _required(self.decimal("price"))

    @property
    def quantity_decimal(self) -> Decimal | None:
        """The traded quantity in base units, exactly."""
        return self.decimal("quantity")

    @property
    def time(self) -> datetime | None:
        """When upstream says it happened (UTC)."""
        return to_datetime(self.timestamp)


class Candle(Event):
    """One OHLCV candle: topic ``candles:<symbol>:<interval>``.

    ``source`` is ``upstream`` or ``built``; ``complete`` is False where ticks of the span may be missing in it;
    ``trades`` counts them where that is known; an ``empty`` one had none and repeats the last close.
    """

    symbol: str
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str | None = None
    open_time: str | None = None
    is_closed: bool | None = None
    source: str | None = None
    complete: bool | None = None
    trades: int | None = None
    empty: bool | None = None

    @property
    def open_decimal(self) -> Decimal:
        """The first price of the span, exactly."""
        return _required(self.decimal("open"))

    @property
    def high_decimal(self) -> Decimal:
        """The highest price of the span, exactly."""
        return _required(self.decimal("high"))

    @property
    def low_decimal(self) -> Decimal:
        """The lowest price of the span, exactly."""
        return _required(self.decimal("low"))

    @property
    def close_decimal(self) -> Decimal:
        """The last price of the span, exactly."""
        return _required(self.decimal("close"))

    @property
    def volume_decimal(self) -> Decimal | None:
        """The quantity traded in the span, exactly."""
        return self.decimal("volume")

    @property
    def opened_at(self) -> datetime | None:
        """When the span began (UTC)."""
        return to_datetime(self.open_time)


class OrderUpdate(Event):
    """One change of one order: topic ``orders``. ``reconciled``: it happened in a blind span and is told late."""

    order_id: str
    symbol: str | None = None
    side: str | None = None
    status: str
    executed_price: str | None = None
    executed_quantity: str | None = None
    type: str | None = None
    quantity: str | None = None
    price: str | None = None
    fee: str | None = None
    filled_at: str | None = None
    cancelled_at: str | None = None
    rejected_reason: str | None = None
    reconciled: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the order changes no more."""
        return self.status.lower() in FINAL_STATUSES

    @property
    def executed_price_decimal(self) -> Decimal | None:
        """The average price of what was executed, exactly."""
        return self.decimal("executed_price")

    @property
    def executed_quantity_decimal(self) -> Decimal | None:
        """How much was executed in base units, exactly."""
        return self.decimal("executed_quantity")


class Portfolio(Event):
    """One snapshot of an account: topic ``portfolio``. ``reconciled``: it shows what happened in a blind span."""

    total_equity: str | None = None
    available_cash: str | None = None
    unrealized_pnl: str | None = None
    roi_pct: str | None = None
    realized_pnl: str | None = None
    timestamp: str | None = None
    reconciled: bool = False

    @property
    def total_equity_decimal(self) -> Decimal | None:
        """Cash plus positions, exactly."""
        return self.decimal("total_equity")

    @property
    def available_cash_decimal(self) -> Decimal | None:
        """What can be spent, exactly."""
        return self.decimal("available_cash")

    @property
    def unrealized_pnl_decimal(self) -> Decimal | None:
        """Profit of the open positions, exactly."""
        return self.decimal("unrealized_pnl")

    @property
    def roi_pct_decimal(self) -> Decimal | None:
        """Return on investment in per cent, exactly."""
        return self.decimal("roi_pct")

    @property
    def time(self) -> datetime | None:
        """When upstream says it happened (UTC)."""
        return to_datetime(self.timestamp)


EVENT_MODELS: Final[dict[Kind, type[Event]]] = {
    Kind.TICKER: Ticker,
    Kind.CANDLES: Candle,
    Kind.ORDERS: OrderUpdate,
    Kind.PORTFOLIO: Portfolio,
}

_TIME_FIELDS: Final = ("timestamp", "open_time", "filled_at", "cancelled_at")


def event_time_ms(fields: dict[str, Any]) -> int | None:
    """When upstream says the event happened, in ms since the Unix epoch; None where it does not say."""
    for name in _TIME_FIELDS:
        text = fields.get(name)
        if isinstance(text, str):
            return epoch_ms(text)
    return None


def _required(value: Decimal | None) -> Decimal:
    assert value is not None  # noqa: S101 - the model's field is required, so its view is too
    return value

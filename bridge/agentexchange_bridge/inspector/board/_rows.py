"""Events as lines of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange_bridge.inspector.views import EventKey, EventRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentexchange_schemas import Envelope

__all__ = ["key_of", "kind_of", "order_of", "row_of", "text_of"]

_MAX_SUMMARY: Final = 160
_MAX_VALUE: Final = 64
_SHOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "ticker": ("price", "quantity"),
    "candles": ("open", "high", "low", "close", "volume"),
    "orders": ("order_id", "symbol", "side", "status", "executed_quantity", "executed_price", "rejected_reason"),
    "portfolio": ("total_equity", "available_cash", "unrealized_pnl"),
    "status": ("topic", "state", "cause", "count", "message"),
}


def kind_of(topic: str) -> str:
    """``ticker``, ``candles``, ``orders``, ``portfolio`` or ``status``."""
    return topic.partition(":")[0]


def key_of(scope: str, envelope: Envelope) -> EventKey:
    """What names the event."""
    return EventKey(scope, envelope.topic, envelope.epoch, envelope.seq, envelope.received_us)


def order_of(key: EventKey) -> tuple[int, str, str]:
    """By it events are sorted: by ``r``, and where that is the same, by scope and topic."""
    return (key.received_us, key.scope, key.topic)


def row_of(scope: str, envelope: Envelope) -> EventRow:
    """The line of an event."""
    kind = kind_of(envelope.topic)
    return EventRow(key_of(scope, envelope), kind, envelope.upstream_ms, _summary(kind, envelope.data))


def text_of(value: Any) -> str:
    """A field's value, cut to what a cell holds; "" for none."""
    return "" if value is None else str(value)[:_MAX_VALUE]


def _summary(kind: str, data: Mapping[str, Any]) -> str:
    parts = [f"{name} {text_of(data[name])}" for name in _SHOWN.get(kind, ()) if data.get(name) is not None]
    if kind == "candles":
        parts.append("closed" if data.get("is_closed") else "forming")
    return ", ".join(parts)[:_MAX_SUMMARY]

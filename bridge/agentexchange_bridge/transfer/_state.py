"""What a bridge keeps beside its logs, computed from the events of an import. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Kind, Layout, Topic, TopicError
from agentexchange_schemas.envelope import STATUS_TOPIC, decode
from agentexchange_schemas.events import FINAL_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange.recording import Place

__all__ = ["OrderState", "ScopeState", "order_state", "partitions_of"]

_CANDLES: Final = f"{Kind.CANDLES}:"
_MAX_PARTITIONS: Final = 1024


@dataclass(frozen=True, slots=True)
class OrderState:
    """One order's newest envelope."""

    order_id: str
    raw: bytes
    is_final: bool


@dataclass(slots=True)
class ScopeState:
    """One scope, as far as it has been imported.

    Attributes:
        seqs: last seq per topic.
        latest: newest envelope per topic; orders are no part of it.
        epoch: the highest.
        last_us: ``r`` of the newest event.
        log_us: the same per log, by whether it is the one of candles.
        skipped: events that cannot be part of a log again: a recorder's own notices, and what two logs of one
            scope held at the same time.
    """

    seqs: dict[str, int] = field(default_factory=dict)
    latest: dict[str, bytes] = field(default_factory=dict)
    epoch: int = 0
    last_us: int = 0
    log_us: dict[bool, int] = field(default_factory=dict)
    skipped: int = 0

    def take(self, place: Place, raw: bytes) -> bool | None:
        """Enter one event; whether it belongs in the log of candles, None where it belongs in none."""
        is_candle = place.topic.startswith(_CANDLES)
        if place.seq is None or place.received_us <= self.log_us.get(is_candle, 0):
            self.skipped += 1
            return None
        self.log_us[is_candle] = place.received_us
        self.seqs[place.topic] = place.seq
        self.epoch = max(self.epoch, place.epoch)
        self.last_us = max(self.last_us, place.received_us)
        if place.topic not in (STATUS_TOPIC, Kind.ORDERS):
            self.latest[place.topic] = raw
        return is_candle


def order_state(raw: bytes) -> OrderState:
    """What the keys of an order hold after this event.

    Raises:
        EnvelopeError: not an envelope.
    """
    data = decode(raw).data
    return OrderState(str(data.get("order_id")), raw, str(data.get("status")).lower() in FINAL_STATUSES)


def partitions_of(places: Iterable[tuple[str, str]]) -> int | None:
    """The smallest number of market partitions under which each (scope, topic) belongs together; None for no number."""
    markets = [(scope, symbol) for scope, topic in places if scope.startswith("m") and (symbol := _symbol_of(topic))]
    most = max((int(scope[1:]) for scope, _ in markets), default=0)
    for count in range(most + 1, _MAX_PARTITIONS + 1):
        layout = Layout(partitions=count)
        if all(layout.market_scope(symbol) == scope for scope, symbol in markets):
            return count
    return None


def _symbol_of(topic: str) -> str | None:
    try:
        return Topic.parse(topic).symbol
    except TopicError:
        return None

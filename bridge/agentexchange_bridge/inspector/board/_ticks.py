"""The newest tick of one symbol, and what its price was over the last minutes."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from agentexchange_bridge.inspector.views import PriceRow
from agentexchange_schemas import FeedState, Topic

from ._rows import text_of

if TYPE_CHECKING:
    from agentexchange_schemas import Envelope

__all__ = ["SAMPLES", "SPAN_US", "TickSlot"]

SAMPLES: Final = 60
SPAN_US: Final = 300_000_000
"""How far back samples reach."""
_SPACING_US: Final = SPAN_US // SAMPLES


class TickSlot:
    """One symbol. Samples are `SPAN_US` / `SAMPLES` apart, so that a busy symbol costs no more than a quiet one.

    Attributes:
        scope: whose log it comes from.
        topic: which it is.
        envelope: the newest tick.
        received_us: its ``r``.
        version: of the board, when it last changed.
        state: of the topic.
        next_sample_us: a tick from then on is sampled.
    """

    __slots__ = ("_samples", "envelope", "next_sample_us", "received_us", "scope", "state", "topic", "version")

    def __init__(self, scope: str, envelope: Envelope) -> None:
        self.scope = scope
        self.envelope = envelope
        self.topic = Topic.parse(envelope.topic)
        self.received_us = envelope.received_us
        self.version = 0
        self.state = FeedState.CONNECTING
        self.next_sample_us = 0
        self._samples: deque[tuple[int, float]] = deque(maxlen=SAMPLES - 1)  # the newest price is the sixtieth

    def sample(self) -> None:
        """Remember the newest price, if it is one."""
        price = _number(self.envelope.data.get("price"))
        if price is not None:
            self._samples.append((self.received_us, price))
            self.next_sample_us = self.received_us + _SPACING_US

    def row(self, at_us: int) -> PriceRow:
        """What is shown of it at that moment."""
        data, price = self.envelope.data, _number(self.envelope.data.get("price"))
        spark = self._spark(price, at_us)
        return PriceRow(
            symbol=self.topic.symbol or "",
            price=text_of(data.get("price")),
            change_pct=_change_pct(spark),
            spark=spark,
            received_us=self.received_us,
            age_s=max(0.0, (at_us - self.received_us) / 1_000_000),
            state=self.state,
            seq=self.envelope.seq,
        )

    def _spark(self, price: float | None, at_us: int) -> tuple[float, ...]:
        samples, oldest_us = self._samples, at_us - SPAN_US
        while samples and samples[0][0] < oldest_us:
            samples.popleft()
        before = [value for at, value in samples if at < self.received_us]
        return tuple(before) if price is None else (*before, price)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _change_pct(spark: tuple[float, ...]) -> float | None:
    if len(spark) < 2 or not spark[0]:  # noqa: PLR2004 - a change is between two
        return None
    return (spark[-1] / spark[0] - 1) * 100

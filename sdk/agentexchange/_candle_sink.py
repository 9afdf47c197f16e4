"""From the feed on to the handlers, candles by way of the desk that chooses and builds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import Topic
from agentexchange_schemas.events import event_time_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentexchange_schemas import FeedStatus, FrameError

    from .candles import BuiltCandle, CandleDesk

__all__ = ["CandleSink"]

_PRIVATE: Final = (str(Topic.orders()), str(Topic.portfolio()))


class CandleSink:
    """A `FeedSink`. What the desk has no part in goes straight on.

    Args:
        desk: of the wanted candles.
        deliver: takes the events.
        private: takes orders and portfolio.
        tell: takes the statements about the feed.
        wall: seconds since the Unix epoch.
    """

    def __init__(
        self,
        desk: CandleDesk,
        *,
        deliver: Callable[[str, dict[str, Any]], None],
        private: Callable[[str, dict[str, Any]], None],
        tell: Callable[[FeedStatus], None],
        wall: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._deliver = deliver
        self._tell = tell
        self._wall = wall
        self._ways: dict[str, Callable[[str, dict[str, Any]], None]] = dict.fromkeys(_PRIVATE, private)
        self._tick_time: str | None = None
        self._tick_ms: int | None = None

    # FeedSink

    def on_event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event."""
        (self._ways.get(topic) or self._deliver)(topic, fields)

    def on_status(self, status: FeedStatus) -> None:
        """The feed's state changed, or one topic's."""
        if self._desk.status(status):
            self._tell(status)

    def on_junk(self, error: FrameError) -> None:
        """Nothing to add: the feed has counted and logged it."""

    # For the transport

    def want(self, topic: Topic) -> None:
        """Give candles of ``topic``."""
        self._desk.want(topic, self._now_us())
        self._ways[str(topic)] = self._candle
        self._ways[str(Topic.ticker(topic.symbol or ""))] = self._tick

    def unwant(self, topic: Topic) -> None:
        """Give them no more."""
        self._desk.unwant(topic, self._now_us())
        self._ways.pop(str(topic), None)
        if topic.symbol not in self._desk.symbols:
            self._ways.pop(str(Topic.ticker(topic.symbol or "")), None)

    def settle(self, has_settled: Callable[[Topic], bool]) -> None:
        """Upstream may have answered."""
        self._desk.settle(has_settled, self._now_us())

    def poll(self) -> None:
        """Hand out the candles that are due."""
        self._hand_out(self._desk.poll(self._now_us()))

    # Within

    def _tick(self, topic: str, fields: dict[str, Any]) -> None:
        text = fields["timestamp"]
        if text != self._tick_time:
            # many ticks share a millisecond, and reading it is dear
            self._tick_time, self._tick_ms = text, event_time_ms(fields)
        self._desk.tick(fields["symbol"], fields["price"], fields.get("quantity"), self._tick_ms, self._now_us())
        self._deliver(topic, fields)

    def _candle(self, topic: str, fields: dict[str, Any]) -> None:
        self._hand_out(self._desk.candle(topic, fields, self._now_us()))

    def _hand_out(self, candles: Iterable[BuiltCandle]) -> None:
        for topic, fields in candles:
            self._deliver(topic, fields)

    def _now_us(self) -> int:
        return int(self._wall() * 1_000_000)

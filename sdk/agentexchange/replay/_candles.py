"""Candles that were not recorded, built of the recorded ticks: by the same desk as live, driven by recorded time.

The desk looks at the clock every quarter of a recorded second, whatever events there are: so two runs give the same
candles at the same places. Reading begins before the boundary of the longest interval, as far as an hour back, so that
the candle under way at the start is whole where the recording is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import us_of
from agentexchange.candles import INTERVAL_MS, CandleDesk, CandleSource
from agentexchange.recording import Lane, LaneRun, received_of, topic_of
from agentexchange_schemas import ALL, EnvelopeError, FeedState, FeedStatus, Topic
from agentexchange_schemas.envelope import STATUS_TOPIC, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["BuiltCandles"]

_POLL_US: Final = 250_000
_MOST_BACK_US: Final = 3_600_000_000
_BEFORE_US: Final = 5_000_000  # a candle is whole where its ticks were seen from before its span on
_ALL: Final = str(Topic.ticker(ALL))
_LOG: Final = "built"  # no log holds them


class BuiltCandles:
    """Adds candles to the events of a source.

    Args:
        topics: of the candles, each with the first ``r`` that a tick of it may have: before that, ticks are missing.
        from_us: the first ``r`` that is replayed.

    Attributes:
        tickers: the topics that the candles are made from, and that are to be read for them.
        start_us: where reading is to begin: at or before ``from_us``.
    """

    def __init__(self, topics: Mapping[Topic, int], from_us: int) -> None:
        self.tickers = {str(Topic.ticker(topic.symbol or "")) for topic in topics}
        length_us = max(INTERVAL_MS[topic.interval or ""] for topic in topics) * 1000
        back_us = from_us - min(from_us % length_us, _MOST_BACK_US) - _BEFORE_US
        self.start_us = min(from_us, max(back_us, min(topics.values())))
        self._topics = {str(topic) for topic in topics}
        self._from_us = from_us
        self._poll_us = self.start_us - self.start_us % _POLL_US + _POLL_US
        self._is_live = True
        self._epoch = 0
        self._scopes: dict[str, str] = {}
        self._desk = CandleDesk(CandleSource.BUILD)
        for topic in topics:
            self._desk.want(topic, self.start_us)
        self._settle(self.start_us)
        for topic, first_us in topics.items():
            if first_us > self.start_us:
                self._desk.blind(self.start_us, first_us, symbol=topic.symbol)

    async def among(self, runs: AsyncIterator[LaneRun]) -> AsyncIterator[LaneRun]:
        """The events of ``runs``, which begin at `start_us`, from ``from_us`` on, and the candles between them."""
        async for lane, raws in runs:
            begin = 0
            for index, raw in enumerate(raws):
                at_us, topic = received_of(raw), topic_of(raw)
                status = self._notice(lane.scope, raw) if topic == STATUS_TOPIC else None
                candles = self._due(at_us) if at_us >= self._poll_us else []
                if candles:
                    if begin < index:
                        yield LaneRun(lane, raws[begin:index])
                    begin = index
                    for candle in candles:
                        yield candle
                if at_us < self._from_us:
                    begin = index + 1
                if status is not None:
                    self._hear(status, at_us)
                elif topic in self.tickers:
                    self._tick(lane.scope, raw, at_us)
            if begin < len(raws):
                yield LaneRun(lane, raws[begin:])

    def _tick(self, scope: str, raw: bytes, at_us: int) -> None:
        try:
            envelope = decode(raw)
        except EnvelopeError:
            return  # it is told where it would be delivered
        self._epoch = envelope.epoch
        symbol, price, quantity = (envelope.data.get(name) for name in ("symbol", "price", "quantity"))
        if isinstance(symbol, str) and isinstance(price, str):
            self._scopes[symbol] = scope
            self._desk.tick(symbol, price, quantity, envelope.upstream_ms, at_us)

    def _notice(self, scope: str, raw: bytes) -> FeedStatus | None:
        """A notice of the market. What is lost is taken at once: candles that are closed next may lie in that span."""
        try:
            status = FeedStatus.from_fields(decode(raw).data) if scope.startswith("m") else None
        except EnvelopeError:
            return None  # it is told where it would be delivered
        if status is not None and not status.tells_state and status.topic in (None, _ALL, *self.tickers):
            symbol = None if status.topic is None else Topic.parse(status.topic).symbol
            self._desk.blind(us_of(status.since), us_of(status.until or status.since), symbol=symbol)
        return status

    def _hear(self, status: FeedStatus, at_us: int) -> None:
        if status.tells_state:
            if status.topic is None:
                self._is_live = status.state in (FeedState.LIVE, FeedState.STALE)
            self._desk.status(status)
        self._settle(at_us)

    def _settle(self, at_us: int) -> None:
        self._desk.settle(lambda _: self._is_live, at_us)

    def _due(self, at_us: int) -> list[LaneRun]:
        """What comes up to ``at_us``, at the places where the desk looks at the clock."""
        candles = []
        while at_us >= self._poll_us:
            for topic, fields in self._desk.poll(self._poll_us):
                if topic in self._topics and self._poll_us >= self._from_us:
                    raw = encode(topic, self._epoch, None, None, self._poll_us, fields)
                    candles.append(LaneRun(Lane(self._scopes[fields["symbol"]], _LOG), [raw]))
            self._poll_us += _POLL_US
        return candles

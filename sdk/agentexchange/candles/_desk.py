"""CandleDesk: every wanted candle topic's source, and what is seen of its ticks. No I/O, no time of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import ALL, FeedState, Kind, Topic

from ._builder import BuilderOptions, BuilderStats, BuiltCandle, CandleBuilder
from ._chooser import CandleSource, ChooserStats, SourceChooser
from ._feed_time import FeedTime
from ._sight import Sight
from ._time import open_ms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, KeysView, Mapping
    from datetime import datetime

    from agentexchange_schemas import FeedStatus

    from ._restore import Histories

__all__ = ["CandleDesk", "DeskHistory", "DeskStats"]

_MINUTE: Final = "1m"


@dataclass(slots=True)
class DeskStats:
    """Plain counters; one object may be shared by desks that follow each other."""

    builder: BuilderStats = field(default_factory=BuilderStats)
    chooser: ChooserStats = field(default_factory=ChooserStats)


class CandleDesk:
    """Takes ticks and upstream's candles, gives the candles of what is wanted: one final one per topic and span.

    Beside a wanted longer interval the one-minute candles are built and handed out too, as a restart needs them: what
    comes out is of the topics in `published`, a superset of the wanted ones. Where upstream is the only source nothing
    is built, and the two are the same.

    A symbol's ticks count as missed from `want` until its ticker has settled upstream (`settle`), while the feed is
    blind, and while its ticker has trouble of its own (`blind`). Times in ``…_us`` are µs since the Unix epoch, on one
    clock, that of the ticks' arrival. Where the first ticks are of the past, as from a served recording, the newest
    tick's time takes that clock's place, and every symbol begins anew there.

    Attributes:
        mode: where candles may come from.
        stats: what happened.
        tick: takes a tick: symbol, price, quantity, upstream's time in ms or None, arrival in µs. The hot path.
            `CandleBuilder.tick` itself, once the feed has proved to be of our time: a call less for each.
    """

    def __init__(
        self,
        mode: CandleSource = CandleSource.AUTO,
        *,
        options: BuilderOptions | None = None,
        stats: DeskStats | None = None,
    ) -> None:
        self.mode = mode
        self.stats = stats or DeskStats()
        self._builder = CandleBuilder(options, stats=self.stats.builder)
        self.tick: Callable[[str, str, str | None, int | None, int], bool] = self._judged_tick
        self._builds = mode is not CandleSource.UPSTREAM
        self._intervals: dict[str, set[str]] = {}
        self._choosers: dict[str, SourceChooser] = {}
        self._waiting: set[str] = set()
        self._sight = Sight(self._builder.blind)
        self._time = FeedTime()
        self._due: list[BuiltCandle] = []

    # Ticks

    def _judged_tick(
        self, symbol: str, price: str, quantity: str | None, upstream_ms: int | None, received_us: int
    ) -> bool:
        """Take a tick while it is open, or past, which time the feed lives in."""
        if self._time.see(upstream_ms, received_us):
            now_us = self._time.at(received_us)
            self._builder.begin_again(now_us)
            self._sight.tell_again(now_us)
        if self._time.is_now:
            self.tick = self._builder.tick
        return self._builder.tick(symbol, price, quantity, upstream_ms, self._time.at(received_us))

    # What is wanted

    @property
    def published(self) -> KeysView[str]:
        """The topics, as text, whose candles come out: the wanted ones, and ``1m`` beside longer ones. A live view."""
        return self._choosers.keys()

    @property
    def symbols(self) -> KeysView[str]:
        """The symbols of which candles are wanted. A live view."""
        return self._intervals.keys()

    def want(self, topic: Topic, now_us: int) -> None:
        """Give candles of ``topic`` from ``now_us`` on. Idempotent."""
        now_us = self._time.at(now_us)
        symbol, interval = _names(topic)
        intervals = self._intervals.setdefault(symbol, set())
        if interval in intervals:
            return
        is_new = not intervals
        intervals.add(interval)
        chooser = self._choose(symbol, interval)
        if not self._builds:
            return
        self._builder.want(symbol, interval, now_us, forming=True)
        if interval == _MINUTE:
            chooser.accepted()  # upstream is asked for it from now on
        elif _MINUTE not in intervals:
            self._want_beside(symbol, now_us)
        if is_new:
            self._sight.unsettled(symbol, now_us)

    def unwant(self, topic: Topic, now_us: int) -> None:
        """Give them no more. Idempotent."""
        now_us = self._time.at(now_us)
        symbol, interval = _names(topic)
        intervals = self._intervals.get(symbol, set())
        if interval not in intervals:
            return
        intervals.discard(interval)
        if not intervals:
            del self._intervals[symbol]
            self._sight.forget(symbol)
            self._drop(symbol, _MINUTE)
        if interval == _MINUTE and intervals and self._builds:
            self._want_beside(symbol, now_us)
        else:
            self._drop(symbol, interval)

    def _want_beside(self, symbol: str, now_us: int) -> None:
        """Build the one-minute candles unasked: upstream is not asked for them, which is as if it refused."""
        self._builder.want(symbol, _MINUTE, now_us)
        chooser = self._choose(symbol, _MINUTE)
        self._due += _named(f"candles:{symbol}:{_MINUTE}", chooser.refused())

    def _choose(self, symbol: str, interval: str) -> SourceChooser:
        topic = f"candles:{symbol}:{interval}"
        chooser = self._choosers.get(topic)
        if chooser is None:
            chooser = self._choosers[topic] = SourceChooser(interval, self.mode, stats=self.stats.chooser)
        return chooser

    def _drop(self, symbol: str, interval: str) -> None:
        topic = f"candles:{symbol}:{interval}"
        self._choosers.pop(topic, None)
        self._waiting.discard(topic)
        self._builder.unwant(symbol, interval)

    # From upstream

    def candle(self, topic: str, fields: dict[str, Any], now_us: int) -> list[BuiltCandle]:
        """Take upstream's candle, final or forming.

        Returns:
            What is to be published now, ``fields`` with the marks of a candle among them; nothing where nobody wants
            ``topic``.
        """
        chooser = self._choosers.get(topic)
        return [] if chooser is None else _named(topic, chooser.upstream(fields, self._time.at(now_us)))

    def refused(self, topic: str) -> None:
        """Upstream refuses the candles of ``topic``."""
        chooser = self._choosers.get(topic)
        if chooser is not None:
            self._due += _named(topic, chooser.refused())

    def accepted(self, topic: str) -> None:
        """Upstream takes the subscription of ``topic``."""
        chooser = self._choosers.get(topic)
        if chooser is not None:
            chooser.accepted()

    def status(self, status: FeedStatus) -> bool:
        """Take what the feed says about itself, or about a topic.

        Returns:
            Whether clients are to hear it: not that upstream has trouble with candles that are built without it.
        """
        kind, _, symbol = (status.topic or "").partition(":")
        is_live = status.state is FeedState.LIVE
        if kind == Kind.CANDLES and status.topic is not None:
            if status.state is FeedState.UNAVAILABLE:
                self.refused(status.topic)
            elif is_live:
                self.accepted(status.topic)
            return not self._builds
        if status.topic is None or kind == Kind.TICKER:
            since_us = _us(status.since)
            until_us = (since_us if status.until is None else _us(status.until)) if is_live else None
            self.blind(since_us, until_us, symbol=symbol or None)
        return True

    def blind(self, since_us: int, until_us: int | None = None, *, symbol: str | None = None) -> None:
        """Tell that ticks were missed: all, or those of ``symbol``; without an end, until a call that names it.

        After a span of all, every symbol's ticks count as missed until its ticker has settled again.
        """
        since_us, until_us = self._time.at(since_us), None if until_us is None else self._time.at(until_us)
        if symbol is None or symbol == ALL:
            self._builder.blind(since_us, until_us)
            if until_us is None:
                for name in self._intervals:
                    self._sight.unsettled(name, since_us)
        elif symbol in self._intervals:
            self._sight.trouble(symbol, since_us, until_us)

    def settle(self, has_settled: Callable[[Topic], bool], now_us: int) -> None:
        """Ask of which tickers what upstream sends comes from here on, and count their ticks as seen from now on."""
        for symbol in self._sight.waiting():
            if has_settled(Topic.ticker(symbol)):
                self._sight.settled(symbol, self._time.at(now_us))

    # On the clock

    def poll(self, now_us: int) -> list[BuiltCandle]:
        """What is to be published now, in order: call it a few times a second."""
        now_us = self._time.at(now_us)
        due, self._due = self._due, []
        for topic, fields in self._builder.close_due(now_us):
            due += self._built(topic, fields, now_us)
        for topic in [*self._waiting]:
            chooser = self._choosers[topic]
            due += _named(topic, chooser.due(now_us))
            if not chooser.is_waiting:
                self._waiting.discard(topic)
        for topic, fields in self._builder.forming_due(now_us):
            due += _named(topic, self._choosers[topic].built(fields, now_us))
        return due

    def flush(self) -> list[BuiltCandle]:
        """What waits for a better source, without waiting longer: for the end."""
        due, self._due = self._due, []
        for topic in self._waiting:
            due += _named(topic, self._choosers[topic].release())
        self._waiting.clear()
        return due

    def _built(self, topic: str, fields: dict[str, Any], now_us: int) -> list[BuiltCandle]:
        chooser = self._choosers.get(topic)
        if chooser is None:  # overdue since a restart, and unwanted meanwhile
            return []
        candles = chooser.built(fields, now_us)
        if chooser.is_waiting:
            self._waiting.add(topic)
        return _named(topic, candles)

    # Restarts

    def state(self, now_us: int) -> bytes | None:
        """What the closed candles do not tell, see `CandleBuilder.state`; None where a closed one still waits here.

        Keep it only when all that was handed out before is known to be written.
        """
        if self._due or self._waiting or not self._builds:
            return None
        return self._builder.state(self._time.at(now_us))

    def history(self) -> DeskHistory:
        """Collects closed candles for `restore`; nothing may be wanted, unwanted or polled until then."""
        return DeskHistory(self._choosers, self._builder.histories())

    def restore(self, closed: DeskHistory | Iterable[Mapping[str, Any]], state: bytes | None, now_us: int) -> None:
        """Continue after a restart, or give late wanted topics their history; see `CandleBuilder.restore`.

        Raises:
            CandleStateError: ``state`` is not a state; nothing has changed: call it again without.
        """
        now_us = self._time.at(now_us)
        history = closed if isinstance(closed, DeskHistory) else self.history()
        for fields in () if isinstance(closed, DeskHistory) else closed:
            history.add(fields, now_us)
        self._builder.restore(history.histories, state, now_us)
        self._sight.tell_again(now_us)


class DeskHistory:
    """Closed candles as they were published, oldest first, folded as they come."""

    def __init__(self, choosers: Mapping[str, SourceChooser], histories: Histories) -> None:
        self._choosers = choosers
        self.histories = histories

    def add(self, fields: Mapping[str, Any], now_us: int) -> None:
        """Take the next one; what is not published by the desk is skipped."""
        chooser = self._choosers.get(f"candles:{fields.get('symbol')}:{fields.get('interval')}")
        start = None if chooser is None else open_ms_of(fields)
        if chooser is not None and start is not None and fields.get("is_closed") is not False:
            chooser.resume(start)
        self.histories.add(fields, now_us // 1000)


def _names(topic: Topic) -> tuple[str, str]:
    assert topic.symbol is not None and topic.interval is not None, topic  # noqa: PT018, S101 - a candle topic has both
    return topic.symbol, topic.interval


def _us(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000)


def _named(topic: str, candles: list[dict[str, Any]]) -> list[BuiltCandle]:
    return [BuiltCandle(topic, fields) for fields in candles]

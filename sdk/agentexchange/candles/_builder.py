"""CandleBuilder: ticks in, candles out, on the clock that is passed in. No I/O, no time of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._restore import Histories, adopt
from ._series import Series, Slot
from ._spans import Spans
from ._state import Saved, pack_state, read_state
from ._time import DAY_MS, INTERVAL_MS, LONGER, MINUTE_MS, floor, interval_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ._bar import Bar

__all__ = ["BuilderOptions", "BuilderStats", "BuiltCandle", "CandleBuilder"]

_MINUTE: Final = "1m"
_DAY: Final = "1d"


class BuiltCandle(NamedTuple):
    """A candle: its topic as text, and the fields a handler gets, as a fresh dict."""

    topic: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderOptions:
    """How candles are built.

    Attributes:
        allowance_ms: how long after its end a span waits for late ticks before its candle is final.
        ahead_ms: how far a tick's upstream time may be ahead of its arrival; beyond that the arrival counts.
        forming_every_ms: the least time between two forming candles of a topic.
        forming_at_once: forming candles of one call at most; where more have changed, topics take turns.
        catch_up_ms: empty candles of spans that ended longer ago are not told; after a stop of days nobody wants them.
    """

    allowance_ms: int = 2_000
    ahead_ms: int = 60_000
    forming_every_ms: int = 1_000
    forming_at_once: int = 100
    catch_up_ms: int = 3_600_000


@dataclass(slots=True)
class BuilderStats:
    """Plain counters.

    Attributes:
        closed: final candles handed out.
        late: ticks that came after their candle was final; it does not hold them.
        ahead: ticks whose upstream time lay too far in the future; counted in by their arrival.
        bad_prices: ticks whose price is no number; not counted in.
        bad_quantities: ticks whose quantity is none; their price counts.
        skipped_minutes: minutes whose empty candles were not told, as they had ended too long ago.
    """

    closed: int = 0
    late: int = 0
    ahead: int = 0
    bad_prices: int = 0
    bad_quantities: int = 0
    skipped_minutes: int = 0


class CandleBuilder:
    """Builds the wanted candles: one-minute ones from ticks, longer ones from those, with UTC boundaries.

    A candle has the fields ``symbol interval open high low close volume open_time time is_closed source complete
    trades empty``. Prices are the very texts of the ticks. Ticks belong where upstream's time says, or their arrival
    where it says nothing; within a millisecond they count in order of arrival. ``volume`` sums what quantities the
    ticks named, exactly, and is None where none did. ``complete`` is False when ticks of the span may have been
    missed: start-up, spans told by `blind`, minutes missing at a restart, ticks that came too late. An interval without
    ticks repeats the last close (``empty`` True, volume ``"0"``); a symbol that never had a price has no candle.

    Times that come in as ``…_us`` are µs since the Unix epoch, on one clock, that of the ticks' arrival.
    """

    def __init__(self, options: BuilderOptions | None = None, *, stats: BuilderStats | None = None) -> None:
        self.options = options or BuilderOptions()
        self.stats = stats or BuilderStats()
        self._series: dict[str, Series] = {}
        self._forming: dict[tuple[str, str], tuple[Series, Slot]] = {}
        self._unseen = Spans()
        self._next_ms = 0
        self._overdue: list[BuiltCandle] = []

    # What is wanted

    def want(self, symbol: str, interval: str, now_us: int, *, forming: bool = False) -> None:
        """Build ``interval`` of ``symbol`` from ``now_us`` on; with ``forming`` tell it while it forms, too.

        Idempotent; ``forming`` is as the last call says. The candle under way is not complete unless `restore` makes it
        so. Longer intervals survive a restart through their closed one-minute candles: want ``1m`` beside them.

        Raises:
            TopicError: not an interval.
        """
        interval_ms(interval)
        series = self._series.get(symbol) or self._begin(symbol, now_us)
        slot = series.want(interval)
        slot.forming = forming
        if forming:
            self._forming[symbol, interval] = (series, slot)
        else:
            self._forming.pop((symbol, interval), None)

    def unwant(self, symbol: str, interval: str) -> None:
        """Build it no more. Idempotent; with its last interval a symbol is forgotten."""
        series = self._series.get(symbol)
        self._forming.pop((symbol, interval), None)
        if series is None or series.slots.pop(interval, None) is None:
            return
        if not series.slots:
            del self._series[symbol]

    def _begin(self, symbol: str, now_us: int) -> Series:
        series = self._series[symbol] = Series(symbol, self._limit(now_us))
        series.unseen.add(series.next_ms, now_us // 1000)
        self._next_ms = min(series.next_ms, self._next_ms) if len(self._series) > 1 else series.next_ms
        return series

    def begin_again(self, now_us: int) -> None:
        """Build what is wanted as if it were from ``now_us`` on, a time that may lie before all others so far."""
        wanted = [(series.symbol, *slot) for series in self._series.values() for slot in series.wanted()]
        self._series, self._forming = {}, {}
        is_blind, self._unseen = self._unseen.lasts_since is not None, Spans()
        for symbol, interval, forming in wanted:
            self.want(symbol, interval, now_us, forming=forming)
        if is_blind:
            self.blind(now_us)

    # Ticks

    def tick(self, symbol: str, price: str, quantity: str | None, upstream_ms: int | None, received_us: int) -> bool:
        """Take a tick. The hot path.

        Returns:
            Whether it is counted in: not where nobody wants the symbol, it comes too late, or its price is no number.
        """
        series = self._series.get(symbol)
        if series is None:
            return False
        time_ms = received_us // 1000 if upstream_ms is None else upstream_ms
        bar = series.minute
        try:
            if not bar.start <= time_ms < bar.end:
                time_ms = self._placed(time_ms, received_us)
                start = time_ms - time_ms % MINUTE_MS
                if start < series.next_ms:
                    return self._late(series, start)
                bar = series.opened(start, price)
            if not bar.add(time_ms, price, quantity):
                self.stats.bad_quantities += 1
        except ValueError:
            self.stats.bad_prices += 1
            return False
        return True

    def _placed(self, time_ms: int, received_us: int) -> int:
        received_ms = received_us // 1000
        if time_ms <= received_ms + self.options.ahead_ms:
            return time_ms
        self.stats.ahead += 1
        return received_ms

    def _late(self, series: Series, start: int) -> bool:
        """Its candle is out; what longer candle is still to come lacks it, and says so."""
        self.stats.late += 1
        series.unseen.add(start, start + MINUTE_MS)
        return False

    def blind(self, since_us: int, until_us: int | None = None, *, symbol: str | None = None) -> None:
        """Tell that ticks received in between were missed: all, or those of ``symbol``.

        Without ``until_us`` the span lasts until a call that names its end. Candles that are out stay as they are.
        A tick takes a moment from upstream, so the span begins ``allowance_ms`` earlier.
        """
        series = None if symbol is None else self._series.get(symbol)
        if symbol is not None and series is None:
            return
        unseen = self._unseen if series is None else series.unseen
        since_ms = since_us // 1000 - self.options.allowance_ms
        if until_us is None:
            unseen.begin(since_ms)
        else:
            unseen.end(since_ms, until_us // 1000 + 1)

    # Closing

    def close_due(self, now_us: int) -> list[BuiltCandle]:
        """The final candles of every span that was over ``allowance_ms`` ago; call it about once a second.

        Minute by minute, shorter intervals first. A clock that goes back closes nothing.
        """
        closed, self._overdue = self._overdue, []
        limit = self._limit(now_us)
        if self._series and limit > self._next_ms:
            for start, told in self._steps(limit):
                self._close(start, closed, told=told)
            self._next_ms = limit
        self.stats.closed += len(closed)
        return closed

    def _limit(self, now_us: int) -> int:
        """Minutes that begin before this are over."""
        return floor(now_us // 1000 - self.options.allowance_ms, MINUTE_MS)

    def _steps(self, limit: int) -> Iterator[tuple[int, bool]]:
        """The minutes to close, and whether empty candles are told: too far back only those with something in them."""
        told_from = max(self._next_ms, limit - floor(self.options.catch_up_ms, MINUTE_MS))
        if told_from > self._next_ms:
            self.stats.skipped_minutes += (told_from - self._next_ms) // MINUTE_MS
            busy = {start for series in self._series.values() for start in series.open} | {self._next_ms}
            ends = {floor(start, length) + length - MINUTE_MS for start in busy for length in INTERVAL_MS.values()}
            for start in sorted(start for start in busy | ends if self._next_ms <= start < told_from):
                yield start, False
        for start in range(told_from, limit, MINUTE_MS):
            yield start, True

    def _close(self, start: int, closed: list[BuiltCandle], *, told: bool) -> None:
        end = start + MINUTE_MS
        ending = [name for name, length in LONGER.items() if end % length == 0]
        blind = {name: self._unseen.overlaps(end - INTERVAL_MS[name], end) for name in (_MINUTE, *ending)}
        due = [series for series in self._series.values() if series.next_ms <= start]
        for series in due:
            bar = series.close_minute(start, told=told)
            if bar is not None and _MINUTE in series.slots:
                closed.append(self._final(series, _MINUTE, bar, seen=not blind[_MINUTE]))
        for name in ending:
            for series in due:
                slot = series.slots.get(name)
                bar, partial = (None, False) if slot is None else slot.close()
                if bar is not None:
                    closed.append(self._final(series, name, bar, seen=not (partial or blind[name])))
        if _DAY in ending:
            self._forget(end)

    def _final(self, series: Series, interval: str, bar: Bar, *, seen: bool) -> BuiltCandle:
        complete = seen and not series.unseen.overlaps(bar.start, bar.end)
        fields = bar.fields(series.symbol, interval, complete=complete, is_closed=True)
        return BuiltCandle(series.topics[interval], fields)

    def _forget(self, before: int) -> None:
        """Every span that is still under way begins at or after midnight."""
        for spans in (self._unseen, *(series.unseen for series in self._series.values())):
            spans.forget(floor(before, DAY_MS))

    # Forming candles

    def forming(self, symbol: str, interval: str) -> dict[str, Any] | None:
        """The candle that is under way, ``is_closed`` False; None where nobody wants it or it has nothing in it."""
        series = self._series.get(symbol)
        slot = None if series is None else series.slots.get(interval)
        if series is None or slot is None:
            return None
        bar = series.forming(slot)
        return None if bar is None else self._forming_fields(series, slot, bar)

    def forming_due(self, now_us: int) -> list[BuiltCandle]:
        """The forming candles that have changed, each topic at most once in ``forming_every_ms``."""
        due: list[BuiltCandle] = []
        told: list[tuple[str, str]] = []
        for key, (series, slot) in self._forming.items():
            if now_us < slot.forming_due_us:
                continue
            version = series.version(slot)
            if version is None or version == slot.told:
                continue
            bar = series.forming(slot)
            if bar is not None:
                slot.told, slot.forming_due_us = version, now_us + 1000 * self.options.forming_every_ms
                due.append(BuiltCandle(series.topics[slot.interval], self._forming_fields(series, slot, bar)))
                told.append(key)
                if len(due) == self.options.forming_at_once:
                    break
        for key in told:  # to the end, so that those that had no turn come first
            self._forming[key] = self._forming.pop(key)
        return due

    def _forming_fields(self, series: Series, slot: Slot, bar: Bar) -> dict[str, Any]:
        missed = slot.partial or self._unseen.overlaps(bar.start, bar.end)
        complete = not missed and not series.unseen.overlaps(bar.start, bar.end)
        return bar.fields(series.symbol, slot.interval, complete=complete, is_closed=False)

    # Restarts

    def state(self, now_us: int) -> bytes:
        """What closed candles do not tell: open minutes, last prices, unseen spans. Every tick until ``now_us`` is in.

        About 200 bytes a symbol. Keep it when the candles handed out before are known to be written.
        """
        return pack_state(Saved(now_us, self._unseen, self._series))

    def histories(self) -> Histories:
        """Collects closed candles one by one, for a caller of `restore` that reads them piece by piece.

        Nothing may be wanted, unwanted or closed until they are restored; ticks may come.
        """
        return Histories(self._series)

    def restore(self, closed: Iterable[Mapping[str, Any]] | Histories, state: bytes | None, now_us: int) -> None:
        """Continue after a restart, or give an interval that is wanted late its history. What is not wanted is skipped.

        Args:
            closed: fields of closed candles as they were published, oldest first: the one-minute ones of the UTC day,
                and the longer ones, so that none is published twice. What is no candle counts as missing.
            state: what `state` gave, None where there is none.
            now_us: from here on ticks are seen again.

        Raises:
            CandleStateError: ``state`` is not a state; nothing has changed.
        """
        saved = None if state is None else read_state(state)
        histories = closed if isinstance(closed, Histories) else self.histories()
        for fields in () if isinstance(closed, Histories) else closed:
            histories.add(fields, now_us // 1000)
        if saved is not None:
            self._take_unseen(saved.unseen, now_us)
        for symbol, series in self._series.items():
            overdue = adopt(
                series,
                histories.of(symbol),
                saved,
                now_ms=now_us // 1000,
                allowance_ms=self.options.allowance_ms,
            )
            self._overdue += [
                self._final(series, interval, bar, seen=not (partial or self._unseen.overlaps(bar.start, bar.end)))
                for interval, bar, partial in overdue
            ]
        if self._series:
            self._next_ms = min(series.next_ms for series in self._series.values())

    def _take_unseen(self, spans: Spans, now_us: int) -> None:
        for since, until in spans.pairs():
            self._unseen.add(since, until)
        if spans.lasts_since is not None:
            self._unseen.add(spans.lasts_since, now_us // 1000 + 1)

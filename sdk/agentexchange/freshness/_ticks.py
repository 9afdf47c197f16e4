"""Learns how often ticks come, and tells which silences are longer than that makes likely: pure, the clock passed in.

The hot path keeps the newest arrival of each topic, whatever that is; a look about twice a second sees which of them
are others than before. From how many looks that takes follows how far ticks of a pair are apart, and a burst counts
once. Arrivals that are independent of each other stay away for 25 times their usual distance once in 10^11; real ones
come in clusters, so the longest silence of late is remembered, too, and twice that is allowed.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

__all__ = ["LOOK_S", "Change", "TickWatch"]

LOOK_S: Final = 0.5
"""From one look to the next, seconds."""

_FEED_FLOOR_S: Final = 3.0
_PAIR_FLOOR_S: Final = 4.0  # above the feed's: when all is silent, that is told, and not of each pair
_MAX_BOUND_S: Final = 1800.0  # a pair of which a longer silence is likely is told of with the whole feed only
_INTERVALS: Final = 25.0
_WIDEST: Final = 2.0
_OUTAGE: Final = 2.0  # a silence of so many times the bound was none that one has to get used to
_FEED_GAPS: Final = 5  # to be seen before a silence is judged
_PAIR_GAPS: Final = 20
_MEMORY_GAPS: Final = 64.0
_MEMORY_S: Final = 1800.0
_LATE_S: Final = 3 * LOOK_S  # after a standstill the arrivals of that time may still lie unread
_LEAST: Final = 1e-9


class Change(NamedTuple):
    """A silence that is too long has begun to be one, or is over.

    Attributes:
        topic: whose; None for all pairs together.
        is_stale: whether it began.
        since: when the last tick before it was seen, by the clock of the looks.
        usual_s: how far apart ticks usually are, seconds, about.
    """

    topic: str | None
    is_stale: bool
    since: float
    usual_s: float


class TickWatch:
    """Watches the ticks of one feed, or of one part of a market.

    Single pairs are judged once 20 of their gaps were seen, all of them together after 5; a pair so quiet that half an
    hour without a tick is likely is judged with the others only. A look that is late judges nothing.
    """

    def __init__(self) -> None:
        self._looks = _Looks()
        self._feed = _Rhythm(None, self._looks)
        self._pairs: dict[str, _Rhythm] = {}
        self._excused: Container[str] = frozenset()

    @property
    def is_stale(self) -> bool:
        """Whether all pairs are silent for too long."""
        return self._feed.is_stale

    @property
    def stale(self) -> list[str]:
        """Topics of single pairs that are silent for too long."""
        return [topic for topic, pair in self._pairs.items() if pair.is_stale]

    @property
    def last_tick_at(self) -> float | None:
        """When the last tick was seen; None before the first."""
        return self._feed.ticked_at

    def bound_s(self, topic: str | None = None) -> float | None:
        """The longest silence of a pair, or of all of them, that is not told; None while none is."""
        if topic is None:
            return self._feed_bound_s()
        pair = self._pairs.get(topic)
        return None if pair is None else pair.bound_s(_PAIR_FLOOR_S, _PAIR_GAPS)

    def restart(self, now: float) -> None:
        """The feed was away, or is another one: silences count from now on, and what was learned stays."""
        self._looks.restart(now)
        self._feed.stale_since = None
        for rhythm in (self._feed, *self._pairs.values()):
            rhythm.restart(now)

    def retract(self) -> None:
        """What was told of single pairs no longer counts: their silences end untold."""
        for pair in self._pairs.values():
            pair.stale_since = None

    def look(self, now: float, arrivals: Mapping[str, object], excused: Container[str] = frozenset()) -> list[Change]:
        """Look, and tell what has changed.

        Args:
            now: seconds, monotonic.
            arrivals: the newest arrival of each topic, of which only tickers count: another object after each tick.
                A topic that is no longer among them is forgotten.
            excused: topics whose silence has been told of with another reason.
        """
        self._excused = excused
        if not self._looks.is_next(now):
            self.restart(now)
        changes = [*self._forget(arrivals), *self._listen(now, arrivals)]
        for pair in self._pairs.values():
            if pair.topic in excused:
                self._excuse(pair, now)
        if not self._feed.is_stale:
            changes += self._judge(now)
        return changes

    def _forget(self, arrivals: Mapping[str, object]) -> Iterator[Change]:
        for topic in [topic for topic in self._pairs if topic not in arrivals]:
            pair = self._pairs.pop(topic)
            self._feed.forget()  # it may have been the busiest
            yield from pair.ended()

    def _listen(self, now: float, arrivals: Mapping[str, object]) -> Iterator[Change]:
        ticked = [pair for pair in self._ticked(now, arrivals) if pair.topic not in self._excused]
        if not ticked:
            return
        if self._feed.is_stale:
            yield from self._feed.ended()
            for pair in self._pairs.values():
                pair.restart(now)
        self._feed.ticked(now, self._feed_bound_s())
        for pair in ticked:
            yield from pair.ended()
            pair.ticked(now, pair.bound_s(_PAIR_FLOOR_S, _PAIR_GAPS))

    def _ticked(self, now: float, arrivals: Mapping[str, object]) -> list[_Rhythm]:
        """The pairs of which a tick has come since the last look."""
        pairs, ticked = self._pairs, []
        for topic, arrival in arrivals.items():
            pair = pairs.get(topic)
            if pair is None:
                if not topic.startswith("ticker:"):
                    continue
                pairs[topic] = pair = _Rhythm(topic, self._looks)
                pair.restart(now)
            if arrival is not pair.arrival:
                pair.arrival = arrival
                ticked.append(pair)
        return ticked

    def _judge(self, now: float) -> Iterator[Change]:
        if self._pairs and self._feed.is_silent(now, self._feed_bound_s()):
            yield self._feed.begun()
            return
        for pair in self._pairs.values():
            is_due = now - pair.since > _PAIR_FLOOR_S and not pair.is_stale
            if is_due and pair.is_silent(now, pair.bound_s(_PAIR_FLOOR_S, _PAIR_GAPS)):
                yield pair.begun()

    def _excuse(self, pair: _Rhythm, now: float) -> None:
        pair.stale_since = None
        pair.restart(now)
        self._feed.forget()  # as without it

    def _feed_bound_s(self) -> float | None:
        """What all pairs together have shown, or before that, and after a pair has left, the busiest one."""
        own = self._feed.bound_s(_FEED_FLOOR_S, _FEED_GAPS)
        if own is not None:
            return own
        pairs = (pair for topic, pair in self._pairs.items() if topic not in self._excused)
        bounds = (pair.bound_s(_PAIR_FLOOR_S, _PAIR_GAPS) for pair in pairs)
        return min((bound for bound in bounds if bound is not None), default=None)


class _Looks:
    """Counts looks, and knows how far apart they are on this machine.

    Attributes:
        count: of them.
        apart_s: on the average of late.
    """

    __slots__ = ("_last_at", "apart_s", "count")

    def __init__(self) -> None:
        self.count = 0
        self.apart_s = LOOK_S
        self._last_at: float | None = None

    def restart(self, now: float) -> None:
        """The next one follows this moment."""
        self._last_at = now

    def is_next(self, now: float) -> bool:
        """Count one: whether it follows the last in time."""
        last_at, self._last_at = self._last_at, now
        self.count += 1
        if last_at is None or now - last_at > _LATE_S:
            return False
        self.apart_s += (now - last_at - self.apart_s) / _MEMORY_GAPS
        return True


class _Rhythm:
    """How the ticks of one pair, or of all together, come.

    Attributes:
        topic: whose.
        arrival: the newest, at the last look.
        since: from when on a silence counts.
        ticked_at: when a tick was last seen.
        stale_since: since when it is silent, if that was told.
    """

    __slots__ = (
        *("_gaps", "_is_cut", "_looks", "_mean_looks", "_ticked_in", "_widest_s"),
        *("arrival", "since", "stale_since", "ticked_at", "topic"),
    )

    def __init__(self, topic: str | None, looks: _Looks) -> None:
        self.topic = topic
        self._looks = looks
        self._ticked_in = 0
        self.arrival: object = None
        self.since = 0.0
        self.ticked_at: float | None = None
        self.stale_since: float | None = None
        self.forget()

    @property
    def is_stale(self) -> bool:
        """Whether its silence was told."""
        return self.stale_since is not None

    def forget(self) -> None:
        """Learn anew."""
        self._gaps = 0
        self._mean_looks = 1.0
        self._widest_s = 0.0
        self._is_cut = True

    def restart(self, now: float) -> None:
        """The silence up to now is nobody's."""
        self.since = now
        self._is_cut = True

    def ticked(self, now: float, bound_s: float | None) -> None:
        """It has ticked since the last look."""
        gap_s, most_s = now - self.since, bound_s or _MAX_BOUND_S
        if not self._is_cut and gap_s <= _OUTAGE * most_s:
            self._learn(min(gap_s, most_s), self._looks.count - self._ticked_in)
        self._is_cut = False
        self.stale_since = None
        self.since = self.ticked_at = now
        self._ticked_in = self._looks.count

    def begun(self) -> Change:
        """Its silence is to be told."""
        self.stale_since = self.since
        return Change(self.topic, is_stale=True, since=self.since, usual_s=self.usual_s)

    def ended(self) -> Iterator[Change]:
        """The end of its silence is to be told, if that was."""
        if self.stale_since is not None:
            yield Change(self.topic, is_stale=False, since=self.stale_since, usual_s=self.usual_s)
            self.stale_since = None

    def _learn(self, gap_s: float, looks: int) -> None:
        self._gaps += 1
        self._widest_s = max(gap_s, self._widest_s * exp(-gap_s / _MEMORY_S))
        self._mean_looks += (looks - self._mean_looks) / min(self._gaps, _MEMORY_GAPS)

    @property
    def usual_s(self) -> float:
        """How far apart ticks are, about. A look finds one with the chance ``1 - exp(-apart_s / usual_s)``."""
        return -self._looks.apart_s / log(max(1.0 - 1.0 / self._mean_looks, _LEAST))

    def bound_s(self, floor_s: float, enough: int) -> float | None:
        """The longest silence that may be; None where that is not known, or too long to be of use."""
        if self._gaps < enough:
            return None
        bound = max(floor_s, _INTERVALS * self.usual_s, _WIDEST * self._widest_s)
        return bound if bound <= _MAX_BOUND_S else None

    def is_silent(self, now: float, bound_s: float | None) -> bool:
        """Whether the silence is longer than that."""
        return bound_s is not None and now - self.since > bound_s

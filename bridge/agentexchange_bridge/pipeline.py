"""From the upstream session to the scopes' writers: the bridge's `FeedSink`. Synchronous; the hot path."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentexchange_schemas import Cause, EnvelopeError, FeedState, FeedStatus, FrameError, Kind, Topic

from .freshness import ScopeFreshness
from .notices import from_us
from .outbox import wall_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from agentexchange_schemas import Layout

    from .candles import ScopeCandles
    from .reconcile import Reconciler
    from .stats import UpstreamStats, WorkerStats
    from .writer import ScopeWriter

__all__ = ["Pipeline"]

MAX_ROUTES: Final = 8192
"""Topics whose way is remembered; there are some hundreds."""

MAX_TOPICS: Final = 20_000
"""Topics that one worker ever takes: each has a number and a latest value in Redis. The market has some thousands."""

MAX_JUNK_KINDS: Final = 256
_PRIVATE: Final = frozenset({Kind.ORDERS, Kind.PORTFOLIO})

Take: TypeAlias = "Callable[[str, dict[str, Any]], None]"
Route: TypeAlias = "tuple[ScopeWriter | None, Kind, Take, dict[str, Any] | None]"


class Pipeline:
    """Gives each event to the writer of its scope, and each change of the feed's state to all of them.

    Args:
        writers: by scope; scopes that are missing are not served.
        candles: by market scope; without them upstream's candles go to the writers as they are.
        account: the account scope, whose private events are taken; None for a pipeline of the market. Private events
            come to every session of a key: those of the market's sessions are let go.
        upstream: numbers of the feed it is the sink of.
        is_served: whether what upstream has of a scope comes to this worker from now on. Until it does, the scope is
            not told that the feed is live.
        on_status: told of every change of the feed's state, after the writers.
        reconciler: what private events of the account pass through, and what is told of its blind spans; None: they go
            straight to the writer.
        is_watched: whether ticks of a symbol are wanted, so that their silence means something.
        clock: seconds, monotonic. wall: µs since the Unix epoch.
    """

    def __init__(
        self,
        writers: Mapping[str, ScopeWriter],
        *,
        layout: Layout,
        account: str | None,
        stats: WorkerStats,
        upstream: UpstreamStats,
        log: FilteringBoundLogger,
        candles: Mapping[str, ScopeCandles] | None = None,
        is_served: Callable[[str], bool] = lambda _scope: True,
        on_status: Callable[[FeedStatus], None] = lambda _status: None,
        reconciler: Reconciler | None = None,
        is_watched: Callable[[str], bool] = lambda _symbol: True,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._writers = writers
        self._candles = {} if candles is None else candles
        self._layout = layout
        self._account = account
        self._stats = stats
        self._upstream = upstream
        self._log = log
        self._is_served = is_served
        self._on_status = on_status
        self._reconciler = reconciler
        self._wall = wall
        self._freshness = ScopeFreshness(writers, is_watched=is_watched, clock=clock, wall=wall)
        self._unserved: set[str] = set()
        self._unanswered: set[str] = set()
        self._routes: dict[str, Route | None] = {}
        self._topics: set[str] = set()
        self._last: FeedStatus | None = None
        self._of_topics: dict[str, FeedStatus] = {}

    # FeedSink

    def on_event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event."""
        try:
            route = self._routes[topic]
        except KeyError:
            route = self._route(topic)
        if route is None:
            return
        writer, kind, take, arrivals = route
        self._stats.received[kind] += 1
        if writer is None or not writer.outbox.is_open:
            self._stats.unowned[kind] += 1
            return
        if arrivals is not None:
            arrivals[topic] = fields
        try:
            take(topic, fields)
        except EnvelopeError as exc:
            writer.outbox.lose(topic)
            self._stats.oversized += 1
            if self._stats.oversized == 1:
                self._log.warning("an event cannot be written; more of them are only counted", error=str(exc))

    def on_status(self, status: FeedStatus) -> None:
        """The feed's state changed, or one topic's."""
        if status.topic is None:
            self._of_feed(status)
        else:
            self._of_topic(status, status.topic)
        self._on_status(status)

    def on_junk(self, error: FrameError) -> None:
        """A frame was junk; the feed logs the first of each kind."""
        junk = self._stats.junk
        kind = error.kind if error.kind in junk or len(junk) < MAX_JUNK_KINDS else "other"
        junk[kind] = junk.get(kind, 0) + 1

    # For the worker

    def catch_up(self, scope: str) -> None:
        """Tell a scope that was just acquired how the feed is; a live one is live for it from now on.

        Until upstream has answered for its topics, nothing is taken for it: private events come unasked, and what was
        sent before the answer may be older than the grant, and written already by the owner of that time.
        """
        if self._last is None:
            return
        self._freshness.paused(scope)
        self._unanswered.add(scope)
        self._admit()
        candles = self._candles.get(scope)
        if candles is not None:
            candles.status(self._last)
        self._tell(scope, self._from_now())
        for topic, status in self._of_topics.items():
            if scope in self._scopes_of(topic):
                self._writers[scope].status(status)
                if candles is not None:
                    candles.status(status)

    def answered(self) -> None:
        """Upstream may serve more than before: the scopes of which that is true are live from now on."""
        self._admit()
        for scope in [scope for scope in self._unserved if self._is_served(scope)]:
            self._unserved.discard(scope)
            self._tell(scope, self._from_now())

    def look(self) -> None:
        """To be called twice a second: tell of ticks that stay away, and that come again."""
        for scope, status in self._freshness.look():
            self._log.info("ticks", scope=scope, topic=status.topic, state=status.state, message=status.message)
            self._note(status)
            self._writers[scope].status(status)

    def wants_others(self, unwanted: Iterable[str]) -> None:
        """Other symbols are watched from now on, and these topics are not wanted any more."""
        self._freshness.unwatch()
        self._retract([topic for topic in unwanted if topic in self._of_topics], "nobody wants it any more")
        self._routes.clear()

    def admits(self, scope: str) -> bool:
        """Whether events are taken for ``scope``, as far as upstream's answers go."""
        return scope not in self._unanswered

    def reroute(self) -> None:
        """Which symbols' candles are wanted has changed."""
        self._routes.clear()

    def feed_ended(self, *, heard_us: int | None = None) -> None:
        """There is no feed now: what the last one said no longer counts.

        Args:
            heard_us: the last that was heard of it, for scopes that have lost it; None where they are let go too.
        """
        was_connected = self._last is not None and self._last.state in (FeedState.LIVE, FeedState.STALE)
        self._last = None
        self._unserved.clear()
        self._unanswered.clear()
        self._routes.clear()
        self._upstream.state = FeedState.CONNECTING
        self._freshness.ended()
        if heard_us is not None:
            self._retract(list(self._of_topics), "the upstream session that said so is gone")
        self._of_topics.clear()
        for candles in self._candles.values():
            candles.blind(self._wall() if heard_us is None else heard_us)
        if heard_us is not None and was_connected:
            message = "the upstream session was given up"
            lost = FeedStatus(
                state=FeedState.BLIND, since=from_us(heard_us), cause=Cause.UPSTREAM_LOST, message=message
            )
            for scope in self._writers:
                self._say(scope, lost)

    def _of_feed(self, status: FeedStatus) -> None:
        self._last = status
        self._upstream.state = status.state
        self._log.info("upstream", state=status.state, cause=status.cause, message=status.message)
        self._unserved.clear()
        self._admit()
        for candles in self._candles.values():
            candles.status(status)
        for scope in self._writers:
            self._tell(scope, status)

    def _admit(self) -> None:
        """Take events for the scopes that upstream has answered for; the routes know which they are."""
        if self._unanswered:
            self._unanswered = {scope for scope in self._unanswered if not self._is_served(scope)}
            self._routes.clear()

    def _tell(self, scope: str, status: FeedStatus) -> None:
        if status.state is FeedState.LIVE and not self._is_served(scope):
            self._unserved.add(scope)
        elif self._freshness.said(scope, status):
            self._say(scope, status)

    def _say(self, scope: str, status: FeedStatus) -> None:
        notices = self._writers[scope].status(status)
        if self._reconciler is not None:
            self._reconciler.told(notices)

    def _from_now(self) -> FeedStatus:
        """What the feed last said, as it holds for a scope from this moment on."""
        assert self._last is not None  # noqa: S101 - asked only while there is a feed
        is_live = self._last.state is FeedState.LIVE
        return self._last.model_copy(update={"until": from_us(self._wall())}) if is_live else self._last

    def _of_topic(self, status: FeedStatus, topic: str) -> None:
        hear = [candles.status(status) for scope in self._scopes_of(topic) if (candles := self._candles.get(scope))]
        if not all(hear):
            return
        self._hand_on(status, topic)

    def _hand_on(self, status: FeedStatus, topic: str) -> None:
        self._note(status)
        for scope in self._scopes_of(topic):
            if scope in self._writers and self._freshness.said(scope, status):
                self._writers[scope].status(status)

    def _note(self, status: FeedStatus) -> None:
        """Remember what is said of a topic, for scopes that are acquired later."""
        if status.topic is None or not status.tells_state:
            return
        if status.state is FeedState.LIVE:
            self._of_topics.pop(status.topic, None)
        else:
            self._of_topics[status.topic] = status

    def _retract(self, topics: Iterable[str], why: str) -> None:
        """What was said of these topics is nobody's word any more: how their scope is says enough."""
        now = from_us(self._wall())
        for topic in topics:
            known = self._of_topics[topic]
            over = FeedStatus(topic=topic, state=FeedState.LIVE, since=known.since, until=now, message=why)
            self._hand_on(over, topic)

    def _scopes_of(self, topic: str) -> tuple[str, ...]:
        return self._layout.scopes_of(Topic.parse(topic), self._account)

    def _route(self, topic: str) -> Route | None:
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[topic] = route = self._route_of(topic)
        return route

    def _route_of(self, topic: str) -> Route | None:
        kind_text, _, rest = topic.partition(":")
        kind = Kind(kind_text)
        if (kind in _PRIVATE) is not (self._account is not None) or not self._has_room(topic):
            return None
        symbol = rest.partition(":")[0]
        scope = self._account or self._layout.market_scope(symbol)
        writer = self._writers.get(scope) if scope not in self._unanswered else None
        if writer is None:
            return None, kind, lambda _topic, _fields: None, None
        arrivals = self._freshness.arrivals(scope, symbol) if kind is Kind.TICKER else None
        candles = self._candles.get(scope)
        if candles is not None and (kind is Kind.CANDLES or candles.takes(rest)):
            return writer, kind, candles.candle if kind is Kind.CANDLES else candles.tick, arrivals
        return writer, kind, _take_of(writer, kind, self._reconciler), arrivals

    def _has_room(self, topic: str) -> bool:
        """Whether ``topic`` is known, or may become so: an upstream that makes up pairs must not fill Redis."""
        if topic not in self._topics and len(self._topics) >= MAX_TOPICS:
            self.on_junk(FrameError(f"{topic} is a topic too many", field="symbol", kind="too_many_topics"))
            return False
        self._topics.add(topic)
        return True


def _take_of(writer: ScopeWriter, kind: Kind, reconciler: Reconciler | None) -> Take:
    takes: dict[Kind, Take] = {
        Kind.TICKER: writer.tick,
        Kind.CANDLES: writer.candle,
        Kind.ORDERS: (reconciler or writer).order,
        Kind.PORTFOLIO: (reconciler or writer).portfolio,
    }
    return takes[kind]

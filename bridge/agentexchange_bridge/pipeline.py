"""From the upstream session to the scopes' writers: the bridge's `FeedSink`. Synchronous; the hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentexchange_schemas import EnvelopeError, FeedState, FeedStatus, FrameError, Kind, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import FilteringBoundLogger

    from agentexchange_schemas import Layout

    from .stats import WorkerStats
    from .writer import ScopeWriter

__all__ = ["Pipeline"]

MAX_ROUTES: Final = 8192
"""Topics whose way is remembered; there are some hundreds."""

MAX_JUNK_KINDS: Final = 256

Take: TypeAlias = "Callable[[str, dict[str, Any]], None]"


class Pipeline:
    """Gives each event to the writer of its scope, and each change of the feed's state to all of them.

    Args:
        writers: by scope; market scopes that are missing are not served.
        account: the account scope, or None where it is not served.
        on_status: told of every change of the feed's state, after the writers.
    """

    def __init__(
        self,
        writers: Mapping[str, ScopeWriter],
        *,
        layout: Layout,
        account: str | None,
        stats: WorkerStats,
        log: FilteringBoundLogger,
        on_status: Callable[[FeedStatus], None] = lambda _status: None,
    ) -> None:
        self._writers = writers
        self._layout = layout
        self._account = account
        self._stats = stats
        self._log = log
        self._on_status = on_status
        self._routes: dict[str, tuple[ScopeWriter | None, Kind, Take]] = {}
        self._last: FeedStatus | None = None

    # FeedSink

    def on_event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event."""
        try:
            writer, kind, take = self._routes[topic]
        except KeyError:
            writer, kind, take = self._route(topic)
        self._stats.received[kind] += 1
        if writer is None or not writer.outbox.is_open:
            self._stats.unowned[kind] += 1
            return
        try:
            take(topic, fields)
        except EnvelopeError as exc:
            self._stats.oversized += 1
            if self._stats.oversized == 1:
                self._log.warning("an event cannot be written; more of them are only counted", error=str(exc))

    def on_status(self, status: FeedStatus) -> None:
        """The feed's state changed, or one topic's."""
        if status.topic is None:
            self._last = status
            self._stats.upstream_state = status.state
            self._log.info("upstream", state=status.state, cause=status.cause, message=status.message)
        for scope in self._scopes_of(status):
            if scope in self._writers:
                self._writers[scope].status(status)
        self._on_status(status)

    def on_junk(self, error: FrameError) -> None:
        """A frame was junk; the feed logs the first of each kind."""
        junk = self._stats.junk
        kind = error.kind if error.kind in junk or len(junk) < MAX_JUNK_KINDS else "other"
        junk[kind] = junk.get(kind, 0) + 1

    # For the worker

    def catch_up(self, scope: str) -> None:
        """Tell a scope that was just acquired what the feed last said."""
        if self._last is not None:
            self._writers[scope].status(self._last)

    def feed_ended(self) -> None:
        """There is no feed now: what the last one said no longer counts."""
        self._last = None
        self._stats.upstream_state = FeedState.CONNECTING

    def _scopes_of(self, status: FeedStatus) -> Iterable[str]:
        return (
            self._writers if status.topic is None else self._layout.scopes_of(Topic.parse(status.topic), self._account)
        )

    def _route(self, topic: str) -> tuple[ScopeWriter | None, Kind, Take]:
        kind_text, _, rest = topic.partition(":")
        kind = Kind(kind_text)
        market = kind in (Kind.TICKER, Kind.CANDLES)
        scope = self._layout.market_scope(rest.partition(":")[0]) if market else self._account
        writer = self._writers.get(scope) if scope else None
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[topic] = route = (writer, kind, _take_of(writer, kind))
        return route


def _take_of(writer: ScopeWriter | None, kind: Kind) -> Take:
    if writer is None:
        return lambda _topic, _fields: None
    takes: dict[Kind, Take] = {
        Kind.TICKER: writer.tick,
        Kind.CANDLES: writer.candle,
        Kind.ORDERS: writer.order,
        Kind.PORTFOLIO: writer.portfolio,
    }
    return takes[kind]

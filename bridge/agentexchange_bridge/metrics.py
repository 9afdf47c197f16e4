"""Prometheus metrics: read from the worker's plain numbers at the time of a scrape, so the hot path pays nothing.

Only what is measured once per batch (size, write time, lag) is observed as it happens. The registry is the worker's
own, not the process-wide one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from agentexchange_schemas import FeedState, Kind

from .http import Page
from .lease import LeaseState
from .notices import kinds_of
from .stats import RedisState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client.core import Metric

    from agentexchange.candles import DeskStats

    from .interest import InterestStats
    from .stats import BatchWritten, ScopeStats, UpstreamStats, WorkerStats

__all__ = ["BatchMetrics", "WorkerCollector", "metrics_page"]

PREFIX: Final = "agentexchange_bridge_"
_EVENTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)

_UPSTREAM_COUNTERS: Final[dict[str, tuple[str, Callable[[UpstreamStats], int]]]] = {
    "upstream_sessions": ("Upstream sessions opened", lambda upstream: upstream.sessions),
    "upstream_reconnects": ("Upstream sessions opened in the place of others", lambda upstream: upstream.reconnects),
}
_SCOPE_COUNTERS: Final[dict[str, tuple[str, Callable[[ScopeStats], int]]]] = {
    "discarded": ("Events let go because another worker writes the scope", lambda scope: scope.discarded),
    "resent": ("Events written again because Redis had forgotten them", lambda scope: scope.resent),
    "redis_failures": ("Failed connections to Redis and refused requests", lambda scope: scope.redis_failures),
    "takeovers": ("Leases taken", lambda scope: scope.takeovers),
    "reconciled": ("Events handed out late because the platform was asked", lambda scope: scope.reconciled),
    "rest_failures": ("Tries to ask the platform that brought no answer", lambda scope: scope.rest_failures),
}
_SCOPE_GAUGES: Final[dict[str, tuple[str, Callable[[ScopeStats], float]]]] = {
    "lease_held": ("1 while this worker holds the scope's lease", lambda scope: scope.lease is LeaseState.HELD),
    "redis_ready": ("1 while Redis answers and takes writes", lambda scope: scope.redis is RedisState.READY),
    "epoch": ("Fencing number of the newest lease", lambda scope: scope.epoch),
    "waiting_bytes": ("Memory of the events that wait to be written", lambda scope: scope.waiting_bytes),
    "last_lag_seconds": ("Lag of the last batch, from received to written", lambda scope: scope.last_lag_s),
    "topics_not_live": ("Topics that are silent, refused or away by themselves", lambda scope: scope.topics_not_live),
}


class WorkerCollector(Collector):
    """Shows a worker's numbers as they are at the time of the scrape."""

    def __init__(self, stats: WorkerStats) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        """Every metric that is read from the stats."""
        stats = self._stats
        yield _by_label("received", "Events from upstream", "kind", stats.received)
        yield _by_label("unowned", "Events for a scope this worker does not hold", "kind", stats.unowned)
        yield _by_label("junk", "Frames from upstream that were junk", "kind", stats.junk)
        yield _plain("oversized", "Events too large to be written", stats.oversized)
        yield from _of_candles(stats.candles)
        yield from _of_interest(stats.interest)
        yield from _of_upstreams(tuple(stats.upstreams.values()))
        yield from _of_scopes(tuple(stats.scopes.values()))
        if stats.clock_ahead_us is not None:
            text = "How far the clock of Redis is ahead of this machine's"
            yield GaugeMetricFamily(f"{PREFIX}clock_offset_seconds", text, value=stats.clock_ahead_us / 1_000_000)


def _of_interest(stats: InterestStats) -> Iterable[Metric]:
    gauge, text = GaugeMetricFamily, "Market topics that clients want, or wanted until a moment ago"
    yield gauge(f"{PREFIX}interest_clients", "Clients that are registered", value=stats.clients)
    yield gauge(f"{PREFIX}interest_topics", text, value=stats.topics)
    yield _plain("interest_reads", "Registrations read", stats.reads)
    yield _by_label("interest_junk", "Interest that was junk or beyond a bound", "kind", stats.junk)


def _of_upstreams(upstreams: tuple[UpstreamStats, ...]) -> Iterable[Metric]:
    for name, (text, count) in _UPSTREAM_COUNTERS.items():
        counter = CounterMetricFamily(f"{PREFIX}{name}", text, labels=["upstream"])
        for upstream in upstreams:
            counter.add_metric([upstream.name], count(upstream))
        yield counter
    state = GaugeMetricFamily(f"{PREFIX}upstream_state", "1 for the state of the feed", labels=["upstream", "state"])
    for upstream in upstreams:
        for known in FeedState:
            state.add_metric([upstream.name, known], upstream.state is known)
    yield state


def _of_candles(stats: DeskStats) -> Iterable[Metric]:
    built, chosen = stats.builder, stats.chooser
    sources = {"upstream": chosen.from_upstream, "built": chosen.from_ticks}
    yield _by_label("candles", "Closed candles, by where they came from", "source", sources)
    late = {"upstream": chosen.upstream_after, "built": chosen.built_after}
    yield _by_label("candles_superseded", "Candles whose span the other source had closed already", "source", late)
    yield _plain("candle_source_switches", "Changes of a topic's preferred source", chosen.switches)
    yield _plain("candles_undated", "Upstream's candles without a time that can be right", chosen.undated)
    yield _plain("candle_late_ticks", "Ticks that came after their candle was closed", built.late)
    odd = {"ahead": built.ahead, "bad_price": built.bad_prices, "bad_quantity": built.bad_quantities}
    yield _by_label("candle_odd_ticks", "Ticks that candles count in otherwise, or not at all", "why", odd)


def _of_scopes(scopes: tuple[ScopeStats, ...]) -> Iterable[Metric]:
    for name, (text, count) in _SCOPE_COUNTERS.items():
        counter = CounterMetricFamily(f"{PREFIX}{name}", text, labels=["scope"])
        for scope in scopes:
            counter.add_metric([scope.scope], count(scope))
        yield counter
    for name, (text, value) in _SCOPE_GAUGES.items():
        gauge = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=["scope"])
        for scope in scopes:
            gauge.add_metric([scope.scope], value(scope))
        yield gauge
    yield _tick_age(scopes)
    yield _kind_state(scopes)
    yield _written(scopes)
    yield _lost(scopes)
    waiting = GaugeMetricFamily(f"{PREFIX}waiting_events", "Events that wait to be written", labels=["scope", "queue"])
    for scope in scopes:
        waiting.add_metric([scope.scope, "ticks"], scope.waiting_ticks)
        waiting.add_metric([scope.scope, "kept"], scope.waiting_kept)
    yield waiting


def _tick_age(scopes: tuple[ScopeStats, ...]) -> Metric:
    text = "Since the last tick came; absent before the first, and while the scope is not this worker's"
    age = GaugeMetricFamily(f"{PREFIX}tick_age_seconds", text, labels=["scope"])
    for scope in scopes:
        if scope.tick_age_s is not None:
            age.add_metric([scope.scope], scope.tick_age_s)
    return age


def _kind_state(scopes: tuple[ScopeStats, ...]) -> Metric:
    text = "1 for the state of the kind of events, as last told"
    state = GaugeMetricFamily(f"{PREFIX}kind_state", text, labels=["scope", "kind", "state"])
    for scope in scopes:
        for kind in kinds_of(scope.scope):
            for known in FeedState:
                state.add_metric([scope.scope, kind, known], scope.state is known)
    return state


def _kinds_of(scope: ScopeStats) -> tuple[str, ...]:
    return kinds_of(scope.scope)


def _written(scopes: tuple[ScopeStats, ...]) -> Metric:
    text = "Events acknowledged by Redis; of kind status for notices"
    written = CounterMetricFamily(f"{PREFIX}written", text, labels=["scope", "kind"])
    for scope in scopes:
        for kind, count in {**dict.fromkeys(_kinds_of(scope), 0), **scope.written_by_kind}.items():
            written.add_metric([scope.scope, kind], count)
    return written


def _lost(scopes: tuple[ScopeStats, ...]) -> Metric:
    text = "Events that were received and will not be written"
    lost = CounterMetricFamily(f"{PREFIX}lost", text, labels=["scope", "reason", "kind"])
    for scope in scopes:
        # zeros from the start: a rate over a series that begins with its first loss would miss it
        zeros = {(reason, kind): 0 for reason in ("conflated", "dropped") for kind in _kinds_of(scope)}
        for (reason, kind), count in {**zeros, **scope.lost}.items():
            lost.add_metric([scope.scope, reason, kind], count)
    return lost


def _by_label(name: str, text: str, label: str, counts: Mapping[Kind, int] | Mapping[str, int]) -> Metric:
    counter = CounterMetricFamily(f"{PREFIX}{name}", text, labels=[label])
    for value, count in counts.items():
        counter.add_metric([str(value)], count)
    return counter


def _plain(name: str, text: str, count: int) -> Metric:
    return CounterMetricFamily(f"{PREFIX}{name}", text, value=count)


class BatchMetrics:
    """Histograms over written batches; give `observe` to the worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._histograms = (
            _histogram(registry, "batch_events", "Events per batch", _EVENTS),
            _histogram(registry, "write_seconds", "From sending a batch to Redis's answer", _SECONDS),
            _histogram(registry, "lag_seconds", "From receiving a batch's oldest event to the answer", _SECONDS),
        )
        self._by_scope: dict[str, tuple[Callable[[float], None], ...]] = {}

    def observe(self, batch: BatchWritten) -> None:
        """Count one batch."""
        events, write, lag = self._by_scope.get(batch.scope) or self._add(batch.scope)
        events(batch.events)
        write(batch.write_s)
        lag(batch.lag_s)

    def _add(self, scope: str) -> tuple[Callable[[float], None], ...]:
        # looking a label up costs more than counting
        self._by_scope[scope] = observers = tuple(histogram.labels(scope).observe for histogram in self._histograms)
        return observers


def _histogram(registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"{PREFIX}{name}", text, ["scope"], buckets=buckets, registry=registry)


def metrics_page(registry: CollectorRegistry) -> Callable[[], Page]:
    """The page ``/metrics``, with the process's CPU and memory where the system tells them."""
    ProcessCollector(registry=registry)
    return lambda: Page(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

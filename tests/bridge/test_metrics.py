from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from agentexchange.candles import BuilderStats, ChooserStats
from agentexchange_bridge.interest import InterestStats
from agentexchange_bridge.lease import LeaseState
from agentexchange_bridge.metrics import PREFIX, BatchMetrics, WorkerCollector, metrics_page
from agentexchange_bridge.stats import BatchWritten, RedisState, ScopeStats, UpstreamStats, WorkerStats
from agentexchange_schemas import FeedState, Kind


def scrape(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """Name without prefix, scope and other label's value -> value."""
    text = metrics_page(registry)().body.decode()
    return {
        (sample.name.removeprefix(PREFIX), *(sample.labels[name] for name in sorted(sample.labels, reverse=True))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_numbers_are_read_at_the_time_of_the_scrape() -> None:
    stats = WorkerStats()
    stats.scopes["m0"] = scope = ScopeStats("m0")
    registry = CollectorRegistry()
    registry.register(WorkerCollector(stats))
    page = metrics_page(registry)
    assert f'{PREFIX}takeovers_total{{scope="m0"}} 0.0' in page().body.decode()
    scope.takeovers, stats.received[Kind.TICKER], stats.junk["not_json"] = 41, 42, 43
    text = page().body.decode()
    assert f'{PREFIX}takeovers_total{{scope="m0"}} 41.0' in text
    assert f'{PREFIX}received_total{{kind="ticker"}} 42.0' in text
    assert f'{PREFIX}junk_total{{kind="not_json"}} 43.0' in text


def test_every_number_of_the_stats_has_a_metric() -> None:
    scope = ScopeStats(
        "m0", written_by_kind={"ticker": 1, "status": 2}, lost={("conflated", "ticker"): 4, ("dropped", "status"): 5},
        discarded=6, resent=7, redis_failures=8, takeovers=9,
        last_lag_s=0.5, waiting_ticks=11, waiting_kept=12, waiting_bytes=13, epoch=14,
        lease=LeaseState.HELD, redis=RedisState.READY, tick_age_s=0.25, topics_not_live=15, state=FeedState.STALE,
    )  # fmt: skip
    upstream = UpstreamStats("market", FeedState.STALE, sessions=22, reconnects=23)
    stats = WorkerStats(oversized=21, upstreams={"market": upstream}, scopes={"m0": scope}, clock_ahead_us=-1500)
    stats.unowned[Kind.ORDERS] = 24
    stats.candles.builder = BuilderStats(late=31, ahead=32, bad_prices=33, bad_quantities=34)
    stats.candles.chooser = ChooserStats(35, 36, 37, 38, undated=39, switches=40)
    stats.interest = InterestStats(clients=31, topics=32, reads=33, junk={"hash": 34})
    registry = CollectorRegistry()
    registry.register(WorkerCollector(stats))
    found = scrape(registry)
    expected = {
        ("written_total", "m0", "ticker"): 1, ("written_total", "m0", "candles"): 0,
        ("written_total", "m0", "status"): 2, ("lost_total", "m0", "conflated", "ticker"): 4,
        ("lost_total", "m0", "dropped", "status"): 5, ("lost_total", "m0", "dropped", "ticker"): 0,
        ("discarded_total", "m0"): 6, ("resent_total", "m0"): 7,
        ("redis_failures_total", "m0"): 8, ("takeovers_total", "m0"): 9, ("last_lag_seconds", "m0"): 0.5,
        ("waiting_events", "m0", "ticks"): 11, ("waiting_events", "m0", "kept"): 12, ("waiting_bytes", "m0"): 13,
        ("epoch", "m0"): 14, ("lease_held", "m0"): 1, ("redis_ready", "m0"): 1, ("oversized_total",): 21,
        ("upstream_sessions_total", "market"): 22, ("upstream_reconnects_total", "market"): 23,
        ("unowned_total", "orders"): 24, ("candle_late_ticks_total",): 31, ("candle_odd_ticks_total", "ahead"): 32,
        ("candle_odd_ticks_total", "bad_price"): 33, ("candle_odd_ticks_total", "bad_quantity"): 34,
        ("candles_total", "upstream"): 35, ("candles_total", "built"): 36, ("candles_superseded_total", "upstream"): 37,
        ("candles_superseded_total", "built"): 38, ("candles_undated_total",): 39,
        ("candle_source_switches_total",): 40,
        ("interest_clients",): 31, ("interest_topics",): 32,
        ("interest_reads_total",): 33, ("interest_junk_total", "hash"): 34,
        ("tick_age_seconds", "m0"): 0.25, ("topics_not_live", "m0"): 15,
        ("kind_state", "stale", "m0", "candles"): 1, ("kind_state", "live", "m0", "ticker"): 0,
        ("clock_offset_seconds",): -0.0015,
        ("upstream_state", "market", "stale"): 1, ("upstream_state", "market", "live"): 0,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected


def test_what_is_not_known_has_no_metric() -> None:
    registry = CollectorRegistry()
    registry.register(WorkerCollector(WorkerStats(scopes={"m0": ScopeStats("m0")})))
    assert not {"tick_age_seconds", "clock_offset_seconds"} & {key[0] for key in scrape(registry)}


def test_batches_are_counted_in_histograms_per_scope() -> None:
    registry = CollectorRegistry()
    metrics = BatchMetrics(registry)
    for events in (1, 150):
        metrics.observe(BatchWritten(scope="m0", events=events, write_s=0.002, lag_s=0.02))
    metrics.observe(BatchWritten(scope="m1", events=3, write_s=9, lag_s=60))
    found = scrape(registry)
    assert found["batch_events_count", "m0"] == 2
    assert found["batch_events_sum", "m0"] == 151
    assert (found["batch_events_bucket", "m0", "100.0"], found["batch_events_bucket", "m0", "200.0"]) == (1, 2)
    assert (found["write_seconds_bucket", "m0", "0.001"], found["write_seconds_bucket", "m0", "0.0025"]) == (0, 2)
    assert (found["lag_seconds_bucket", "m1", "30.0"], found["lag_seconds_bucket", "m1", "+Inf"]) == (0, 1)

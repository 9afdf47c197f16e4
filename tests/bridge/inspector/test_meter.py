from __future__ import annotations

from agentexchange_bridge.inspector.board import Meter


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = Meter()
    meter.mark(0.0)
    for second in range(1, 21):
        meter.count += 100 if second <= 10 else 10
        meter.mark(float(second))
        if second == 10:
            assert meter.rate == 100
    assert meter.rate == 10


def test_a_restart_forgets_what_was_counted_before() -> None:
    meter = Meter()
    meter.mark(0.0)
    meter.count = 10_000
    meter.restart()
    meter.mark(1.0)
    meter.count += 5
    meter.mark(2.0)
    assert meter.rate == 5


def test_lags_are_percentiles_of_the_last_thousand() -> None:
    meter = Meter()
    assert meter.lags() is None
    for lag in range(5_000):
        meter.lag(float(lag))
    p50, p95, p99 = meter.lags() or (0, 0, 0)
    assert (p50, p95, p99) == (4_499, 4_949, 4_989)

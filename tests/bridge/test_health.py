from __future__ import annotations

import pytest

from agentexchange_bridge.health import Role, readiness
from agentexchange_bridge.lease import LeaseState
from agentexchange_bridge.stats import RedisState, ScopeStats, UpstreamStats, WorkerStats
from agentexchange_schemas import FeedState

HELD, STANDBY, DOUBTFUL = LeaseState.HELD, LeaseState.STANDBY, LeaseState.DOUBTFUL
READY, AWAY, REFUSING = RedisState.READY, RedisState.CONNECTING, RedisState.REFUSING


def worker(upstream: FeedState, *scopes: tuple[LeaseState, RedisState]) -> WorkerStats:
    stats = WorkerStats(upstreams={"market": UpstreamStats("market", state=upstream, active=True)})
    stats.scopes = {f"m{n}": ScopeStats(f"m{n}", lease=lease, redis=redis) for n, (lease, redis) in enumerate(scopes)}
    return stats


def standby(redis: RedisState) -> WorkerStats:
    stats = worker(FeedState.CONNECTING, (STANDBY, redis))
    stats.upstreams["market"].active = False
    return stats


@pytest.mark.parametrize(
    ("stats", "ready", "role"),
    [
        (worker(FeedState.LIVE, (HELD, READY)), True, Role.ACTIVE),
        (worker(FeedState.LIVE, (HELD, READY), (STANDBY, READY)), True, Role.ACTIVE),
        (standby(READY), True, Role.STANDBY),
        (standby(AWAY), False, Role.STANDBY),
        (worker(FeedState.CONNECTING, (HELD, READY)), False, Role.ACTIVE),
        (worker(FeedState.STALE, (HELD, READY)), False, Role.ACTIVE),
        (worker(FeedState.AUTH_FAILED, (HELD, READY)), False, Role.ACTIVE),
        (worker(FeedState.LIVE, (HELD, REFUSING)), False, Role.ACTIVE),
        (worker(FeedState.LIVE, (DOUBTFUL, READY)), False, Role.ACTIVE),
        (worker(FeedState.LIVE, (HELD, READY), (HELD, AWAY)), False, Role.ACTIVE),
        (WorkerStats(), False, Role.STANDBY),
    ],
)
def test_readiness(stats: WorkerStats, *, ready: bool, role: Role) -> None:
    answer = readiness(stats)
    assert (answer.ready, answer.role) == (ready, role)
    assert bool(answer.reasons) is not ready


def test_reasons_name_the_scope_and_what_is_wrong_with_it() -> None:
    answer = readiness(worker(FeedState.BLIND, (HELD, READY), (HELD, REFUSING)))
    assert answer.to_json() == {
        "ready": False, "role": "active", "reasons": ["m1: redis: refusing", "upstream market: blind"],
    }  # fmt: skip

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from tests.bridge._kit import ACCOUNT, candle, fresh_grant, make_writer, order, ticker

from agentexchange_bridge.pipeline import MAX_JUNK_KINDS, MAX_ROUTES, Pipeline
from agentexchange_bridge.stats import WorkerStats
from agentexchange_schemas import FeedState, FeedStatus, FrameError, Kind, Layout

if TYPE_CHECKING:
    from agentexchange_bridge.writer import ScopeWriter

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture
async def writers() -> dict[str, ScopeWriter]:
    made = {scope: make_writer(NOWHERE, scope) for scope in ("m0", "m1", ACCOUNT)}
    for writer in made.values():
        writer.outbox.reconcile(fresh_grant(), 0.0)
    return made


def pipeline(writers: dict[str, ScopeWriter], **changes: Any) -> Pipeline:
    options: dict[str, Any] = {"layout": Layout(partitions=2), "account": ACCOUNT, "stats": WorkerStats()}
    return Pipeline(writers, log=structlog.get_logger(), **options | changes)


def waiting(writers: dict[str, ScopeWriter]) -> dict[str, int]:
    return {scope: writer.outbox.backlog for scope, writer in writers.items()}


async def test_events_go_to_the_scope_of_their_topic(writers: dict[str, ScopeWriter]) -> None:
    pipe = pipeline(writers)
    layout = Layout(partitions=2)
    for topic, fields in (ticker("BTCUSDT"), candle(closed=True), candle(closed=False)):
        pipe.on_event(topic, fields)
    pipe.on_event(*order("1"))
    pipe.on_event("portfolio", {"total_equity": "1"})
    expected = dict.fromkeys(writers, 0) | {layout.market_scope("BTCUSDT"): 3, ACCOUNT: 2}
    assert waiting(writers) == expected


async def test_events_of_a_scope_that_is_not_ours_are_counted_and_not_held(writers: dict[str, ScopeWriter]) -> None:
    stats = WorkerStats()
    for writer in writers.values():
        writer.outbox.drop()
    pipe = pipeline(writers, stats=stats)
    pipe.on_event(*ticker())
    pipe.on_event(*order("1"))
    assert sum(waiting(writers).values()) == 0
    assert (stats.received[Kind.TICKER], stats.unowned[Kind.TICKER], stats.unowned[Kind.ORDERS]) == (1, 1, 1)


async def test_private_events_have_nowhere_to_go_without_an_account(writers: dict[str, ScopeWriter]) -> None:
    stats = WorkerStats()
    pipeline(writers, account=None, stats=stats).on_event(*order("1"))
    assert stats.unowned[Kind.ORDERS] == 1


async def test_an_event_that_cannot_be_packed_is_counted_and_the_next_is_taken(writers: dict[str, ScopeWriter]) -> None:
    stats = WorkerStats()
    pipe = pipeline(writers, stats=stats)
    topic, fields = ticker()
    pipe.on_event(topic, fields | {"note": object()})
    pipe.on_event(topic, fields)
    assert stats.oversized == 1
    assert sum(waiting(writers).values()) == 1


async def test_routes_and_kinds_of_junk_are_bounded(writers: dict[str, ScopeWriter]) -> None:
    stats = WorkerStats()
    pipe = pipeline(writers, stats=stats)
    for number in range(MAX_ROUTES + 10):
        pipe.on_event(*ticker(f"S{number}"))
        pipe.on_junk(FrameError("junk", field="f", kind=f"kind{number}"))
    assert len(pipe._routes) <= MAX_ROUTES
    assert len(stats.junk) == MAX_JUNK_KINDS + 1
    assert sum(stats.junk.values()) == MAX_ROUTES + 10


async def test_a_state_is_told_to_every_scope_and_a_topics_state_to_its_own(writers: dict[str, ScopeWriter]) -> None:
    heard: list[FeedStatus] = []
    pipe = pipeline(writers, on_status=heard.append)
    now = datetime.now(UTC)
    pipe.on_status(FeedStatus(state=FeedState.LIVE, since=now))
    assert waiting(writers) == dict.fromkeys(writers, 1)
    pipe.on_status(FeedStatus(state=FeedState.UNAVAILABLE, since=now, topic="orders"))
    assert waiting(writers) == {"m0": 1, "m1": 1, ACCOUNT: 2}
    assert len(heard) == 2


async def test_a_scope_acquired_late_hears_the_last_state(writers: dict[str, ScopeWriter]) -> None:
    pipe = pipeline(writers)
    writers["m1"].outbox.drop()
    pipe.on_status(FeedStatus(state=FeedState.LIVE, since=datetime.now(UTC)))
    writers["m1"].outbox.reconcile(fresh_grant(), 0.0)
    pipe.catch_up("m1")
    assert writers["m1"].outbox.narrator.state is FeedState.LIVE
    pipe.feed_ended()
    writers["m1"].outbox.reconcile(fresh_grant(stored_epoch=200), 0.0)
    pipe.catch_up("m1")
    assert writers["m1"].outbox.narrator.state is not FeedState.LIVE

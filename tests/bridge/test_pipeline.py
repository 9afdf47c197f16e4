from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import structlog

from agentexchange_bridge.notices import from_us, to_us
from agentexchange_bridge.pipeline import MAX_JUNK_KINDS, MAX_ROUTES, MAX_TOPICS, Pipeline
from agentexchange_bridge.stats import UpstreamStats, WorkerStats
from agentexchange_schemas import Cause, FeedState, FeedStatus, FrameError, Kind, Layout
from tests.bridge._kit import ACCOUNT, candle, fresh_grant, make_writer, order, ticker

if TYPE_CHECKING:
    from agentexchange_bridge.writer import ScopeWriter

NOWHERE = "redis://127.0.0.1:1"


@pytest.fixture
async def writers() -> dict[str, ScopeWriter]:
    return opened("m0", "m1")


@pytest.fixture
async def account() -> dict[str, ScopeWriter]:
    return opened(ACCOUNT)


def opened(*scopes: str) -> dict[str, ScopeWriter]:
    made = {scope: make_writer(NOWHERE, scope) for scope in scopes}
    for writer in made.values():
        writer.outbox.reconcile(fresh_grant(), 0.0)
    return made


def pipeline(writers: dict[str, ScopeWriter], **changes: Any) -> Pipeline:
    options: dict[str, Any] = {"layout": Layout(partitions=2), "account": None, "stats": WorkerStats()}
    return Pipeline(writers, upstream=UpstreamStats("market"), log=structlog.get_logger(), **options | changes)


def waiting(writers: dict[str, ScopeWriter]) -> dict[str, int]:
    return {scope: writer.outbox.backlog for scope, writer in writers.items()}


async def test_events_go_to_the_scope_of_their_topic(writers: dict[str, ScopeWriter]) -> None:
    pipe = pipeline(writers)
    layout = Layout(partitions=2)
    for topic, fields in (ticker("BTCUSDT"), candle(closed=True), candle(closed=False)):
        pipe.on_event(topic, fields)
    assert waiting(writers) == dict.fromkeys(writers, 0) | {layout.market_scope("BTCUSDT"): 3}


async def test_an_account_takes_its_private_events_and_the_market_lets_them_go(
    writers: dict[str, ScopeWriter], account: dict[str, ScopeWriter]
) -> None:
    stats = WorkerStats()
    for pipe in (pipeline(writers, stats=stats), pipeline(account, account=ACCOUNT, stats=stats)):
        pipe.on_event(*order("1"))
        pipe.on_event("portfolio", {"total_equity": "1"})
    assert waiting(writers) == dict.fromkeys(writers, 0)
    assert waiting(account) == {ACCOUNT: 2}
    assert (stats.received[Kind.ORDERS], stats.received[Kind.PORTFOLIO], sum(stats.unowned.values())) == (1, 1, 0)


async def test_ticks_on_an_accounts_session_are_the_markets(account: dict[str, ScopeWriter]) -> None:
    stats = WorkerStats()
    pipeline(account, account=ACCOUNT, stats=stats).on_event(*ticker())
    assert (waiting(account), stats.received[Kind.TICKER]) == ({ACCOUNT: 0}, 0)


async def test_events_of_a_scope_that_is_not_ours_are_counted_and_not_held(writers: dict[str, ScopeWriter]) -> None:
    stats = WorkerStats()
    for writer in writers.values():
        writer.outbox.drop()
    pipe = pipeline(writers, stats=stats)
    pipe.on_event(*ticker())
    assert sum(waiting(writers).values()) == 0
    assert (stats.received[Kind.TICKER], stats.unowned[Kind.TICKER]) == (1, 1)


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
    pipe.on_status(FeedStatus(state=FeedState.UNAVAILABLE, since=now, topic="ticker:BTCUSDT"))
    assert waiting(writers) == {"m0": 1, "m1": 1} | {Layout(partitions=2).market_scope("BTCUSDT"): 2}
    assert len(heard) == 2


def told(writer: ScopeWriter) -> list[FeedStatus]:
    batch = writer.outbox.next_batch()
    packed = [] if batch is None else [msgpack.unpackb(item[5]) for item in batch.items]
    if batch is not None:
        writer.outbox.applied(batch, 0.0)
    return [FeedStatus.from_fields(fields) for fields in packed]


async def test_a_live_feed_ends_no_span_before_the_grant_nor_before_upstream_serves_the_scope(
    writers: dict[str, ScopeWriter],
) -> None:
    now_us = [1_700_000_000_000_000]
    served = {"m0"}
    pipe = pipeline(writers, is_served=served.__contains__, wall=lambda: now_us[0])
    pipe.on_status(FeedStatus(state=FeedState.LIVE, since=from_us(now_us[0])))
    later = writers["m1"].outbox
    assert writers["m0"].outbox.narrator.state is FeedState.LIVE
    assert later.narrator.state is FeedState.CONNECTING, "not served yet"
    now_us[0] += 60_000_000
    last_word = now_us[0] - 2_000_000
    later.reconcile(fresh_grant(epoch=300, stored_epoch=200, received_us=last_word), 0.0)
    pipe.catch_up("m1")
    assert [status.state for status in told(writers["m1"])] == [FeedState.BLIND]
    now_us[0] += 1_000_000
    pipe.answered()
    assert told(writers["m1"]) == [], "upstream still owes the answer"
    served.add("m1")
    pipe.answered()
    (end,) = told(writers["m1"])
    assert (end.state, end.cause) == (FeedState.LIVE, Cause.TAKEOVER)
    assert (end.since, end.until) == (from_us(last_word), from_us(now_us[0]))
    pipe.answered()
    assert told(writers["m1"]) == []


async def test_a_scope_whose_feed_ends_under_it_is_blind_from_what_was_heard_last(
    writers: dict[str, ScopeWriter],
) -> None:
    now = datetime.now(UTC)
    pipe = pipeline(writers)
    pipe.on_status(FeedStatus(state=FeedState.LIVE, since=now))
    pipe.feed_ended(heard_us=to_us(now))
    blind = told(writers["m0"])[-1]
    assert (blind.state, blind.since, blind.cause) == (FeedState.BLIND, now, Cause.UPSTREAM_LOST)


async def test_a_scope_acquired_late_hears_of_its_topics_that_upstream_refuses(account: dict[str, ScopeWriter]) -> None:
    writers, pipe = account, pipeline(account, account=ACCOUNT)
    writers[ACCOUNT].outbox.drop()
    now = datetime.now(UTC)
    pipe.on_status(FeedStatus(state=FeedState.LIVE, since=now))
    pipe.on_status(FeedStatus(state=FeedState.UNAVAILABLE, since=now, topic="orders"))
    writers[ACCOUNT].outbox.reconcile(fresh_grant(), 0.0)
    pipe.catch_up(ACCOUNT)
    assert [(status.topic, status.state) for status in told(writers[ACCOUNT])] == [
        (None, FeedState.LIVE),
        ("orders", FeedState.UNAVAILABLE),
    ]


async def test_a_scope_acquired_late_hears_the_last_state(writers: dict[str, ScopeWriter]) -> None:
    pipe = pipeline(writers)
    writers["m1"].outbox.drop()
    pipe.on_status(FeedStatus(state=FeedState.LIVE, since=datetime.now(UTC)))
    writers["m1"].outbox.reconcile(fresh_grant(), 0.0)
    pipe.catch_up("m1")
    assert writers["m1"].outbox.narrator.state is FeedState.LIVE
    pipe.feed_ended()
    assert writers["m1"].outbox.narrator.state is FeedState.LIVE, "it is let go by its own word"
    writers["m1"].outbox.reconcile(fresh_grant(stored_epoch=200), 0.0)
    pipe.catch_up("m1")
    assert writers["m1"].outbox.narrator.state is not FeedState.LIVE


async def test_an_upstream_that_makes_up_pairs_fills_no_more_than_so_much(writers: dict[str, ScopeWriter]) -> None:
    stats = WorkerStats()
    pipe = pipeline(writers, stats=stats)
    for number in range(MAX_TOPICS + 100):
        pipe.on_event(*ticker(f"X{number}"))
    assert sum(waiting(writers).values()) <= MAX_TOPICS
    assert stats.junk == {"too_many_topics": 100}
    pipe.on_event(*ticker("X7"))
    assert stats.junk == {"too_many_topics": 100}, "what was known before goes on"

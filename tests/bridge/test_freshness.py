"""The freshness of each scope, in a simulated time, through a pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import structlog

from agentexchange.freshness import LOOK_S
from agentexchange_bridge.notices import from_us
from agentexchange_bridge.pipeline import Pipeline
from agentexchange_bridge.stats import UpstreamStats, WorkerStats
from agentexchange_schemas import Cause, FeedState, FeedStatus, Layout
from tests.bridge._kit import ACCOUNT, fresh_grant, make_writer, order, ticker

if TYPE_CHECKING:
    from agentexchange_bridge.writer import ScopeWriter

T0 = 1_700_000_000_000_000
NOWHERE = "redis://127.0.0.1:1"
LAYOUT = Layout(partitions=2)
BTC, DOGE, OTHER = "BTCUSDT", "DOGEUSDT", "SOLUSDT"
HOME, AWAY = LAYOUT.market_scope(BTC), LAYOUT.market_scope(OTHER)


class Stage:
    """Writers that have their scopes, a pipeline, and a time that passes when told to."""

    def __init__(self, *scopes: str, account: str | None = None) -> None:
        self.seconds = 0.0
        self.watched = {BTC, DOGE, OTHER}
        self.writers = {scope: make_writer(NOWHERE, scope, wall=self.wall) for scope in scopes}
        for writer in self.writers.values():
            writer.outbox.reconcile(fresh_grant(), 0.0)
        self.pipe = Pipeline(
            self.writers,
            layout=LAYOUT,
            account=account,
            stats=WorkerStats(),
            upstream=UpstreamStats("market"),
            log=structlog.get_logger(),
            is_watched=lambda symbol: symbol in self.watched,
            clock=lambda: self.seconds,
            wall=self.wall,
        )
        self.says(FeedState.LIVE)

    def wall(self) -> int:
        return T0 + int(self.seconds * 1_000_000)

    def says(self, state: FeedState, topic: str | None = None, **more: Any) -> None:
        self.pipe.on_status(FeedStatus(state=state, topic=topic, since=from_us(self.wall()), **more))

    def runs(self, seconds: float, *symbols: str) -> None:
        """Let these symbols tick for so long."""
        until = self.seconds + seconds
        while self.seconds < until:
            self.seconds += LOOK_S
            for symbol in symbols:
                self.pipe.on_event(*ticker(symbol))
            self.pipe.look()

    def told(self, scope: str) -> list[tuple[str | None, FeedState]]:
        """The notices since the last call."""
        found = []
        while (batch := self.writers[scope].outbox.next_batch()) is not None:
            self.writers[scope].outbox.applied(batch, 0.0)
            notices = [msgpack.unpackb(item[5]) for item in batch.items if item[1] == "n"]
            found += [(notice["topic"], FeedState(notice["state"])) for notice in notices]
        return found


@pytest.fixture
async def stage() -> Stage:
    stage = Stage("m0", "m1")
    assert HOME != AWAY
    stage.runs(60.0, BTC, DOGE, OTHER)
    for scope in (HOME, AWAY):
        assert stage.told(scope) == [(None, FeedState.LIVE)]
    return stage


def state(writer: ScopeWriter) -> FeedState:
    return writer.outbox.narrator.state


async def test_a_mute_market_is_stale_in_every_scope_and_live_where_it_ticks_again(stage: Stage) -> None:
    stage.runs(4.0)
    assert stage.told(HOME) == stage.told(AWAY) == [(None, FeedState.STALE)]
    assert stage.writers[HOME].outbox.narrator.fields()["cause"] == Cause.UPSTREAM_SILENT
    stage.runs(1.0, OTHER)
    assert (state(stage.writers[HOME]), state(stage.writers[AWAY])) == (FeedState.STALE, FeedState.LIVE)
    assert stage.told(AWAY) == [(None, FeedState.LIVE)]


async def test_a_mute_pair_among_others_is_told_as_its_topic_and_named_in_the_status(stage: Stage) -> None:
    stage.runs(6.0, BTC, OTHER)
    mute = f"ticker:{DOGE}"
    scope = LAYOUT.market_scope(DOGE)
    assert scope == HOME
    assert stage.told(HOME) == [(mute, FeedState.STALE)]
    assert mute in stage.writers[HOME].outbox.narrator.fields()["topic_states"]
    assert (stage.writers[HOME].stats.topics_not_live, stage.writers[HOME].stats.tick_age_s) == (1, 0.0)
    stage.runs(1.0, BTC, DOGE, OTHER)
    assert stage.told(HOME) == [(mute, FeedState.LIVE)]
    assert stage.writers[HOME].outbox.narrator.fields()["topic_states"] == "{}"


async def test_a_session_that_is_replaced_for_its_silence_tells_its_own_word_once(stage: Stage) -> None:
    stage.runs(4.0)
    stage.told(HOME)
    stage.says(FeedState.STALE, cause=Cause.UPSTREAM_SILENT)
    assert stage.told(HOME) == []
    stage.says(FeedState.BLIND, cause=Cause.UPSTREAM_SILENT)
    stage.runs(60.0)
    assert stage.told(HOME) == [(None, FeedState.BLIND)]
    stage.says(FeedState.LIVE)
    stage.runs(5.0, BTC, DOGE, OTHER)
    assert stage.told(HOME) == [(None, FeedState.LIVE)]


async def test_a_scope_granted_anew_hears_of_mute_pairs_and_is_judged_from_then_on(stage: Stage) -> None:
    stage.runs(6.0, BTC, OTHER)
    outbox = stage.writers[HOME].outbox
    outbox.drop()
    stage.runs(30.0, BTC, OTHER)
    outbox.reconcile(fresh_grant(epoch=300, stored_epoch=200, received_us=stage.wall()), 0.0)
    stage.pipe.catch_up(HOME)
    stage.runs(1.0)
    assert stage.told(HOME) == [
        (None, FeedState.BLIND),
        (None, FeedState.LIVE),
        (f"ticker:{DOGE}", FeedState.STALE),
    ]
    stage.runs(1.0, BTC, DOGE, OTHER)
    assert stage.told(HOME) == [(f"ticker:{DOGE}", FeedState.LIVE)]


async def test_what_was_said_of_topics_ends_with_the_feed(stage: Stage) -> None:
    stage.runs(6.0, BTC, OTHER)
    stage.says(FeedState.UNAVAILABLE, "candles:BTCUSDT:4h", cause=Cause.UPSTREAM_REFUSED)
    stage.told(HOME)
    stage.pipe.feed_ended(heard_us=stage.wall())
    assert stage.told(HOME) == [
        (f"ticker:{DOGE}", FeedState.LIVE),
        ("candles:BTCUSDT:4h", FeedState.LIVE),
        (None, FeedState.BLIND),
    ]
    assert stage.writers[HOME].outbox.narrator.fields()["topic_states"] == "{}"
    stage.says(FeedState.LIVE)
    stage.runs(1.0, BTC, DOGE, OTHER)
    assert stage.told(HOME) == [(None, FeedState.LIVE)]


async def test_the_silence_of_a_pair_that_nobody_wants_any_more_is_none(stage: Stage) -> None:
    stage.watched.discard(DOGE)
    stage.pipe.wants_others(["ticker:DOGEUSDT"])
    stage.runs(60.0, BTC, OTHER)
    assert stage.told(HOME) == []
    stage.runs(20.0, BTC, DOGE, OTHER)
    stage.runs(60.0, BTC, OTHER)
    assert stage.told(HOME) == []


async def test_what_is_known_of_a_topic_that_nobody_wants_any_more_is_taken_back(stage: Stage) -> None:
    refused, away = "candles:BTCUSDT:4h", f"ticker:{DOGE}"
    stage.says(FeedState.UNAVAILABLE, refused, cause=Cause.UPSTREAM_REFUSED)
    stage.says(FeedState.BLIND, away, cause=Cause.UPSTREAM_LOST)
    stage.told(HOME)
    stage.pipe.wants_others([refused, "ticker:NOBODY"])
    assert stage.told(HOME) == [(refused, FeedState.LIVE)]
    assert f'"{away}"' in stage.writers[HOME].outbox.narrator.fields()["topic_states"]
    assert refused not in stage.writers[HOME].outbox.narrator.fields()["topic_states"]


async def test_a_topic_on_a_session_that_is_away_is_told_of_by_the_feed_alone(stage: Stage) -> None:
    stage.says(FeedState.BLIND, f"ticker:{DOGE}", cause=Cause.UPSTREAM_LOST)
    stage.runs(60.0, BTC, OTHER)
    assert stage.told(HOME) == [(f"ticker:{DOGE}", FeedState.BLIND)]
    assert f'"ticker:{DOGE}":["blind"' in stage.writers[HOME].outbox.narrator.fields()["topic_states"]


async def test_an_account_is_as_live_as_its_connection() -> None:
    stage = Stage(ACCOUNT, account=ACCOUNT)
    for _ in range(30):
        stage.pipe.on_event(*order("1"))
        stage.runs(LOOK_S)
    stage.runs(600.0)
    assert stage.told(ACCOUNT) == [(None, FeedState.LIVE)]
    assert stage.writers[ACCOUNT].stats.tick_age_s is None

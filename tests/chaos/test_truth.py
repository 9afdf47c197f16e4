from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from agentexchange_schemas import Cause, FeedState, FeedStatus, Layout
from agentexchange_schemas.envelope import STATUS_TOPIC, encode, log_id
from tests.chaos._stories import ACCOUNT, TICK, when
from tests.chaos.history import MARKET, NUMBER_FIELD
from tests.chaos.truth import OVERLAP_US, PAGE, TruthReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests._servers import RedisServer

FIRST_US = 1_800_000_000_000_000
layout = Layout()


class Bridge:
    """Writes as the bridge would, as far as the reader looks."""

    def __init__(self, server: RedisServer) -> None:
        self.redis = redis.Redis(port=server.port)

    def write(self, scope: str, topic: str, seq: int, r_us: int, data: dict[str, Any]) -> None:
        raw = encode(topic, 1, seq, None, r_us, data)
        key = layout.candle_log(scope) if topic.startswith("candles:") else layout.log(scope)
        self.redis.xadd(key, {"e": raw}, id=log_id(r_us))
        self.redis.hset(layout.seq(scope), topic, seq)
        self.redis.set(layout.latest(scope, topic), raw)

    def ticks(self, count: int, first: int = 1, start_us: int = FIRST_US) -> None:
        for n in range(first, first + count):
            self.write(MARKET, TICK, n, start_us + n * 1000, {"price": "1", NUMBER_FIELD: n})


@pytest.fixture
def bridge(redis_server: RedisServer) -> Iterator[Bridge]:
    bridge = Bridge(redis_server)
    yield bridge
    bridge.redis.close()


@pytest.fixture
def reader(redis_server: RedisServer) -> Iterator[TruthReader]:
    reader = TruthReader(redis_server.port, ACCOUNT)
    yield reader
    reader.close()


def test_everything_is_read(bridge: Bridge, reader: TruthReader) -> None:
    bridge.ticks(PAGE + 10)
    bridge.write(MARKET, "candles:BTCUSDT:1m", 1, FIRST_US, {"close": "1", NUMBER_FIELD: 1})
    bridge.write(ACCOUNT, "orders", 1, FIRST_US, {"order_id": "a", NUMBER_FIELD: 1})
    told = FeedStatus(scope=MARKET, state=FeedState.LIVE, since=when(0), until=when(1), cause=Cause.TAKEOVER)
    bridge.write(MARKET, STATUS_TOPIC, 1, FIRST_US + 10**10, told.to_fields())
    logs = reader.collect()
    market = logs[MARKET]
    assert [entry.n for entry in market.entries] == [*range(1, PAGE + 11), None]
    assert market.notices[0].notice == told
    assert [entry.topic for entry in market.candles] == ["candles:BTCUSDT:1m"]
    assert [entry.n for entry in logs[ACCOUNT].entries] == [1]
    assert market.seqs[TICK] == PAGE + 10
    assert market.latest[TICK] == market.entries[-2].entry_id
    assert market.is_whole


def test_what_was_read_stays_when_it_is_trimmed(bridge: Bridge, reader: TruthReader) -> None:
    bridge.ticks(20)
    reader.collect()
    later = FIRST_US + 10 * OVERLAP_US
    bridge.ticks(20, first=21, start_us=later)
    reader.collect()
    bridge.redis.xtrim(layout.log(MARKET), minid=log_id(later), approximate=False)
    log = reader.collect()[MARKET]
    assert [entry.n for entry in log.entries] == list(range(1, 41))
    assert log.is_whole


def test_what_was_trimmed_before_it_was_read_is_known_to_be_gone(bridge: Bridge, reader: TruthReader) -> None:
    bridge.ticks(20)
    bridge.redis.xtrim(layout.log(MARKET), maxlen=5, approximate=False)
    log = reader.collect()[MARKET]
    assert [entry.n for entry in log.entries] == [16, 17, 18, 19, 20]
    assert not log.is_whole


def test_what_redis_forgot_is_forgotten(bridge: Bridge, reader: TruthReader) -> None:
    bridge.ticks(20)
    reader.collect()
    bridge.redis.xdel(layout.log(MARKET), log_id(FIRST_US + 20_000))
    assert [entry.n for entry in reader.collect()[MARKET].entries] == list(range(1, 20))


def test_a_wiped_log_is_kept_and_a_new_one_begins(bridge: Bridge, reader: TruthReader) -> None:
    bridge.ticks(20)
    bridge.write(ACCOUNT, "orders", 1, FIRST_US, {"order_id": "a", NUMBER_FIELD: 1})
    reader.collect()
    bridge.ticks(5, first=21)
    reader.wipe()
    assert bridge.redis.dbsize() == 0
    bridge.write(MARKET, TICK, 1, FIRST_US + 10**9, {"price": "1", NUMBER_FIELD: 26})
    logs = reader.collect()
    assert [entry.n for entry in logs[MARKET].entries] == [26]
    assert [entry.n for entry in logs[MARKET].earlier[0].entries] == list(range(1, 26))
    assert not logs[MARKET].earlier[0].has_keys
    assert [entry.n for entry in logs[MARKET].events] == list(range(1, 27))
    assert [entry.n for entry in logs[ACCOUNT].earlier[0].entries] == [1]
    reader.wipe()
    assert len(reader.collect()[MARKET].earlier) == 2


def test_an_empty_server(reader: TruthReader) -> None:
    logs = reader.collect()
    assert logs[MARKET].entries == []
    assert logs[MARKET].is_whole
    assert reader.lease(MARKET) is None


def test_the_lease(bridge: Bridge, reader: TruthReader) -> None:
    bridge.redis.set(layout.lease(MARKET), "w1-3/1800000000")
    assert reader.lease(MARKET) == "w1-3/1800000000"

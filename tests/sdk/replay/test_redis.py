from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from agentexchange import ConnectionError as PublicConnectionError
from agentexchange._urls import redis_url
from agentexchange.recording import received_of
from agentexchange.replay import EventName, RedisSource
from agentexchange_schemas import Layout
from agentexchange_schemas.envelope import encode, log_id
from tests.sdk.replay._sources import EVERYTHING, raws_of

if TYPE_CHECKING:
    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server


def raws_in(writer: LayoutWriter, *keys: str) -> list[bytes]:
    found = [fields[b"e"] for key in keys for _, fields in writer.client.xrange(key)]
    return sorted(found, key=received_of)


async def test_it_gives_what_the_logs_hold_merged_by_time(
    redis_server: RedisServer, writer: LayoutWriter, account: LayoutWriter
) -> None:
    for minute in range(5):
        writer.bulk(["ticker:BTCUSDT", "ticker:ETHUSDT"], 700)
        writer.event("candles:BTCUSDT:1m", {"symbol": "BTCUSDT", "close": str(minute)})
        account.received_us = writer.received_us
        account.event("orders", {"order_id": str(minute), "status": "new"})
    layout = Layout()
    keys = [layout.log("m0"), layout.candle_log("m0"), layout.log(account.scope)]
    wanted = raws_in(writer, *keys)
    async with RedisSource(redis_url(redis_server.url), accounts=[account.scope]) as source:
        assert await raws_of(source) == wanted
        assert (source.first_us, source.last_us) == (received_of(wanted[0]), received_of(wanted[-1]))
        assert source.scopes == ("m0", account.scope)
        assert await raws_of(source, scopes=["m0"]) == raws_in(writer, *keys[:2])
        assert await raws_of(source, topics=["orders"]) == raws_in(writer, keys[2])
        half = received_of(wanted[len(wanted) // 2])
        assert await raws_of(source, half) == wanted[len(wanted) // 2 :]
        assert await raws_of(source, None, half) == wanted[: len(wanted) // 2]


async def test_what_is_written_after_it_was_opened_is_not_read(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:BTCUSDT"], 10)
    async with RedisSource(redis_url(redis_server.url)) as source:
        writer.bulk(["ticker:BTCUSDT"], 10)
        assert len(await raws_of(source)) == 10


async def test_of_several_logs_with_an_event_of_the_same_time_the_first_comes_first(
    redis_server: RedisServer, writer: LayoutWriter
) -> None:
    for key, topic in (("log", "ticker:A"), ("log:candles", "candles:A:1m")):
        for at in (1000, 2000, 3000):
            raw = encode(topic, 1, at // 1000, None, at, {"symbol": "A"})
            writer.client.xadd(f"ax:{{m0}}:{key}", {"e": raw}, id=log_id(at))
    async with RedisSource(redis_url(redis_server.url)) as source:
        lanes = [(run.lane.log, len(run.raws)) async for run in source.runs(topics=EVERYTHING)]
    assert lanes == [("log", 1), ("log:candles", 1)] * 3


async def test_a_start_before_what_the_log_still_holds_is_told(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:BTCUSDT"], 100)
    writer.client.xtrim(writer.layout.log("m0"), maxlen=30, approximate=False)
    told: list[str] = []
    async with RedisSource(redis_url(redis_server.url), tell=told.append) as source:
        assert len(await raws_of(source)) == 30
        assert told == []
        assert len(await raws_of(source, 1)) == 30
    (sentence,) = told
    assert sentence.startswith("m0 log: begins at ")
    assert sentence.endswith("what came before was trimmed")


async def test_a_start_before_the_first_event_ever_is_no_loss(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:BTCUSDT"], 10)
    told: list[str] = []
    async with RedisSource(redis_url(redis_server.url), tell=told.append) as source:
        assert len(await raws_of(source, 1)) == 10
    assert told == []


async def test_what_is_trimmed_while_it_is_read_is_told(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:BTCUSDT"], 2000)
    told: list[str] = []
    async with RedisSource(redis_url(redis_server.url), tell=told.append) as source:
        runs = source.runs(topics=EVERYTHING)
        first = await anext(runs)
        writer.client.xtrim(writer.layout.log("m0"), maxlen=1000, approximate=False)
        rest = [raw async for run in runs for raw in run.raws]
    assert len(first.raws) + len(rest) == 1500
    assert "no longer holds everything after" in told[0]
    assert "500 events (501 to 1000) were trimmed" in told[1]


async def test_junk_is_left_out_and_counted(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:BTCUSDT"], 5)
    writer.client.xadd(writer.layout.log("m0"), {"e": b"junk"})
    writer.client.xadd(writer.layout.log("m0"), {"other": b"junk"})
    told: list[str] = []
    async with RedisSource(redis_url(redis_server.url), tell=told.append) as source:
        assert len(await raws_of(source)) == 5
    assert told == ["ax:{m0}:log: 1 entries are no envelopes, or out of order: left out"]


async def test_each_event_is_found_by_its_number_rare_ones_too(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.client.xtrim(writer.layout.log("m0"), maxlen=0)
    places = {}
    for part in range(6):
        writer.received_us += 60_000_000
        writer.bulk(["ticker:A", "ticker:B", "ticker:C"], 3000)
        if part % 3 == 0:
            writer.event("ticker:RARE", {"price": "1"})
            places[EventName("ticker:RARE", writer.seqs["ticker:RARE"])] = writer.received_us
        writer.event("ticker:A", {"price": "1"})
        places[EventName("ticker:A", writer.seqs["ticker:A"])] = writer.received_us
    async with RedisSource(redis_url(redis_server.url)) as source:
        for name, received_us in places.items():
            assert await source.locate(name) == received_us
        for name in (EventName("ticker:A", 10**6), EventName("ticker:RARE", 3), EventName("candles:A:1m", 1)):
            assert await source.locate(name) is None


async def test_halving_reads_little_of_a_long_log(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:A", "ticker:B"], 30_000)
    async with RedisSource(redis_url(redis_server.url)) as source:
        before = source._link.stream.bytes_received
        assert await source.locate(EventName("ticker:A", 7_000)) is not None
        whole = sum(map(len, raws_in(writer, writer.layout.log("m0"))))
        assert source._link.stream.bytes_received - before < whole / 2


async def test_an_order_is_looked_for_in_accounts_only(redis_server: RedisServer, account: LayoutWriter) -> None:
    account.install()
    account.event("orders", {"order_id": "1", "status": "new"})
    async with RedisSource(redis_url(redis_server.url), accounts=[account.scope]) as source:
        assert await source.locate(EventName("orders", 1)) == account.received_us
    async with RedisSource(redis_url(redis_server.url)) as source:
        assert await source.locate(EventName("orders", 1)) is None


async def test_a_prefix_without_a_bridge_is_told_and_empty(redis_server: RedisServer) -> None:
    told: list[str] = []
    async with RedisSource(redis_url(f"{redis_server.url}?prefix=none"), tell=told.append) as source:
        assert (source.first_us, source.last_us, source.scopes) == (None, None, ())
        assert await raws_of(source) == []
    assert told == ["no bridge has written under the prefix 'none'"]


async def test_a_server_that_goes_is_a_connection_error(redis_server: RedisServer, writer: LayoutWriter) -> None:
    writer.bulk(["ticker:BTCUSDT"], 2000)
    async with RedisSource(redis_url(redis_server.url)) as source:
        runs = source.runs(topics=EVERYTHING)
        await anext(runs)
        with contextlib.closing(writer):
            redis_server.kill()
        with pytest.raises(PublicConnectionError):
            [run async for run in runs]
    with pytest.raises(PublicConnectionError):
        await RedisSource(redis_url(redis_server.url)).__aenter__()

"""What all viewers share: of a server under an operator's rights, and of a recording."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import redis
from pydantic import SecretStr

from agentexchange import AgentExchangeWS, RecordingError
from agentexchange import ConnectionError as PublicConnectionError
from agentexchange._urls import redis_url
from agentexchange.recording import EventName, Lane, RecordingWriter, WriterOptions
from agentexchange.testing import SandboxExchange
from agentexchange_bridge.inspector import FileInspection, RedisInspection, open_inspection
from agentexchange_schemas import FeedState, account_scope
from tests._acl import Guarded, rules_of
from tests.bridge.cli._run import start
from tests.bridge.inspector._samples import LOG, OTHER, SECOND, START_US, notice, order, portfolio, tick
from tests.integration._system import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from agentexchange_bridge.inspector.feed import Feed, Inspection, Travel
    from tests._servers import RedisServer

KEY = "ak_live_inspected_crew"
OWN = account_scope(KEY)


@pytest.mark.server
async def test_an_operators_rights_are_enough_for_everything(redis_server: RedisServer) -> None:
    """A whole system, inspected by a user under exactly the rule that ``agentexchange acl --role operator`` prints."""
    with Guarded(redis_server, rules_of({"crew": KEY})) as guarded:
        flags = ("--redis-url", guarded.url("bridge"), "--http", "off", "--topic", "ticker:all")
        member = AgentExchangeWS(KEY, guarded.url("crew"), group="executors", max_attempts=1)
        member.on_order_update()(_refuse)
        listener = AgentExchangeWS(KEY, guarded.url("crew"), client_name="listener")
        listener.on_candles("BTCUSDT", "1m")(_refuse)
        url = redis_url(guarded.url("operator"))
        async with (
            SandboxExchange(rate=200, pairs=5, order_rate=20, api_keys=[KEY]) as exchange,
            start("bridge", "--upstream-url", exchange.url, *flags, key=KEY) as worker,
        ):
            await worker.wait_line(r'"state": "live"')
            async with member, listener, open_inspection(redis_url=url, api_keys=[SecretStr(KEY)]) as inspection:
                assert inspection.live is not None
                await everything_is_there(inspection.live)
                await eventually(lambda: _has_letters(inspection))
                letters = await inspection.dead_letters()
                assert await inspection.retry(letters[0])
                assert await inspection.drop(letters[1])
                line = await inspection.timeline()
                assert sum(bucket.events_per_s for bucket in line.buckets) > 0
                past = await inspection.travel(line.end_us)
                assert len(past.symbols()) == 5
                assert past.account(OWN).orders
                await past.step(-1)
                await past.close()
        refused = [what for what in guarded.refusals() if what[1].lower() != "client|setinfo"]
        assert refused == []


@pytest.mark.server
async def test_a_crews_rights_are_enough_for_what_is_its_own(redis_server: RedisServer) -> None:
    """It sees the market and its account, now and then; of the installation, what it may read."""
    with Guarded(redis_server, rules_of({"crew": KEY})) as guarded:
        flags = ("--redis-url", guarded.url("bridge"), "--http", "off", "--topic", "ticker:all")
        url = redis_url(guarded.url("crew"))
        async with (
            SandboxExchange(rate=200, pairs=5, order_rate=20, api_keys=[KEY]) as exchange,
            start("bridge", "--upstream-url", exchange.url, *flags, key=KEY) as worker,
        ):
            await worker.wait_line(r'"state": "live"')
            async with open_inspection(redis_url=url, api_keys=[SecretStr(KEY)]) as inspection:
                feed = inspection.live
                assert feed is not None
                await eventually(lambda: len(feed.symbols()) == 5 and feed.account(OWN).orders)
                await eventually(lambda: feed.overview().logs)
                await eventually(lambda: {row.state for row in feed.overview().scopes} == {FeedState.LIVE})
                overview = feed.overview()
                assert (overview.workers, overview.clients, overview.memory_bytes) == ((), (), None)
                assert {row.memory_bytes for row in overview.logs} == {None}
                assert await feed.event((await feed.events())[0].key) is not None
                line = await inspection.timeline()
                assert line.buckets
                past = await inspection.travel(line.end_us)
                assert past.account(OWN).orders
                await past.close()
                assert await inspection.dead_letters() == []


async def _refuse(data: dict[str, object]) -> None:
    raise RuntimeError("no")


async def _has_letters(inspection: Inspection) -> bool:
    return len(await inspection.dead_letters()) > 1


async def everything_is_there(feed: Feed) -> None:
    await eventually(lambda: len(feed.symbols()) == 5)
    await eventually(lambda: feed.account(OWN).orders and feed.account(OWN).portfolio)
    await eventually(lambda: {row.name for row in feed.overview().clients} >= {"listener"})
    await eventually(lambda: {row.state for row in feed.overview().scopes} == {FeedState.LIVE})
    await eventually(lambda: [set(row.scopes) for row in feed.overview().workers] == [{"m0", OWN}])
    await eventually(lambda: feed.overview().memory_bytes)
    await eventually(lambda: all(row.memory_bytes for row in feed.overview().logs if row.entries))
    rows = await feed.events()
    assert await feed.event(rows[-1].key) is not None
    await feed.candles("BTCUSDT", "1m")
    await eventually(lambda: _forming(feed))


async def _forming(feed: Feed) -> bool:
    return bool(await feed.candles("BTCUSDT", "1m"))


@pytest.mark.server
async def test_a_wrong_password_is_said_at_once_and_not_shown(redis_server: RedisServer) -> None:
    url = redis_url(redis_server.url.replace("://", "://someone:pw-wrong-1@"))
    with pytest.raises(PublicConnectionError, match="WRONGPASS") as caught:
        async with open_inspection(redis_url=url):
            pass
    assert "pw-wrong" not in str(caught.value)


@pytest.mark.server
async def test_another_layout_is_said_at_once(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.hset("ax:meta", mapping={"version": 99, "partitions": 1})
    with pytest.raises(PublicConnectionError, match="layout version 99"):
        async with open_inspection(redis_url=redis_url(redis_server.url)):
            pass


@pytest.mark.server
async def test_a_server_that_is_away_is_waited_for(redis_server: RedisServer) -> None:
    redis_server.kill()
    async with open_inspection(redis_url=redis_url(redis_server.url)) as inspection:
        assert inspection.live is not None
        await eventually(lambda: inspection.live.overview().scopes[0].state is FeedState.BLIND)  # type: ignore[union-attr]
        with pytest.raises(PublicConnectionError):
            await inspection.timeline()
        with pytest.raises(PublicConnectionError):
            await inspection.travel()
        redis_server.start()
        await eventually(lambda: inspection.live.overview().scopes[0].state is FeedState.NO_BRIDGE)  # type: ignore[union-attr]


@pytest.mark.server
async def test_a_live_feed_that_ends_by_a_fault_is_no_silence(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    inspection = RedisInspection(redis_url(redis_server.url), [])

    async def fail() -> None:
        raise RuntimeError("a fault of ours")

    inspection._feed.run = fail  # type: ignore[method-assign]
    async with inspection:
        await eventually(lambda: "the live feed has ended" in caplog.text)
    assert "a fault of ours" in caplog.text


@pytest.mark.server
async def test_who_may_only_read_is_told_which_right_is_missing(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.xgroup_create("ax:{m0}:log", "g", mkstream=True)
        client.xadd("ax:{m0}:dead:g", {"topic": "x"})
        client.execute_command(
            "ACL", "SETUSER", "reader", "on", ">pw-reader-1", "%R~ax:*", "&ax:*", "+@read", "+@connection", "+info"
        )
    url = redis_url(redis_server.url.replace("://", "://reader:pw-reader-1@"))
    async with open_inspection(redis_url=url) as inspection:
        (letter,) = await inspection.dead_letters()
        with pytest.raises(PublicConnectionError, match="NOPERM"):
            await inspection.drop(letter)
        with pytest.raises(PublicConnectionError, match="NOPERM"):
            await inspection.retry(letter)


def record(path: Path) -> Path:
    mine, others = Lane(OWN, "log"), Lane(OTHER, "log")
    with RecordingWriter(path, options=WriterOptions(fsync="never")) as writer:
        writer.add(LOG, [tick(at * SECOND, symbol=f"S{at % 4}") for at in range(30)])
        writer.add(LOG, [notice(30 * SECOND, FeedState.BLIND, 29 * SECOND, cause="upstream_lost")])
        writer.add(mine, [order(SECOND, "mine"), portfolio(2 * SECOND)])
        writer.add(others, [order(SECOND, "of-another")])
    return path


async def test_a_recording_has_a_past_alone(tmp_path: Path) -> None:
    path = record(tmp_path / "day.axlog")
    async with open_inspection(recording=path, api_keys=[SecretStr(KEY)]) as inspection:
        assert inspection.live is None
        line = await inspection.timeline()
        assert (line.start_us, line.end_us) == (START_US, START_US + 30 * SECOND)
        assert [gap.cause for gap in line.gaps] == ["upstream_lost"]
        past = await inspection.travel()
        assert (past.at_us, len(past.symbols())) == (START_US + 30 * SECOND, 4)
        assert past.overview().scopes[1].state is FeedState.BLIND
        assert past.overview().source == "day.axlog"
        assert [row.order_id for row in past.account(OWN).orders] == ["mine"]
        assert "of-another" not in repr([await past.events(), past.overview(), past.account(OTHER)])
        assert await inspection.dead_letters() == []
        await past.close()


async def test_a_recording_that_is_written_grows_while_somebody_looks(tmp_path: Path) -> None:
    now = 0.0
    with RecordingWriter(tmp_path / "day.axlog", options=WriterOptions(fsync="never")) as writer:
        writer.add(LOG, [tick(at * SECOND) for at in range(30)])
        writer.flush()
        async with FileInspection(tmp_path / "day.axlog", [OWN], clock=lambda: now) as inspection:
            first = await inspection.timeline()
            past = await inspection.travel()
            assert inspection.grows
            writer.add(
                LOG, [tick(30 * SECOND), notice(31 * SECOND, FeedState.BLIND, 29 * SECOND, cause="upstream_lost")]
            )
            writer.add(Lane(OWN, "log"), [order(SECOND, "mine")])
            writer.flush()
            assert await inspection.timeline() == first, "it is looked for once a second"
            now = 1.0
            line = await inspection.timeline()
            assert (line.end_us, line.last_us) == (START_US + 31 * SECOND,) * 2
            assert [gap.cause for gap in line.gaps] == ["upstream_lost"]
            assert past.overview().logs[-1].entries == 30
            await past.refresh()
            assert [row.entries for row in past.overview().logs] == [1, 32]
            assert past.at_us == START_US + 29 * SECOND
            await past.go(line.end_us)
            assert [row.order_id for row in past.account(OWN).orders] == ["mine"]
            await past.close()
            writer.close()
            now = 2.0
            await inspection.timeline()
            assert not inspection.grows


@pytest.mark.server
async def test_an_event_is_located_in_the_logs_of_the_accounts_shown(redis_server: RedisServer) -> None:
    exchange = SandboxExchange(rate=200, pairs=2, order_rate=20, api_keys=[KEY])
    flags = ("--redis-url", redis_server.url, "--http", "off", "--topic", "ticker:all")
    url = redis_url(redis_server.url)
    async with exchange, start("bridge", "--upstream-url", exchange.url, *flags, key=KEY) as worker:
        await worker.wait_line(r'"state": "live"')
        async with (
            open_inspection(redis_url=url, api_keys=[SecretStr(KEY)]) as own,
            open_inspection(redis_url=url) as market,
        ):
            assert own.live is not None
            await eventually(lambda: own.live.account(OWN).orders)  # type: ignore[union-attr]
            (order_row,) = await own.live.events(kinds=["orders"], limit=1)
            (tick_row,) = await own.live.events(kinds=["ticker"], limit=1)
            for row in (order_row, tick_row):
                assert row.key.seq is not None
                name = EventName(row.key.topic, row.key.seq)
                assert await own.locate(name) == row.key.received_us
                shown = row is tick_row
                assert await market.locate(name) == (row.key.received_us if shown else None)
            assert await own.locate(EventName("ticker:BTCUSDT", 10**9)) is None


async def test_without_a_key_nothing_private_of_a_recording_is_shown(tmp_path: Path) -> None:
    async with open_inspection(recording=record(tmp_path / "day.axlog")) as inspection:
        past = await inspection.travel(START_US + 10 * SECOND)
        shown = repr([await past.events(), past.overview(), past.accounts(), past.account(OWN), past.gaps()])
        assert OTHER not in shown
        assert "mine" not in shown
        assert {row.kind for row in await past.events()} == {"ticker"}
        await past.close()


async def test_viewers_of_a_recording_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with open_inspection(recording=record(tmp_path / "day.axlog")) as inspection:
        viewers = [await inspection.travel(START_US + at * SECOND) for at in range(0, 30, 5)]

        async def walk_through(number: int) -> list[int]:
            return [await _stepped(viewers[number]) for _ in range(4)]

        places = await asyncio.gather(*map(walk_through, range(len(viewers))))
        assert places == [[START_US + (at + 1 + n) * SECOND for n in range(4)] for at in range(0, 30, 5)]
        for viewer in viewers:
            await viewer.close()


async def _stepped(viewer: Travel) -> int:
    await viewer.step()
    return viewer.at_us


async def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.axlog").write_bytes(b"something else, long enough to be looked at")
    with pytest.raises(RecordingError):
        async with open_inspection(recording=tmp_path / "x.axlog"):
            pass
    with pytest.raises(OSError, match=r"no\.axlog"):
        async with open_inspection(recording=tmp_path / "no.axlog"):
            pass


def test_it_is_either_a_server_or_a_recording(tmp_path: Path) -> None:
    for both in ({}, {"redis_url": redis_url("redis://localhost"), "recording": tmp_path}):
        with pytest.raises(ValueError, match="a Redis server or a recording"):
            open_inspection(**both)  # type: ignore[arg-type]

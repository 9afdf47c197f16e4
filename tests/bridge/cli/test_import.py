from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis

from agentexchange import AgentExchangeWS, EventMeta, LatestReader
from agentexchange.recording import Lane, Recording
from agentexchange_bridge.acl import PASSWORD_PLACEHOLDER, bridge_rule
from agentexchange_bridge.transfer._state import partitions_of
from agentexchange_schemas import FeedState, Layout, account_scope
from agentexchange_schemas.envelope import decode, encode
from tests.bridge.cli._run import KEY, one_line, run
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk.recording._samples import MARKET, START_US, tick, ticks, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests._servers import RedisServer

TOPICS = ["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"]
ACCOUNT = account_scope(KEY)
COPY = Layout("copy")


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


async def into(server: RedisServer, *argv: str) -> Any:
    return await run("import", *argv, "--redis-url", server.url, "--prefix", "copy")


async def test_what_was_exported_is_the_same_after_the_import(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    market, account = LayoutWriter(redis_server.url), LayoutWriter(redis_server.url, ACCOUNT)
    market.install()
    market.bulk(TOPICS, 3000)
    market.notice({"state": "live", "since": "2026-11-22T10:00:00Z"})
    for status in ("new", "filled"):
        account.event("orders", {"order_id": "1", "status": status}, latest=False)
    account.event("orders", {"order_id": "a b", "status": "new"}, latest=False)
    account.event("portfolio", {"total_equity": "1"})
    await run("export", "--url", redis_server.url, "--out", str(tmp_path / "day.axlog"))
    result = await into(redis_server, str(tmp_path / "day.axlog"))
    assert (result.code, result.err) == (0, f"import: 3,005 events of m0 {ACCOUNT} to the prefix 'copy'\n")

    for scope in ("m0", ACCOUNT):
        for name in (Layout.log, Layout.candle_log):
            assert client.xrange(name(COPY, scope)) == client.xrange(name(Layout(), scope))
        seqs = client.hgetall(COPY.seq(scope))
        assert seqs.items() >= {k: v for k, v in client.hgetall(Layout().seq(scope)).items() if k[:1] != b"#"}.items()
        assert client.get(COPY.epoch(scope)) == b"1"
    assert client.hgetall(COPY.meta) == {b"version": b"1", b"partitions": b"1"}
    for topic in TOPICS:
        assert client.get(COPY.latest("m0", topic)) == client.get(Layout().latest("m0", topic))
    assert len(client.smembers(COPY.latest(ACCOUNT, "orders"))) == 1
    assert decode(client.get(COPY.latest(ACCOUNT, "orders", "a b"))).seq == 3  # type: ignore[arg-type]
    assert client.ttl(COPY.latest(ACCOUNT, "orders", "1")) > 80_000
    market.close()
    account.close()


async def test_clients_read_an_imported_recording(redis_server: RedisServer, tmp_path: Path) -> None:
    day = write(tmp_path / "day.axlog", [(MARKET, ticks(500))])
    await into(redis_server, str(day))
    url = f"{redis_server.url}?prefix=copy"
    with LatestReader(url) as latest:
        value = latest.ticker("BTCUSDT")
        assert (value.data["price"], value.state) == ("499.50000000", FeedState.NO_BRIDGE)
    ws = AgentExchangeWS(KEY, url, resume="again", start="earliest")
    seqs: list[int | None] = []

    @ws.on_ticker("BTCUSDT")
    async def on_tick(data: dict[str, Any], meta: EventMeta) -> None:
        seqs.append(meta.seq)
        if len(seqs) == 500:
            ws.stop()

    await asyncio.wait_for(ws.connect(), 20)
    assert seqs == list(range(1, 501))


async def test_a_namespace_with_data_is_refused_unless_it_is_to_be_replaced(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    await into(redis_server, str(write(tmp_path / "1.axlog", [(MARKET, ticks(50))])))
    second = write(tmp_path / "2.axlog", [(MARKET, ticks(3, symbol="ETHUSDT"))])
    refused = await into(redis_server, str(second))
    assert refused.code == 1
    assert "there is data under the prefix 'copy': use another prefix, or --replace to delete it" in one_line(refused)
    assert client.xlen(COPY.log("m0")) == 50
    assert (await into(redis_server, str(second), "--replace")).code == 0
    assert client.xlen(COPY.log("m0")) == 3
    assert client.get(COPY.latest("m0", "ticker:BTCUSDT")) is None


async def test_a_live_bridge_is_never_written_over(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    client.set(COPY.lease("m0"), "worker-1/1", px=60_000)
    result = await into(redis_server, str(write(tmp_path / "1.axlog", [(MARKET, ticks(3))])), "--replace")
    assert result.code == 1
    assert "a bridge writes m0 under the prefix 'copy': stop it, or use another prefix" in one_line(result)
    assert client.keys("copy:*") == [COPY.lease("m0").encode()]


async def test_a_bridges_rights_are_enough(redis_server: RedisServer, client: redis.Redis, tmp_path: Path) -> None:
    order = encode("orders", 1, 1, None, START_US, {"order_id": "1", "status": "new"})
    day = str(write(tmp_path / "1.axlog", [(MARKET, ticks(3)), (Lane(ACCOUNT, "log"), [order])]))
    client.execute_command("ACL", "SETUSER", "bridge", "reset", *bridge_rule("copy").split())  # type: ignore[no-untyped-call]
    url = redis_server.url.replace("://", f"://bridge:{PASSWORD_PLACEHOLDER}@")
    for more in ((), ("--replace",)):
        result = await run("import", day, "--redis-url", url, "--prefix", "copy", *more)
        assert (result.code, result.err) == (0, f"import: 4 events of m0 {ACCOUNT} to the prefix 'copy'\n")


async def test_a_span_and_what_the_recorder_told_itself(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    notice = encode("status", 0, None, None, START_US + 5500, {"state": "connecting", "since": "2026-11-22T10:00:00Z"})
    day = write(tmp_path / "1.axlog", [(MARKET, ticks(10)), (Lane("m0", "recorder"), [notice])])
    result = await into(redis_server, str(day), "--from", "2026-11-22T09:55:18.002Z")
    assert "8 events of m0" in result.err
    assert "1 events are in no log there" in result.err
    assert client.xlen(COPY.log("m0")) == 8


async def test_two_logs_of_one_scope_become_one_whose_ids_only_rise(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    other = Lane("m0", "log", "another")
    day = write(tmp_path / "1.axlog", [(MARKET, ticks(10)), (other, [tick(number) for number in range(5, 15)])])
    result = await into(redis_server, str(day))
    assert "15 events of m0" in result.err
    assert client.xlen(COPY.log("m0")) == 15


def test_the_number_of_partitions_is_what_the_scopes_tell() -> None:
    layout = Layout(partitions=4)
    symbols = [f"PAIR{number}USDT" for number in range(40)]
    places = {(layout.market_scope(symbol), f"ticker:{symbol}") for symbol in symbols}
    assert partitions_of(places | {(ACCOUNT, "orders"), ("m0", "status")}) == 4
    assert partitions_of(set()) == 1
    assert partitions_of({("m0", "ticker:A"), ("m1", "ticker:A")}) is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: FILE"),
        (["x.axlog", "--redis-url", "ws://x"], "must begin with redis://"),
        (["x.axlog", "--scope", "x"], "scope 'x' is neither"),
        (["x.axlog", "--from", "noon"], "'noon' is no moment"),
        (["x.axlog", "--prefix", "A B", "--partitions", "1"], "prefix 'A B' is not valid"),
        (["x.axlog", "--partitions", "0"], "partitions 0 is not in 1..1024"),
    ],
)
async def test_bad_input_is_exit_code_2(argv: list[str], message: str) -> None:
    given = argv if "--redis-url" in argv else [*argv, "--redis-url", "redis://localhost:1"]
    result = await run("import", *given)
    assert result.code == 2
    assert message in one_line(result)


async def test_a_redis_that_is_away_is_exit_code_1(redis_server: RedisServer, tmp_path: Path) -> None:
    day = write(tmp_path / "day.axlog", [(MARKET, ticks(3))])
    with Recording(day) as recording:
        assert recording.count == 3
    redis_server.kill()
    result = await into(redis_server, str(day))
    assert result.code == 1
    assert "cannot be used: cannot connect to" in one_line(result)

"""The scripts' contracts, against real servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange._urls import redis_url
from agentexchange.redis import ReplyError, RespStream, pack
from agentexchange_bridge.items import CANDLE, FINAL_ORDER, FORMING, NOTICE, ORDER, PORTFOLIO, TICKER
from agentexchange_bridge.lease import Free, Grant, Lease, Refused, acquire_call, beat_call, read_acquired, release_call
from agentexchange_bridge.scripts import SCRIPTS, WRITE_BATCH, load_scripts
from agentexchange_schemas import Layout
from tests._patience import PATIENCE_S
from tests.bridge._kit import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

LAYOUT = Layout()
MS = 1_700_000_000_000
ANY = "0"
MUCH = "1000000"


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RespStream]:
    stream = await RespStream.connect(redis_url(redis_server.url))
    await load_scripts(stream)
    yield stream
    stream.close()


def owner(worker: str = "w1", ttl_s: float = 60.0) -> Lease:
    return Lease(worker, ttl_s)


async def acquire(
    redis: RespStream, lease: Lease, scope: str = "m0", *, take: bool = True, written_us: int = 0
) -> Grant | Refused | Free:
    (reply,) = await redis.send(acquire_call(LAYOUT, scope, lease, take=take, written_us=written_us))
    if isinstance(reply, ReplyError):
        raise reply
    got = read_acquired(reply)
    if isinstance(got, Grant):
        lease.granted(got.epoch, 0.0)
    return got


Event = tuple[str, str, str, bytes]


def event(flag: str, name: str, at_ms: int, payload: bytes = b"payload") -> Event:
    return flag, name, f"{MS + at_ms}-0", payload


async def write(
    redis: RespStream,
    lease: Lease,
    *events: Event,
    scope: str = "m0",
    batch: str = "w1:1",
    seqs: dict[str, Any] | None = None,
    status: dict[str, str] | None = None,
    publish: str = "PUBLISH",
    trims: tuple[str, str, str, str] = (ANY, MUCH, ANY, MUCH),
) -> Any:
    keys = [
        LAYOUT.lease(scope),
        LAYOUT.seq(scope),
        LAYOUT.log(scope),
        LAYOUT.candle_log(scope),
        LAYOUT.status(scope),
        LAYOUT.latest(scope, "orders"),
    ]
    pairs = [part for pair in {"#batch": batch, "#r": "1", **(seqs or {})}.items() for part in pair]
    told = [part for pair in (status or {}).items() for part in pair]
    rest = [part for _, *parts in events for part in parts]
    flags = "".join(flag for flag, *_ in events)
    head = [lease.owner, batch, LAYOUT.base(scope), publish, flags, *trims]
    (reply,) = await redis.send(WRITE_BATCH.call(keys, [*head, len(pairs), *pairs, len(told), *told, *rest]))
    return reply


async def everything(redis: RespStream) -> dict[bytes, bytes]:
    """The whole server's content; equal before and after means that nothing was written."""
    return {key: await redis.command("DUMP", key) for key in await redis.command("KEYS", "*")}


async def listen(
    server_url: str, *channels: str, command: str = "SUBSCRIBE"
) -> tuple[RespStream, asyncio.Queue[list[bytes]]]:
    heard: asyncio.Queue[list[bytes]] = asyncio.Queue()
    stream = await RespStream.connect(
        redis_url(server_url), on_replies=lambda replies: [heard.put_nowait(reply) for reply in replies]
    )
    stream.write(pack(command, *channels))
    for _ in channels:
        assert (await asyncio.wait_for(heard.get(), PATIENCE_S))[0] == command.lower().encode()
    return stream, heard


async def messages(heard: asyncio.Queue[list[bytes]], count: int) -> list[tuple[str, bytes]]:
    got = [await asyncio.wait_for(heard.get(), PATIENCE_S) for _ in range(count)]
    return [(channel.decode(), payload) for _, channel, payload in got]


# acquire


async def test_a_fresh_scope_is_granted_with_the_servers_seconds_as_epoch_and_a_log_id(redis: RespStream) -> None:
    got = await acquire(redis, owner())
    seconds = int((await redis.command("TIME"))[0])
    assert isinstance(got, Grant)
    assert seconds - 5 <= got.epoch <= seconds
    assert (got.stored_epoch, got.log_ids, got.batch, got.received_us, got.seqs) == (0, ("0-0", "0-0"), "", 0, {})
    assert len(got.log_name) == 16
    assert await redis.command("GET", LAYOUT.lease("m0")) == f"w1/{got.epoch}".encode()
    assert 55_000 < await redis.command("PTTL", LAYOUT.lease("m0")) <= 60_000


async def test_a_held_lease_is_refused_to_others_who_hear_whose_it_is(redis: RespStream) -> None:
    first, second = owner(), owner("w2")
    await acquire(redis, first)
    before = await everything(redis)
    got = await acquire(redis, second)
    assert isinstance(got, Refused)
    assert got.holder == first.owner
    assert 0 < got.left_ms <= 60_000
    assert await everything(redis) == before


async def test_a_look_at_a_free_lease_takes_nothing_and_tells_how_it_became_free(redis: RespStream) -> None:
    assert await acquire(redis, owner(), take=False) == Free(is_new=True, is_released=False)
    assert await everything(redis) == {}
    lease = owner()
    await acquire(redis, lease)
    assert isinstance(await acquire(redis, owner("w2"), take=False), Refused)
    assert isinstance(await acquire(redis, lease, take=False), Grant), "the owner's own needs no taking"
    await redis.command("DEL", LAYOUT.lease("m0"))
    assert await acquire(redis, owner("w2"), take=False) == Free(is_new=False, is_released=False)
    await redis.command("HSET", LAYOUT.status("m0"), "cause", "shutdown")
    assert await acquire(redis, owner("w2"), take=False) == Free(is_new=False, is_released=True)


async def test_the_owner_keeps_its_epoch_when_it_asks_again(redis: RespStream) -> None:
    lease = owner()
    first = await acquire(redis, lease)
    await redis.command("PEXPIRE", LAYOUT.lease("m0"), 1000)
    again = await acquire(redis, lease)
    assert (again.epoch, again.stored_epoch, again.log_name) == (first.epoch, first.epoch, first.log_name)
    assert await redis.command("PTTL", LAYOUT.lease("m0")) > 55_000


async def test_a_server_that_has_forgotten_writes_gives_its_owner_a_new_epoch(redis: RespStream) -> None:
    """It came back within the lease's life: the seqs it gives out again must not look like those of before."""
    lease = owner()
    first = await acquire(redis, lease)
    await write(redis, lease, event(TICKER, "ticker:BTCUSDT", 0), seqs={"#r": MS * 1000})
    assert (await acquire(redis, lease, written_us=MS * 1000)).epoch == first.epoch
    assert (await acquire(redis, lease, written_us=MS * 1000 + 1)).epoch == first.epoch + 1


async def test_an_answer_that_was_lost_does_not_shut_a_worker_out(redis: RespStream) -> None:
    await acquire(redis, owner())
    got = await acquire(redis, owner())
    assert isinstance(got, Grant)
    assert got.epoch == got.stored_epoch + 1


async def test_a_worker_whose_name_begins_with_anothers_is_another(redis: RespStream) -> None:
    await acquire(redis, owner("w1"))
    assert isinstance(await acquire(redis, owner("w")), Refused)


async def test_epochs_grow_past_a_counter_that_is_ahead_of_the_clock_and_past_a_wiped_server(redis: RespStream) -> None:
    await redis.command("SET", LAYOUT.epoch("m0"), 99_999_999_999)
    lease = owner()
    assert (await acquire(redis, lease)).epoch == 100_000_000_000
    await redis.command("FLUSHALL")
    got = await acquire(redis, lease)
    assert (got.epoch, got.stored_epoch) == (100_000_000_001, 0)


async def test_a_new_owner_gets_what_the_last_one_left(redis: RespStream) -> None:
    lease = owner()
    first = await acquire(redis, lease)
    seqs = {"ticker:BTCUSDT": 7, "#r": MS * 1000}
    status = {"state": "live"}
    await write(redis, lease, event(TICKER, "ticker:BTCUSDT", 0), seqs=seqs, status=status, batch="w1:9")
    await write(redis, lease, event(CANDLE, "candles:BTCUSDT:1m", 5), seqs=seqs, batch="w1:10")
    await redis.command("DEL", LAYOUT.lease("m0"))
    got = await acquire(redis, owner("w2"))
    assert (got.stored_epoch, got.epoch) == (first.epoch, first.epoch + 1)
    assert (got.batch, got.received_us, got.seqs) == ("w1:10", MS * 1000, {"ticker:BTCUSDT": 7})
    assert got.log_ids == (f"{MS}-0", f"{MS + 5}-0")
    assert got.log_floor_us == (MS + 5) * 1000
    assert got.status == {"state": "live"}
    assert got.log_name == first.log_name


@pytest.mark.parametrize("part", ["lease", "epoch", "seq", "log", "candle_log", "status"])
async def test_acquiring_over_a_key_of_another_type_changes_nothing(redis: RespStream, part: str) -> None:
    key = getattr(LAYOUT, part)("m0")
    await redis.command("ZADD", key, 1, "x")
    before = await everything(redis)
    with pytest.raises(ReplyError, match="WRONGTYPE") as caught:
        await acquire(redis, owner())
    assert key in str(caught.value)
    assert await everything(redis) == before


# write_batch


async def test_channel_latest_key_and_log_hold_the_same_bytes(redis: RespStream, redis_server: RedisServer) -> None:
    lease = owner()
    await acquire(redis, lease)
    topics = ["ticker:BTCUSDT", "candles:BTCUSDT:1m"]
    subscriber, heard = await listen(redis_server.url, *(LAYOUT.channel("m0", topic) for topic in topics))
    tick, candle = b"\x00\xfftick\r\n", b"candle"
    reply = await write(
        redis,
        lease,
        event(TICKER, topics[0], 0, tick),
        event(FORMING, topics[1], 1, b"forming"),
        event(CANDLE, topics[1], 2, candle),
        seqs={topics[0]: 1, topics[1]: 1},
    )
    assert reply == b"OK"
    assert await messages(heard, 3) == [
        (LAYOUT.channel("m0", topics[0]), tick),
        (LAYOUT.channel("m0", topics[1]), b"forming"),
        (LAYOUT.channel("m0", topics[1]), candle),
    ]
    assert await redis.command("GET", LAYOUT.latest("m0", topics[0])) == tick
    assert await redis.command("GET", LAYOUT.latest("m0", topics[1])) == candle
    assert await redis.command("XRANGE", LAYOUT.log("m0"), "-", "+") == [[f"{MS}-0".encode(), [b"e", tick]]]
    assert await redis.command("XRANGE", LAYOUT.candle_log("m0"), "-", "+") == [
        [f"{MS + 2}-0".encode(), [b"e", candle]]
    ]
    assert await redis.command("HMGET", LAYOUT.seq("m0"), *topics, "#batch") == [b"1", b"1", b"w1:1"]
    subscriber.close()


async def test_orders_are_open_until_their_final_state_which_expires_after_a_day(
    redis: RespStream, redis_server: RedisServer
) -> None:
    lease = owner()
    await acquire(redis, lease, ACCOUNT)
    subscriber, heard = await listen(redis_server.url, LAYOUT.channel(ACCOUNT, "orders"))
    await write(redis, lease, event(ORDER, "o1", 0, b"1"), event(ORDER, "o2", 1, b"2"), scope=ACCOUNT)
    assert sorted(await redis.command("SMEMBERS", LAYOUT.latest(ACCOUNT, "orders"))) == [b"o1", b"o2"]
    await write(redis, lease, event(FINAL_ORDER, "o1", 2, b"3"), scope=ACCOUNT, batch="w1:2")
    assert await redis.command("SMEMBERS", LAYOUT.latest(ACCOUNT, "orders")) == [b"o2"]
    assert await redis.command("GET", LAYOUT.latest(ACCOUNT, "orders", "o1")) == b"3"
    assert 86_390 < await redis.command("TTL", LAYOUT.latest(ACCOUNT, "orders", "o1")) <= 86_400
    assert await redis.command("TTL", LAYOUT.latest(ACCOUNT, "orders", "o2")) == -1
    assert [payload for _, payload in await messages(heard, 3)] == [b"1", b"2", b"3"]
    assert await redis.command("XLEN", LAYOUT.log(ACCOUNT)) == 3
    subscriber.close()


async def test_portfolio_and_notices_are_in_the_log_and_a_notice_sets_the_status(
    redis: RespStream, redis_server: RedisServer
) -> None:
    lease = owner()
    await acquire(redis, lease, ACCOUNT)
    names = [LAYOUT.channel(ACCOUNT, "portfolio"), LAYOUT.status(ACCOUNT)]
    subscriber, heard = await listen(redis_server.url, *names)
    events = [event(PORTFOLIO, "portfolio", 0, b"p"), event(NOTICE, "status", 1, b"n")]
    assert await write(redis, lease, *events, scope=ACCOUNT, status={"state": "blind"}) == b"OK"
    assert await messages(heard, 2) == list(zip(names, [b"p", b"n"], strict=True))
    assert await redis.command("GET", LAYOUT.latest(ACCOUNT, "portfolio")) == b"p"
    assert await redis.command("HGETALL", LAYOUT.status(ACCOUNT)) == [b"state", b"blind"]
    assert await redis.command("XLEN", LAYOUT.log(ACCOUNT)) == 2
    assert await redis.command("EXISTS", LAYOUT.latest(ACCOUNT, "status")) == 0
    subscriber.close()


async def test_inside_a_cluster_messages_go_to_sharded_channels(redis: RespStream, redis_server: RedisServer) -> None:
    lease = owner()
    await acquire(redis, lease)
    channel = LAYOUT.channel("m0", "ticker:A")
    subscriber, heard = await listen(redis_server.url, channel, command="SSUBSCRIBE")
    assert await write(redis, lease, event(TICKER, "ticker:A", 0, b"p"), publish="SPUBLISH") == b"OK"
    assert await messages(heard, 1) == [(channel, b"p")]
    subscriber.close()


async def test_a_stranger_is_fenced_and_writes_nothing(redis: RespStream) -> None:
    lease, stranger = owner(), owner("w2")
    await acquire(redis, lease)
    stranger.granted(lease.epoch, 0.0)
    before = await everything(redis)
    assert await write(redis, stranger, event(TICKER, "ticker:A", 0)) == f"FENCED {lease.owner}".encode()
    assert await everything(redis) == before


async def test_an_old_epoch_of_the_same_worker_is_fenced(redis: RespStream) -> None:
    lease = owner()
    await acquire(redis, lease)
    lease.granted(lease.epoch - 1, 0.0)
    assert (await write(redis, lease, event(TICKER, "ticker:A", 0))).startswith(b"FENCED w1/")


async def test_without_a_lease_everybody_is_fenced(redis: RespStream) -> None:
    lease = owner()
    await acquire(redis, lease)
    await redis.command("DEL", LAYOUT.lease("m0"))
    assert await write(redis, lease, event(TICKER, "ticker:A", 0)) == b"FENCED "


async def test_a_batch_that_was_applied_is_not_applied_again(redis: RespStream, redis_server: RedisServer) -> None:
    lease = owner()
    await acquire(redis, lease)
    assert await write(redis, lease, event(TICKER, "ticker:A", 0)) == b"OK"
    before = await everything(redis)
    subscriber, heard = await listen(redis_server.url, LAYOUT.channel("m0", "ticker:A"))
    assert await write(redis, lease, event(TICKER, "ticker:A", 0)) == b"DUPLICATE"
    assert await everything(redis) == before
    assert heard.empty()
    subscriber.close()


@pytest.mark.parametrize(
    "part",
    [LAYOUT.seq("m0"), LAYOUT.log("m0"), LAYOUT.candle_log("m0"), LAYOUT.status("m0"), LAYOUT.latest("m0", "orders")],
)
async def test_a_key_of_another_type_is_noticed_before_the_first_write(redis: RespStream, part: str) -> None:
    lease = owner()
    await acquire(redis, lease)
    await redis.command("DEL", part)
    await redis.command("ZADD", part, 1, "x")
    before = await everything(redis)
    reply = await write(
        redis,
        lease,
        event(TICKER, "ticker:A", 0),
        event(CANDLE, "candles:A:1m", 1),
        event(ORDER, "o1", 2),
        event(NOTICE, "status", 3),
        status={"state": "live"},
    )
    assert isinstance(reply, ReplyError)
    assert reply.code == "WRONGTYPE"
    assert part in reply.message
    assert await everything(redis) == before


@pytest.mark.parametrize("flag", [TICKER, CANDLE])
@pytest.mark.parametrize("ahead_ms", [0, 5])
async def test_a_log_that_is_ahead_is_noticed_before_the_first_write(
    redis: RespStream, flag: str, ahead_ms: int
) -> None:
    lease = owner()
    await acquire(redis, lease)
    log = LAYOUT.log("m0") if flag == TICKER else LAYOUT.candle_log("m0")
    await redis.command("XADD", log, f"{MS + ahead_ms}-0", "e", "x")
    before = await everything(redis)
    reply = await write(redis, lease, event(FORMING, "candles:B:1m", 9), event(flag, "ticker:A", 0))
    assert reply == f"BEHIND {MS + ahead_ms}-0".encode()
    assert await everything(redis) == before


async def test_out_of_memory_writes_nothing_not_even_to_channels(redis: RespStream, redis_server: RedisServer) -> None:
    lease = owner()
    await acquire(redis, lease)
    subscriber, heard = await listen(redis_server.url, LAYOUT.channel("m0", "candles:A:1m"))
    await redis.command("CONFIG", "SET", "maxmemory", "1mb", "maxmemory-policy", "noeviction")
    before = await everything(redis)
    for flag in (FORMING, TICKER):
        reply = await write(redis, lease, event(flag, "candles:A:1m", 0))
        assert isinstance(reply, ReplyError)
        assert "OOM" in reply.message
    assert await everything(redis) == before
    assert heard.empty()
    await redis.command("CONFIG", "SET", "maxmemory", "0")
    assert await write(redis, lease, event(TICKER, "ticker:A", 0)) == b"OK"
    subscriber.close()


async def test_logs_are_trimmed_by_age_and_by_count(redis: RespStream) -> None:
    lease = owner()
    await acquire(redis, lease)
    many = [event(TICKER, "ticker:A", at) for at in range(1000)]
    await write(redis, lease, *many)
    assert await redis.command("XLEN", LAYOUT.log("m0")) == 1000
    await write(redis, lease, event(TICKER, "ticker:A", 1000), batch="2", trims=(str(MS + 500), MUCH, ANY, MUCH))
    assert 501 <= await redis.command("XLEN", LAYOUT.log("m0")) <= 601
    await write(redis, lease, event(TICKER, "ticker:A", 1001), batch="3", trims=(ANY, "200", ANY, MUCH))
    assert 200 <= await redis.command("XLEN", LAYOUT.log("m0")) <= 300
    candles = [event(CANDLE, "candles:A:1m", at) for at in range(1000)]
    await write(redis, lease, *candles, batch="4", trims=(ANY, "1", ANY, "300"))
    assert 300 <= await redis.command("XLEN", LAYOUT.candle_log("m0")) <= 400
    assert await redis.command("XLEN", LAYOUT.log("m0")) >= 200, "a log that is not written is not trimmed"


async def test_a_whole_batch_of_different_topics_is_one_call(redis: RespStream) -> None:
    lease = owner()
    await acquire(redis, lease)
    events = [event(TICKER, f"ticker:S{number}", number) for number in range(1000)]
    seqs = {f"ticker:S{number}": 1 for number in range(1000)}
    assert await write(redis, lease, *events, seqs=seqs) == b"OK"
    assert await redis.command("HLEN", LAYOUT.seq("m0")) == 1003


# beat and release


def beat(lease: Lease, payload: bytes = b"beat", candle_state: bytes | None = None) -> bytes:
    status = {"state": "live", "beat": "1"}
    return beat_call(
        LAYOUT, "m0", lease, publish="PUBLISH", heartbeat=payload, status=status, candle_state=candle_state
    )


async def test_a_beat_renews_the_lease_stores_the_status_and_tells_it(
    redis: RespStream, redis_server: RedisServer
) -> None:
    lease = owner()
    await acquire(redis, lease)
    await redis.command("PEXPIRE", LAYOUT.lease("m0"), 500)
    subscriber, heard = await listen(redis_server.url, LAYOUT.status("m0"))
    assert await redis.send(beat(lease)) == [b"OK"]
    assert await redis.command("PTTL", LAYOUT.lease("m0")) > 55_000
    assert await redis.command("HGETALL", LAYOUT.status("m0")) == [b"state", b"live", b"beat", b"1"]
    assert await messages(heard, 1) == [(LAYOUT.status("m0"), b"beat")]
    subscriber.close()


async def test_a_beat_of_a_stranger_does_nothing(redis: RespStream) -> None:
    lease, stranger = owner(), owner("w2")
    await acquire(redis, lease)
    stranger.granted(1, 0.0)
    before = await everything(redis)
    assert await redis.send(beat(stranger)) == [f"FENCED {lease.owner}".encode()]
    assert await everything(redis) == before


async def test_an_owner_stays_the_owner_while_redis_is_out_of_memory(redis: RespStream) -> None:
    lease = owner()
    await acquire(redis, lease)
    await redis.command("PEXPIRE", LAYOUT.lease("m0"), 500)
    await redis.command("CONFIG", "SET", "maxmemory", "1mb", "maxmemory-policy", "noeviction")
    assert await redis.send(beat(lease)) == [b"OK"]
    assert await redis.command("HGET", LAYOUT.status("m0"), "state") == b"live"
    assert await redis.command("PTTL", LAYOUT.lease("m0")) > 55_000
    assert isinstance(await acquire(redis, lease), Grant)


async def test_release_frees_the_scope_at_once_and_only_for_its_owner(redis: RespStream) -> None:
    lease, stranger = owner(), owner("w2")
    await acquire(redis, lease)
    stranger.granted(1, 0.0)
    assert await redis.send(release_call(LAYOUT, "m0", stranger)) == [f"FENCED {lease.owner}".encode()]
    assert await redis.send(release_call(LAYOUT, "m0", lease)) == [b"OK"]
    assert isinstance(await acquire(redis, stranger), Grant)


async def test_a_beat_and_a_release_save_the_candles_under_way_for_a_day_and_only_their_owners(
    redis: RespStream,
) -> None:
    lease, stranger = owner(), owner("w2")
    await acquire(redis, lease)
    stranger.granted(1, 0.0)
    key = LAYOUT.candle_state("m0")
    assert await redis.send(beat(stranger, candle_state=b"no")) == [f"FENCED {lease.owner}".encode()]
    assert await redis.send(beat(lease)) == [b"OK"]
    assert await redis.command("EXISTS", key) == 0
    assert await redis.send(beat(lease, candle_state=b"\x00\xff state")) == [b"OK"]
    assert await redis.send(beat(lease)) == [b"OK"]
    assert await redis.command("GET", key) == b"\x00\xff state"
    assert 86_000 < await redis.command("TTL", key) <= 86_400
    release = release_call(LAYOUT, "m0", stranger, candle_state=b"no")
    assert await redis.send(release) == [f"FENCED {lease.owner}".encode()]
    assert await redis.send(release_call(LAYOUT, "m0", lease, candle_state=b"last")) == [b"OK"]
    assert await redis.command("GET", key) == b"last"


async def test_a_release_frees_the_scope_also_where_no_memory_is_left_for_the_candles(redis: RespStream) -> None:
    lease = owner()
    await acquire(redis, lease)
    await redis.command("CONFIG", "SET", "maxmemory", "1mb", "maxmemory-policy", "noeviction")
    assert await redis.send(release_call(LAYOUT, "m0", lease, candle_state=b"last")) == [b"OK"]
    assert await redis.command("EXISTS", LAYOUT.lease("m0")) == 0


async def test_every_script_says_what_it_takes_and_gives() -> None:
    for script in SCRIPTS:
        head = script.text.partition("\n\n")[0]
        assert "-- KEYS " in head
        assert "-- ARGV " in head
        assert "-- Result" in head

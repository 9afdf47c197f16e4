from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AuthenticationError, ConnectionError  # noqa: A004 - the documented name
from agentexchange.testing import SandboxExchange
from agentexchange.upstream import AuthPolicy
from agentexchange_schemas import FeedState, Topic
from tests._patience import PATIENCE_S
from tests.sdk._timeline import Timeline
from tests.sdk.upstream._feeds import Sink, make_pool, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agentexchange.testing import JournalEntry
    from agentexchange.upstream import UpstreamPool

ALL = "ticker:all"


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxExchange]:
    async with SandboxExchange(pairs=60, rate=0) as exchange:
        yield exchange


def singles(count: int, start: int = 0) -> list[str]:
    return [f"ticker:S{number}USDT" for number in range(start, start + count)]


def push(sandbox: SandboxExchange, topic: str, price: str) -> None:
    sandbox.control.push_tick(topic.removeprefix("ticker:"), price=price)


def subscribe(pool: UpstreamPool, *topics: str) -> None:
    for topic in topics:
        pool.subscribe(Topic.parse(topic))


def unsubscribe(pool: UpstreamPool, *topics: str) -> None:
    for topic in topics:
        pool.unsubscribe(Topic.parse(topic))


def loads(sandbox: SandboxExchange) -> list[int]:
    return sorted((len(connection.subscriptions) for connection in sandbox.control.connections), reverse=True)


def connection_of(sandbox: SandboxExchange, topic: str) -> int:
    return next(one.id for one in sandbox.control.connections if topic in one.subscriptions)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that the sandbox shows."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the sandbox has no word for it
            await asyncio.sleep(0.005)


# As one session


async def test_ten_topics_are_one_session(sandbox: SandboxExchange) -> None:
    sink = Sink()
    pool = make_pool(sandbox.url, sink, *singles(8), "orders", "portfolio")
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(8), "orders", "portfolio")
        push(sandbox, singles(1)[0], "1")
        sandbox.control.step_orders(1)
        await sink.until(lambda: {singles(1)[0], "orders"} <= {topic for topic, _ in sink.events})
        assert loads(sandbox) == [10]
        await until(lambda: pool.has_settled(Topic.orders()))
    assert sink.states == ["connecting", "live"]
    assert (pool.stats.sessions, pool.stats.sessions_open, pool.stats.unclaimed) == (1, 0, 0)


async def test_without_topics_it_holds_a_session_that_is_live(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_pool(sandbox.url, sink)):
        await sink.until_state(FeedState.LIVE)
        sandbox.control.step_orders(1)
        await sink.until(lambda: sink.events)


async def test_one_lost_session_is_told_as_a_feeds_is(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(2), time=time)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(2))
        await sink.until_state(FeedState.LIVE)
        sandbox.control.drop()
        await time.until_asleep(1)
        time.advance(1)
        await sandbox.control.wait_for_subscriptions(*singles(2))
        await sink.until_state(FeedState.LIVE, 2)
    assert [(status.topic, str(status.state)) for status in sink.statuses] == [
        (None, "connecting"),
        (None, "live"),
        (None, "blind"),
        (None, "live"),
    ]
    assert (pool.stats.sessions, pool.stats.reconnects) == (2, 1)


async def test_a_bad_key_is_final_at_once_and_told_once(sandbox: SandboxExchange) -> None:
    sink = Sink()
    with pytest.raises(AuthenticationError) as caught:
        await make_pool(sandbox.url, sink, *singles(35), key="ak_wrong").run()
    assert caught.value.status_code == 403
    assert sink.states == ["connecting", "auth_failed"]
    assert "ak_wrong" not in repr(caught.value)


async def test_what_no_retry_can_mend_ends_it() -> None:
    async def not_a_websocket(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(not_a_websocket, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionError, match="not a WebSocket endpoint"):
            await make_pool(f"ws://127.0.0.1:{port}", Sink(), *singles(25)).run()


async def test_an_error_of_the_sink_is_not_hidden(sandbox: SandboxExchange) -> None:
    class Broken(Sink):
        def on_event(self, topic: str, fields: dict[str, object]) -> None:
            raise ZeroDivisionError(topic)

    async with running(make_pool(sandbox.url, Broken(), *singles(12))) as task:
        await sandbox.control.wait_for_subscriptions(*singles(12))
        push(sandbox, singles(1)[0], "1")
        with pytest.raises(ZeroDivisionError):
            await task


async def test_stop_before_run() -> None:
    pool = make_pool("ws://127.0.0.1:1", Sink(), *singles(3))
    pool.stop()
    async with asyncio.timeout(PATIENCE_S):
        await pool.run()


async def test_stop_closes_all_cleanly(sandbox: SandboxExchange) -> None:
    async with running(make_pool(sandbox.url, Sink(), *singles(35))):
        await sandbox.control.wait_for_connections(4)
    await sandbox.control.wait_for_connections(0)


@pytest.mark.parametrize("moment", ["handshake", "live", "move"])
async def test_cancelling_leaves_nothing_behind(sandbox: SandboxExchange, moment: str) -> None:
    sink = Sink()
    if moment == "handshake":
        sandbox.control.hold_handshakes()
    pool = make_pool(sandbox.url, sink, *singles(15), fold_from=20, proof_s=60)
    before = asyncio.all_tasks()
    task = asyncio.create_task(pool.run())
    if moment != "handshake":
        await sandbox.control.wait_for_subscriptions(*singles(15))
    if moment == "move":
        subscribe(pool, *singles(30))
        await sandbox.control.wait_for_subscriptions(ALL)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    sandbox.control.accept_handshakes()
    await sandbox.control.wait_for_connections(0)
    ours = {other for other in asyncio.all_tasks() - before if "upstream" in repr(other.get_coro())}
    assert ours == set()


# Many sessions


async def test_each_topic_comes_once_from_the_session_that_holds_it(sandbox: SandboxExchange) -> None:
    sink = Sink()
    pool = make_pool(sandbox.url, sink, *singles(40), "orders", "portfolio")
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(40), "orders", "portfolio")
        assert loads(sandbox) == [9, 9, 8, 8, 8]
        for number in range(3):
            sandbox.control.push_order({"order_id": str(number), "status": "pending"})
            for topic in singles(40):
                push(sandbox, topic, str(number))
        sandbox.control.push_portfolio({"total_equity": "1"})
        await sink.until(lambda: len(sink.events) >= 124)
        await until(lambda: pool.stats.frames >= 120 + 4 * 5 + 42)
        assert pool.stats.sessions_open == 5
    assert [fields["order_id"] for fields in sink.ticks("orders")] == ["0", "1", "2"]
    assert len(sink.ticks("portfolio")) == 1
    assert all([tick["price"] for tick in sink.ticks(topic)] == ["0", "1", "2"] for topic in singles(40))
    assert (pool.stats.events, pool.stats.unclaimed) == (124, 16)


async def test_private_events_can_be_left_out_altogether(sandbox: SandboxExchange) -> None:
    sink = Sink()
    async with running(make_pool(sandbox.url, sink, *singles(2), private=False)):
        await sandbox.control.wait_for_subscriptions(*singles(2))
        sandbox.control.step_orders(3)
        push(sandbox, singles(1)[0], "1")
        await sink.until(lambda: sink.events)
    assert [topic for topic, _ in sink.events] == singles(1)


async def test_one_sessions_death_moves_nothing_else(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(25), time=time)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(25))
        await until(lambda: all(map(pool.holds, map(Topic.parse, singles(25)))))
        victim = sandbox.control.connections[1]
        others = {one.id for one in sandbox.control.connections} - {victim.id}
        time.advance(3)
        sandbox.control.drop(connection=victim.id)
        await sink.until(lambda: len([one for one in sink.statuses if one.state is FeedState.BLIND]) >= 8)
        for topic in singles(25):
            push(sandbox, topic, "7")
        await sink.until(lambda: len(sink.events) >= 25 - len(victim.subscriptions))
        await time.until_asleep(1)
        time.advance(1)
        await sandbox.control.wait_for_subscriptions(*singles(25))
        await sink.until(lambda: all(sink.of(topic)[-1].state is FeedState.LIVE for topic in victim.subscriptions))
        assert others <= {one.id for one in sandbox.control.connections}
    told = {status.topic for status in sink.statuses if status.topic}
    assert told == victim.subscriptions
    assert sink.states == ["connecting", "live"], "the feed is live while any session is"
    for topic in victim.subscriptions:
        lost, back = sink.of(topic)
        assert (lost.state, lost.cause) == (FeedState.BLIND, "upstream_lost")
        assert (back.cause, back.since) == ("reconnected", lost.since)
        assert back.until is not None
        assert (back.until - back.since).total_seconds() == 4
    assert {topic for topic, _ in sink.events} == set(singles(25)) - victim.subscriptions


async def test_all_sessions_lost_is_the_feeds_own_trouble(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_pool(sandbox.url, sink, *singles(25), time=time)):
        await sandbox.control.wait_for_subscriptions(*singles(25))
        await sink.until_state(FeedState.LIVE)
        await sandbox.control.wait_for_frames("ack", 25)
        sandbox.control.drop()
        await sink.until_state(FeedState.BLIND)
        await time.until_asleep(1)
        time.advance(1)
        await sink.until_state(FeedState.LIVE, 2)
        await sink.until(lambda: all(sink.of(topic)[-1].state is FeedState.LIVE for topic in singles(25)))
    assert sink.states == ["connecting", "live", "blind", "live"]


async def test_a_session_that_never_gets_through_is_told_by_its_topics(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(8), time=time)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(8))
        await sink.until_state(FeedState.LIVE)
        sandbox.control.refuse_handshakes(503)
        subscribe(pool, *singles(12))
        await time.until_asleep(1)
        late = [topic for topic in singles(12) if sink.of(topic)]
        assert [str(sink.of(topic)[0].state) for topic in late] == ["blind"] * 4
        assert pool.has_settled(Topic.parse(late[0])), "nothing comes of it that could be waited for"
        assert not pool.holds(Topic.parse(late[0]))
        sandbox.control.accept_handshakes()
        time.advance(1)
        await sink.until(lambda: all(sink.of(topic)[-1].state is FeedState.LIVE for topic in late))
    assert sink.states == ["connecting", "live"]


async def test_handshakes_come_one_by_one(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    async with running(make_pool(sandbox.url, sink, *singles(25), time=time, stagger_s=2.0)):
        await sandbox.control.wait_for_connections_total(1)
        for number in (1, 2):
            await time.until_asleep(1)  # half of it, as chance gives 0 here
            assert sandbox.control.connections_total == number
            time.advance(1)
            await sandbox.control.wait_for_connections_total(number + 1)


async def test_a_refused_key_is_confirmed_by_each_session_for_itself(sandbox: SandboxExchange) -> None:
    """Four sessions refused in one moment were taken for a key refused four times."""
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(35), time=time)
    async with running(pool) as task:
        await sandbox.control.wait_for_subscriptions(*singles(35))
        sandbox.control.refuse_handshakes(403)
        sandbox.control.drop()
        for delay, refused in ((1, 4), (2, 8), (4, 12)):
            await time.until_asleep(delay)
            time.advance(delay)
            await sandbox.control.wait_for_refusals(refused)
        await time.until_asleep(8)
        assert not task.done()
        time.advance(8)
        with pytest.raises(AuthenticationError):
            await task
    assert sink.states == ["connecting", "live", "blind", "auth_failed"]


async def test_a_patient_pool_tells_a_refused_key_once(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(15), time=time, auth=AuthPolicy.PATIENT)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(15))
        sandbox.control.refuse_keys()
        sandbox.control.drop()
        for delay in (1, 2, 4, 8):
            await time.until_asleep(delay)
            time.advance(delay)
        await sink.until_state(FeedState.AUTH_FAILED)
        await time.until_asleep(60)
    assert sink.states == ["connecting", "live", "blind", "auth_failed"]


async def test_a_renewed_pool_delivers_nothing_that_it_has_read_already(sandbox: SandboxExchange) -> None:
    sink = Sink()
    pool = make_pool(sandbox.url, sink, *singles(12), "orders")
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(12), "orders")
        await sandbox.control.wait_for_frames("ack", 13)
        for number in range(2000):
            sandbox.control.push_order({"order_id": f"old {number}", "status": "pending"})
        await sink.until(lambda: sink.events)
        taken = len(sink.events)
        assert taken < 2000, "most are to be on their way"
        pool.renew("for a test")
        assert not pool.has_settled(Topic.orders())
        assert sink.states[-1] == "blind"
        await sink.until_state(FeedState.LIVE, 2)
        await until(lambda: pool.has_settled(Topic.orders()))
        sandbox.control.push_order({"order_id": "new", "status": "pending"})
        await sink.until(lambda: len(sink.events) > taken)
    assert [fields["order_id"] for _, fields in sink.events[taken:]] == ["new"]


async def test_silence_is_that_of_the_most_silent_session(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(12), time=time)
    assert pool.silent_s() is None
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(12))
        await until(lambda: all(map(pool.has_settled, map(Topic.parse, singles(12)))))
        time.advance(7)
        push(sandbox, singles(1)[0], "1")
        await sink.until(lambda: sink.events)
        assert pool.silent_s() == 7


# What upstream refuses


async def test_a_lower_limit_is_learned(sandbox: SandboxExchange) -> None:
    sandbox.control.set_subscription_limit(3)
    sink = Sink()
    pool = make_pool(sandbox.url, sink, *singles(9))
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(9))
        await until(lambda: all(map(pool.holds, map(Topic.parse, singles(9)))))
        assert loads(sandbox) == [3, 3, 3]
        for topic in singles(9):
            push(sandbox, topic, "1")
        await sink.until(lambda: len(sink.events) == 9)
    assert not [status for status in sink.statuses if status.topic]
    assert pool.stats.refused_topics == 0


async def test_where_no_session_is_left_the_platforms_words_are_told(sandbox: SandboxExchange) -> None:
    sandbox.control.set_subscription_limit(3)
    sink = Sink()
    topics = [f"candles:S{number}USDT:1m" for number in range(7)]
    pool = make_pool(sandbox.url, sink, *topics, max_sessions=2)
    async with running(pool):
        await sink.until(lambda: sink.of(topics[6]))
        told = sink.of(topics[6])[0]
        assert told.state is FeedState.UNAVAILABLE
        assert told.message is not None
        assert "2 sessions of 3" in told.message
        assert "At most 3 subscriptions" in told.message
        assert pool.has_settled(Topic.parse(topics[6]))
        assert not pool.holds(Topic.parse(topics[6]))
        unsubscribe(pool, topics[0])
        await sandbox.control.wait_for_subscriptions(*topics[1:])
        await sink.until(lambda: sink.of(topics[6])[-1].state is FeedState.LIVE)
    assert {status.topic for status in sink.statuses if status.topic} == {topics[6]}


async def test_a_refused_topic_is_told_with_the_platforms_words_and_not_asked_in_a_loop(
    sandbox: SandboxExchange,
) -> None:
    sink = Sink()
    refused = "candles:BTCUSDT:4h"
    pool = make_pool(sandbox.url, sink, refused, *singles(2))
    async with running(pool):
        await sink.until(lambda: sink.of(refused))
        await sandbox.control.wait_for_subscriptions(*singles(2))
        assert sink.of(refused)[0].message == "INVALID_CHANNEL: Invalid channel"
        sandbox.control.ping()
        await sandbox.control.wait_for_pongs(1)
        assert sandbox.control.requests == 4
        assert pool.stats.refused_topics == 1
        sandbox.control.drop()
        await sink.until(lambda: len(sink.of(refused)) == 2)


async def test_an_optional_topic_that_is_refused_is_told_to_the_sink_and_one_without_room_is_not(
    sandbox: SandboxExchange,
) -> None:
    sink = Sink()
    refused, left_out, had = (f"candles:BTCUSDT:{interval}" for interval in ("15m", "5m", "1m"))
    pool = make_pool(sandbox.url, sink, *singles(9), max_sessions=1, fold_from=None)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(9))
        pool.subscribe(Topic.parse(refused), optional=True)
        await sink.until(lambda: sink.of(refused))
        assert sink.of(refused)[0].state is FeedState.UNAVAILABLE
        pool.subscribe(Topic.parse(had), optional=True)
        pool.subscribe(Topic.parse(left_out), optional=True)
        assert not pool.has_settled(Topic.parse(left_out)), "it is not decided yet"
        await sandbox.control.wait_for_subscriptions(had)
        await until(lambda: pool.holds(Topic.parse(had)))
        assert not pool.holds(Topic.parse(left_out))
        assert pool.has_settled(Topic.parse(left_out))
        subscribe(pool, "orders")
        await sandbox.control.wait_for_subscriptions("orders")
        assert not pool.holds(Topic.parse(had)), "given up for what is required"
    assert {status.topic for status in sink.statuses if status.topic} == {refused}


# Changes without a hole


class Journal:
    """What the sandbox has sent, by topic."""

    def __init__(self) -> None:
        self._sent: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def __call__(self, entry: JournalEntry) -> None:
        if entry.kind == "tick":
            self._sent[entry.topic].append(json.loads(entry.payload)["data"])

    def ticks(self, topic: str) -> list[dict[str, Any]]:
        return self._sent[topic]


async def stands_still(sandbox: SandboxExchange, sink: Sink, journal: Journal, topics: list[str]) -> None:
    """No more ticks come, and those that have come are delivered."""
    sandbox.control.set_rate(0)
    sandbox.control.stall()
    for topic in topics:
        push(sandbox, topic, "0.5")
    await sink.until(lambda: all(sink.ticks(topic) and sink.ticks(topic)[-1]["price"] == "0.5" for topic in topics))


def assert_exact(sink: Sink, journal: Journal, topics: list[str]) -> None:
    for topic in topics:
        got = [{name: tick[name] for name in tick if name != "symbol"} for tick in sink.ticks(topic)]
        assert got == journal.ticks(topic), topic


async def test_from_singles_to_the_wildcard_and_back_under_a_running_market() -> None:
    journal = Journal()
    async with SandboxExchange(pairs=60, rate=3000, journal=journal) as sandbox:
        sink = Sink()
        topics = [f"ticker:{symbol}" for symbol in sandbox.control.symbols]
        pool = make_pool(sandbox.url, sink, *topics[:25], fold_from=30, proof_s=0.5)
        kept = topics[:12]
        async with running(pool):
            await sandbox.control.wait_for_subscriptions(*topics[:25])
            for _ in range(2):
                subscribe(pool, *topics)
                await until(lambda: loads(sandbox) == [1])
                unsubscribe(pool, *topics[20:])
                await until(lambda: sandbox.control.connections[0].subscriptions.isdisjoint({ALL}))
                await sandbox.control.wait_for_no_subscriptions(ALL)
                await until(lambda: all(map(pool.holds, map(Topic.parse, topics[:20]))))
            await stands_still(sandbox, sink, journal, kept)
        assert_exact(sink, journal, kept)
        assert len(journal.ticks(kept[0])) > 100
        assert not [status for status in sink.statuses if status.topic and status.cause != "overlap"]
        assert pool.stats.ambiguous == len([status for status in sink.statuses if status.topic])


async def test_back_to_singles_before_the_wildcards_session_has_caught_up(sandbox: SandboxExchange) -> None:
    """What it still repeated of the singles' sessions, which were gone already, went out twice."""
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(6), subscriptions=6, fold_from=20, proof_s=2.0, time=time)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(6))
        subscribe(pool, *singles(12))
        await sandbox.control.wait_for_subscriptions(*singles(12))
        subscribe(pool, *singles(25))
        await sandbox.control.wait_for_subscriptions(ALL)
        await time.until_asleep(2)
        behind = pool._lanes[pool._allocation.places[Topic.parse(ALL)]]._session
        assert behind is not None
        behind._connection.transport.pause_reading()
        for price in ("1", "2"):
            for topic in singles(12):
                push(sandbox, topic, price)
        await sink.until(lambda: len(sink.events) == 24)
        time.advance(2)
        await sandbox.control.wait_for_no_subscriptions(*singles(12))
        await until(lambda: loads(sandbox) == [1])
        unsubscribe(pool, *singles(25)[12:])
        await until(lambda: loads(sandbox) == [4, 4, 1])  # the last four are to stay on the wildcard's session
        behind._connection.transport.resume_reading()
        for topic in singles(12):
            push(sandbox, topic, "3")
        await sandbox.control.wait_for_no_subscriptions(ALL)
        for topic in singles(12):
            push(sandbox, topic, "4")
        await sink.until(lambda: all(sink.ticks(topic)[-1]["price"] == "4" for topic in singles(12)))
    for topic in singles(12):
        assert [tick["price"] for tick in sink.ticks(topic)] == ["1", "2", "3", "4"], topic
    assert not pool._moves._echoes


async def test_one_session_switches_within_itself() -> None:
    journal = Journal()
    async with SandboxExchange(pairs=30, rate=2000, journal=journal) as sandbox:
        sink = Sink()
        topics = [f"ticker:{symbol}" for symbol in sandbox.control.symbols[:5]]
        pool = make_pool(sandbox.url, sink, *topics)
        async with running(pool):
            await sandbox.control.wait_for_subscriptions(*topics)
            for _ in range(3):
                subscribe(pool, ALL)
                await until(lambda: loads(sandbox) == [1])
                unsubscribe(pool, ALL)
                await until(lambda: loads(sandbox) == [5])
            await stands_still(sandbox, sink, journal, topics)
        assert_exact(sink, journal, topics)
        assert pool.stats.sessions == 1


async def test_few_topics_left_on_many_sessions_are_gathered_without_a_hole() -> None:
    journal = Journal()
    async with SandboxExchange(pairs=40, rate=3000, journal=journal) as sandbox:
        sink = Sink()
        topics = [f"ticker:{symbol}" for symbol in sandbox.control.symbols]
        pool = make_pool(sandbox.url, sink, *topics, proof_s=0.2)
        async with running(pool):
            await sandbox.control.wait_for_subscriptions(*topics)
            kept = topics[::6]
            unsubscribe(pool, *(topic for topic in topics if topic not in kept))
            await until(lambda: loads(sandbox) == [len(kept)])
            await stands_still(sandbox, sink, journal, kept)
        assert_exact(sink, journal, kept)


async def test_of_the_wildcard_only_what_is_wanted_is_delivered(sandbox: SandboxExchange) -> None:
    sink = Sink()
    pool = make_pool(sandbox.url, sink, *singles(30), fold_from=20)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(ALL)
        push(sandbox, "ticker:OTHERUSDT", "1")
        push(sandbox, singles(30)[29], "1")
        await sink.until(lambda: sink.events)
        assert [topic for topic, _ in sink.events] == singles(1, start=29)
        assert loads(sandbox) == [1]
        subscribe(pool, ALL)
        push(sandbox, "ticker:OTHERUSDT", "2")
        await sink.until(lambda: len(sink.events) == 2)
    assert sink.events[1][0] == "ticker:OTHERUSDT"


async def test_a_wildcard_that_is_refused_in_the_middle_of_the_way_leaves_all_as_it_was(
    sandbox: SandboxExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink()
    pool = make_pool(sandbox.url, sink, *singles(15), fold_from=20)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(15))
        monkeypatch.setattr("agentexchange.testing._requests.ALL", None)  # no such channel
        subscribe(pool, *singles(21))
        await sandbox.control.wait_for_subscriptions(*singles(21))
        for topic in singles(21):
            push(sandbox, topic, "1")
        await sink.until(lambda: len(sink.events) == 21)
    assert not [status for status in sink.statuses if status.topic]


async def test_an_old_session_that_dies_in_the_middle_of_a_move_is_told(sandbox: SandboxExchange) -> None:
    """The new session serves the symbol already, but nothing shows that it did so when the old one fell silent."""
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(15), fold_from=20, time=time)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(15))
        push(sandbox, singles(1)[0], "1")
        await sink.until(lambda: sink.events)
        subscribe(pool, *singles(21))
        await sandbox.control.wait_for_subscriptions(ALL)
        await until(lambda: pool.holds(Topic.parse(singles(21)[20])))
        time.advance(0.5)
        old = next(one for one in sandbox.control.connections if singles(1)[0] in one.subscriptions)
        moving = old.subscriptions - {ALL}
        sandbox.control.drop(connection=old.id)
        await sink.until(lambda: any(sink.of(topic) for topic in moving))
    if ALL in old.subscriptions:
        return  # the wildcard shared the old session: no move, and the loss is told as any other
    for topic in moving:
        (told,) = sink.of(topic)
        assert (told.cause, told.state) == ("overlap", FeedState.LIVE)


async def test_a_new_session_that_dies_in_the_middle_of_a_move_costs_nothing(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(20), fold_from=20, time=time)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(20))
        subscribe(pool, *singles(21))
        await sandbox.control.wait_for_subscriptions(ALL)
        await until(lambda: pool.holds(Topic.parse(singles(21)[20])))
        sandbox.control.drop(connection=connection_of(sandbox, ALL))
        await sandbox.control.wait_for_no_subscriptions(ALL)
        push(sandbox, singles(1)[0], "1")
        await sink.until(lambda: sink.events)
        await time.until_asleep(1)
        time.advance(1)
        await sandbox.control.wait_for_subscriptions(ALL)
        push(sandbox, singles(1)[0], "2")
        await until(lambda: singles(1)[0] not in {t for one in sandbox.control.connections for t in one.subscriptions})
        push(sandbox, singles(1)[0], "3")
        await sink.until(lambda: len(sink.ticks(singles(1)[0])) == 3)
    assert [tick["price"] for tick in sink.ticks(singles(1)[0])] == ["1", "2", "3"]
    assert pool.stats.ambiguous == 0


async def test_a_quiet_symbol_moves_without_a_proof(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(20), fold_from=20, time=time, proof_s=2.0)
    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(20))
        subscribe(pool, *singles(21))
        await sandbox.control.wait_for_subscriptions(ALL)
        await time.until_asleep(2)
        assert len(loads(sandbox)) == 3
        time.advance(2)
        await until(lambda: loads(sandbox) == [1])
        push(sandbox, singles(1)[0], "1")
        await sink.until(lambda: sink.events)
    assert not [status for status in sink.statuses if status.topic]


async def test_equal_ticks_in_the_middle_of_a_move_are_counted_and_told(sandbox: SandboxExchange) -> None:
    sink, time = Sink(), Timeline()
    pool = make_pool(sandbox.url, sink, *singles(20), fold_from=20, time=time)
    topic = singles(1)[0]

    def push_equal() -> None:
        stamp = "2026-02-23T15:30:45.123Z"
        sandbox.control.push_tick(topic.removeprefix("ticker:"), price="1", timestamp=stamp)

    async with running(pool):
        await sandbox.control.wait_for_subscriptions(*singles(20))
        subscribe(pool, *singles(21))
        while not any(ALL in one.subscriptions for one in sandbox.control.connections):
            push_equal()
            await asyncio.sleep(0)
        push_equal()
        await until(lambda: topic not in {t for one in sandbox.control.connections for t in one.subscriptions})
        push(sandbox, topic, "2")
        await sink.until(lambda: sink.prices and sink.prices[-1] == "2")
    told = sink.of(topic)
    assert pool.stats.ambiguous == len(told) <= 1
    for status in told:
        assert (status.cause, status.state) == ("overlap", FeedState.LIVE)
        assert status.count is not None
        assert status.count > 0


async def test_six_hundred_symbols_over_sixty_sessions() -> None:
    async with SandboxExchange(pairs=600, rate=0) as sandbox:
        sink = Sink()
        topics = [f"ticker:{symbol}" for symbol in sandbox.control.symbols]
        pool = make_pool(sandbox.url, sink, *topics, max_sessions=60, fold_from=None)
        async with running(pool):
            await sandbox.control.wait_for_subscriptions(*topics, timeout=30)
            assert loads(sandbox) == [10] * 60
            for topic in topics:
                push(sandbox, topic, "1")
            await sink.until(lambda: len(sink.events) == 600)
        assert {topic for topic, _ in sink.events} == set(topics)

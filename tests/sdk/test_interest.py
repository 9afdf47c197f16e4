"""What a shared client tells Redis about what it wants, on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

import pytest
import redis

from agentexchange import AgentExchangeWS
from agentexchange._names import Identity
from agentexchange._shared.interest import InterestKeeper
from agentexchange._shared.options import SharedOptions
from agentexchange._urls import redis_url
from agentexchange.redis import RespStream
from agentexchange_bridge.acl import PASSWORD_PLACEHOLDER, crew_rule
from agentexchange_schemas import Interest, InterestChange, Layout, Topic, account_scope
from agentexchange_schemas.interest import MAX_INTEREST_TOPICS
from agentexchange_schemas.layout import checked_name
from tests.sdk._acked_client import group_member, position_holder
from tests.sdk._shared_client import KEY, SharedClient, eventually, no_wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests._servers import RedisServer
    from tests.sdk._layout_writer import LayoutWriter

pytestmark = pytest.mark.server
ACCOUNT = account_scope(KEY)
LAYOUT = Layout()
INDEX = LAYOUT.interest(ACCOUNT)


class Registry:
    """What Redis holds of one account's interest, and what was published about it."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        self._pubsub = self.client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(LAYOUT.control)
        self._pubsub.get_message(timeout=5)
        self.told: list[InterestChange] = []

    def clients(self) -> list[str]:
        return [member.decode() for member in self.client.zrange(INDEX, 0, -1)]

    def stored(self) -> Interest | None:
        for client in self.clients():
            fields = self.client.hgetall(LAYOUT.interest(ACCOUNT, client))
            if fields:
                return Interest.from_fields({name.decode(): value for name, value in fields.items()})
        return None

    def topics(self) -> set[str] | None:
        stored = self.stored()
        return None if stored is None else set(map(str, stored.topics))

    def versions(self) -> list[int]:
        """Of every message so far."""
        while (message := self._pubsub.get_message()) is not None:
            self.told.append(InterestChange.decode(message["data"]))
        return [change.version for change in self.told]

    def close(self) -> None:
        self._pubsub.close()
        self.client.close()


@pytest.fixture
def registry(redis_server: RedisServer) -> Iterator[Registry]:
    with contextlib.closing(Registry(redis_server.url)) as registry:
        yield registry


class Keeping:
    """A keeper on a connection of its own."""

    def __init__(self, url: str, *topics: str, name: str = "crew-7", **options: Any) -> None:
        self.url = url
        self.wanted = {Topic.parse(topic) for topic in topics}
        self.keeper = InterestKeeper(
            LAYOUT, ACCOUNT, Identity.of(name), self.wanted, SharedOptions(sleep=no_wait, **options)
        )

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[InterestKeeper]:
        """Keep over one connection, which is cut at the end."""
        stream = await RespStream.connect(redis_url(self.url))
        task = asyncio.create_task(self.keeper.keep(stream))
        try:
            yield self.keeper
        finally:
            stream.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_running_client_is_registered_and_leaves_nothing_behind(
    registry: Registry, writer: LayoutWriter, redis_server: RedisServer
) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT", "orders", client_name="crew-7")
    async with client.running():
        await eventually(lambda: registry.topics() == {"ticker:BTCUSDT", "orders"})
        stored, (name,) = registry.stored(), registry.clients()
        assert stored is not None
        assert (stored.name, stored.pid, stored.version) == ("crew-7", os.getpid(), 1)
        assert name.startswith("crew-7-")
        assert 0 < registry.client.pttl(LAYOUT.interest(ACCOUNT, name)) <= 15_000
        assert registry.client.pttl(INDEX) > 15_000
    assert registry.client.keys("ax:interest*") == []
    await eventually(lambda: registry.versions() == [1, 0])
    assert {change.account for change in registry.told} == {ACCOUNT}


async def test_a_change_is_written_at_once(registry: Registry, writer: LayoutWriter, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT")
    async with client.running():
        await eventually(lambda: registry.topics() == {"ticker:BTCUSDT"})
        client.transport.subscribe(Topic.ticker("ETHUSDT"))
        await eventually(lambda: registry.topics() == {"ticker:BTCUSDT", "ticker:ETHUSDT"})
        client.transport.unsubscribe(Topic.ticker("BTCUSDT"))
        await eventually(lambda: registry.topics() == {"ticker:ETHUSDT"})
    await eventually(lambda: registry.versions() == [1, 2, 3, 0])


async def test_many_changes_are_written_together(registry: Registry, redis_server: RedisServer) -> None:
    keeping = Keeping(redis_server.url)
    async with keeping.connected() as keeper:
        await eventually(lambda: registry.topics() == set())
        for number in range(200):
            keeping.wanted.add(Topic.ticker(f"P{number}"))
            keeper.changed()
        await eventually(lambda: len(registry.topics() or ()) == 200)
        assert registry.versions() == [1, 2]


async def test_it_is_renewed_while_the_client_lives_and_ends_when_it_died(
    registry: Registry, redis_server: RedisServer
) -> None:
    keeping = Keeping(redis_server.url, "ticker:BTCUSDT", interest_ttl_s=1.5)
    async with keeping.connected():
        await eventually(lambda: len(registry.versions()) >= 5)  # the first one would have ended by now
        assert registry.topics() == {"ticker:BTCUSDT"}
        assert set(registry.versions()) == {1}
    await eventually(lambda: registry.topics() is None)
    await eventually(lambda: registry.client.keys("ax:interest*") == [])


async def test_what_a_restarted_redis_has_forgotten_is_registered_again(
    registry: Registry, redis_server: RedisServer
) -> None:
    keeping = Keeping(redis_server.url, "ticker:BTCUSDT", interest_ttl_s=0.6)
    async with keeping.connected():
        await eventually(lambda: registry.topics() == {"ticker:BTCUSDT"})
        registry.client.flushall()
        await eventually(lambda: registry.topics() == {"ticker:BTCUSDT"})


async def test_a_lost_connection_is_followed_by_a_registration_at_a_random_moment(redis_server: RedisServer) -> None:
    waits: list[float] = []

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)
        await no_wait(delay_s)

    keeping = Keeping(redis_server.url)
    keeping.keeper._options = SharedOptions(sleep=sleep, random=lambda: 0.7)
    with contextlib.closing(Registry(redis_server.url)) as registry:
        async with keeping.connected():
            await eventually(lambda: registry.versions() == [1])
        assert 1.4 not in waits, "the first one does not wait"
        async with keeping.connected():
            await eventually(lambda: registry.versions() == [1, 1])
        assert 1.4 in waits


async def test_a_client_goes_on_after_redis_came_back(registry: Registry, redis_server: RedisServer) -> None:
    client = SharedClient(redis_server.url, "ticker:BTCUSDT", sleep=no_wait)
    async with client.running():
        await eventually(lambda: registry.topics() == {"ticker:BTCUSDT"})
        redis_server.restart()
        with contextlib.closing(Registry(redis_server.url)) as after:
            await eventually(lambda: after.topics() == {"ticker:BTCUSDT"})


async def test_members_that_are_long_gone_are_taken_out_of_the_set(
    registry: Registry, redis_server: RedisServer
) -> None:
    registry.client.zadd(INDEX, {"dead-1": 1_000_000_000, "alive-1": 4_000_000_000})
    async with Keeping(redis_server.url).connected():
        await eventually(lambda: "dead-1" not in registry.clients())
        assert len(registry.clients()) == 2


@pytest.mark.parametrize("make", [group_member, position_holder])
async def test_clients_that_acknowledge_register_too(
    make: Any, registry: Registry, account: LayoutWriter, redis_server: RedisServer
) -> None:
    async with make(redis_server.url).running():
        await eventually(lambda: registry.topics() == {"orders"})
    assert registry.clients() == []


async def test_a_group_member_is_called_the_same_everywhere(
    registry: Registry, account: LayoutWriter, redis_server: RedisServer
) -> None:
    async with group_member(redis_server.url, consumer="worker").running() as got:
        await eventually(lambda: registry.topics() == {"orders"})
        stored = registry.stored()
        assert stored is not None
        assert stored.name == "worker"
        await eventually(lambda: bool(registry.client.exists(f"{LAYOUT.log(ACCOUNT)}:retry:executors")))
        account.event("orders", {"order_id": "1", "status": "new"}, latest=False)
        await got.until(lambda got: got.ids == ["1"])
        consumers = registry.client.xinfo_consumers(LAYOUT.log(ACCOUNT), "executors")
        assert [who["name"].decode() for who in consumers] == registry.clients()


async def test_a_client_that_may_not_register_says_so_once_and_works(
    registry: Registry, writer: LayoutWriter, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    rights = "+@read +@connection +@pubsub -publish +hgetall %R~ax:{*}:* %R~ax:meta &ax:{*}:*"
    registry.client.execute_command("ACL", "SETUSER", "reader", "reset", "on", ">pw", *rights.split())
    url = redis_server.url.replace("://", "://reader:pw@")
    client = SharedClient(url, "ticker:BTCUSDT", interest_ttl_s=0.3)
    with caplog.at_level(logging.WARNING, "agentexchange.shared"):
        async with client.running() as got:
            await eventually(lambda: client.transport.stats()["interest_refused"] >= 3)
            writer.ticker("BTCUSDT", "1")
            await got.until(lambda got: got.prices == ["1"])
    (told,) = [record.message for record in caplog.records if "NOPERM" in record.message]
    assert "agentexchange acl" in told
    assert registry.client.keys("ax:interest*") == []


async def test_rights_that_are_given_later_are_used(registry: Registry, redis_server: RedisServer) -> None:
    registry.client.set(LAYOUT.interest(ACCOUNT, "x"), "")  # something else is there
    keeping = Keeping(redis_server.url, "orders", interest_ttl_s=0.3)
    registry.client.set(INDEX, "not a sorted set")
    async with keeping.connected() as keeper:
        await eventually(lambda: keeper.refused >= 2)
        registry.client.delete(INDEX)
        await eventually(lambda: registry.topics() == {"orders"})


async def test_a_client_with_too_many_topics_registers_the_most(
    registry: Registry, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    keeping = Keeping(redis_server.url, *(f"ticker:P{number}" for number in range(MAX_INTEREST_TOPICS + 2)))
    async with keeping.connected():
        await eventually(lambda: len(registry.topics() or ()) == MAX_INTEREST_TOPICS)
    assert "registers 5000" in caplog.text


@pytest.mark.parametrize("label", [None, "crew-7", "x" * 64])
def test_every_client_has_a_name_of_its_own(label: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "-größe.example " + "x" * 100)
    one, other = Identity.of(label), Identity.of(label)
    assert one.name == other.name == (label or one.name)
    assert one.unique != other.unique
    for name in (one.unique, one.host, one.name):
        assert checked_name(name, "client") == name


def test_a_bad_client_name_is_refused_in_words() -> None:
    for url in ("redis://localhost:1", "ws://localhost:1"):
        with pytest.raises(ValueError, match="client_name 'a b' is not valid"):
            AgentExchangeWS("ak_live_x", url, client_name="a b")
    with pytest.raises(ValueError, match="give one of them"):
        AgentExchangeWS("ak_live_x", "redis://localhost:1", group="g", consumer="c", client_name="d")


async def test_a_crews_rule_lets_a_client_register_and_write_nothing_else(
    registry: Registry, writer: LayoutWriter, redis_server: RedisServer
) -> None:
    rights = crew_rule("ax", [ACCOUNT]).replace(PASSWORD_PLACEHOLDER, "pw").split()
    registry.client.execute_command("ACL", "SETUSER", "crew", *rights)  # type: ignore[no-untyped-call]
    url = redis_server.url.replace("://", "://crew:pw@")
    client = SharedClient(url, "ticker:BTCUSDT", interest_ttl_s=1.5)
    async with client.running() as got:
        await eventually(lambda: len(registry.versions()) >= 5)
        assert registry.topics() == {"ticker:BTCUSDT"}
        writer.ticker("BTCUSDT", "1")
        await got.until(lambda got: got.prices == ["1"])
    assert client.transport.stats()["interest_refused"] == 0
    assert registry.clients() == []
    other = LAYOUT.interest("a-" + "0" * 32)
    with redis.Redis.from_url(url) as crew:
        for command in (
            ("PUBLISH", "ax:{m0}:ticker:BTCUSDT", "x"),
            ("HSET", f"{other}:x", "topics", "orders"),
            ("ZADD", other, 1, "x"),
            ("DEL", "ax:{m0}:latest:ticker:BTCUSDT"),
            ("ZADD", LAYOUT.interests, 1, ACCOUNT),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                crew.execute_command(*command)  # type: ignore[no-untyped-call]

"""Who wants what: renewals, changes, expiry, grace and bounds, without any I/O or clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentexchange_bridge.interest import Client, Found, InterestLimits, InterestTable
from agentexchange_schemas.interest import LEAVES
from tests.bridge.interest._clients import ACCOUNT, account, found, message, topics

if TYPE_CHECKING:
    from agentexchange_schemas import Topic

TTL_S = 15.0
GRACE_S = 30.0
ONE, OTHER = Client(ACCOUNT, "one"), Client(ACCOUNT, "other")


class Faults(list[tuple[str, str]]):
    def tell(self, kind: str, text: str) -> None:
        self.append((kind, text))


def make(faults: Faults | None = None, **limits: int) -> InterestTable:
    told = Faults() if faults is None else faults
    return InterestTable(grace_s=GRACE_S, tell=told.tell, limits=InterestLimits(**limits))


def register(table: InterestTable, client: Client, *texts: str, version: int = 1, now: float = 0.0) -> None:
    """Hear of a client and read it."""
    table.heard(message(client, version), now)
    assert client in table.next_reads(100)
    table.took(found(client, *texts, version=version), now)


def test_a_client_that_registers_is_read_and_its_market_topics_are_wanted() -> None:
    table = make()
    register(table, ONE, "ticker:BTCUSDT", "candles:BTCUSDT:1m", "orders")
    assert table.wanted == topics("ticker:BTCUSDT", "candles:BTCUSDT:1m")
    assert (table.stats.clients, table.stats.topics, table.stats.reads) == (1, 2, 1)
    assert table.accounts == [ACCOUNT]


def test_a_renewal_is_not_read() -> None:
    table = make()
    register(table, ONE, "ticker:BTCUSDT")
    for now in (5.0, 10.0, 20.0, 30.0):
        table.heard(message(ONE, 1), now)
        table.expire(now)
    assert not table.has_unread
    assert table.stats.clients == 1


def test_a_new_version_is_read_and_the_old_one_is_no_renewal() -> None:
    table = make()
    register(table, ONE, "ticker:BTCUSDT")
    register(table, ONE, "ticker:ETHUSDT", version=2, now=1.0)
    table.heard(message(ONE, 1), 2.0)
    assert table.next_reads(10) == [ONE]


def test_a_topic_stays_for_the_grace_time_after_its_last_client() -> None:
    table = make()
    register(table, ONE, "ticker:BTCUSDT", "ticker:ETHUSDT")
    register(table, OTHER, "ticker:BTCUSDT")
    table.heard(message(OTHER, 1), 10.0)
    table.expire(TTL_S)
    assert table.wanted == topics("ticker:BTCUSDT", "ticker:ETHUSDT"), "one is gone, and its topics have their grace"
    table.heard(message(OTHER, 1), 20.0)
    table.heard(message(OTHER, 1), 30.0)
    table.expire(TTL_S + GRACE_S - 1)
    table.heard(message(OTHER, 1), 44.0)
    assert len(table.wanted) == 2
    table.expire(TTL_S + GRACE_S)
    assert table.wanted == topics("ticker:BTCUSDT")


def test_a_topic_that_is_wanted_again_in_its_grace_time_has_never_changed() -> None:
    table = make()
    register(table, ONE, "ticker:BTCUSDT")
    before = table.wanted
    register(table, ONE, version=2, now=1.0)
    register(table, ONE, "ticker:BTCUSDT", version=3, now=2.0)
    table.heard(message(ONE, 3), 20.0)
    table.expire(32.0)
    assert table.wanted is before


def test_a_client_that_says_it_leaves_is_read_so_that_nobody_can_say_it_for_it() -> None:
    table = make()
    register(table, ONE, "ticker:BTCUSDT")
    table.heard(message(ONE, LEAVES), 1.0)
    assert table.next_reads(10) == [ONE]
    table.took(found(ONE, "ticker:BTCUSDT"), 1.0)
    assert table.stats.clients == 1, "it was somebody else who said so"
    table.heard(message(ONE, LEAVES), 2.0)
    table.next_reads(10)
    table.took(Found(ONE), 2.0)
    assert table.stats.clients == 0
    table.heard(message(ONE, LEAVES), 3.0)
    assert not table.has_unread, "of one that is not known there is nothing to read"


def test_a_read_that_was_overtaken_by_a_message_is_let_go() -> None:
    table = make()
    table.heard(message(ONE, 1), 0.0)
    assert table.next_reads(10) == [ONE]
    table.heard(message(ONE, 2), 0.1)
    table.took(found(ONE, "ticker:OLDUSDT"), 0.2)
    assert table.wanted == topics()
    assert table.next_reads(10) == [ONE]
    table.took(found(ONE, "ticker:NEWUSDT", version=2), 0.3)
    assert table.wanted == topics("ticker:NEWUSDT")


def test_a_client_lives_as_long_as_the_server_says() -> None:
    table = make()
    table.look_at([ONE])
    table.next_reads(10)
    table.took(found(ONE, "ticker:BTCUSDT", left_s=4.0), 100.0)
    table.expire(103.9)
    assert table.stats.clients == 1
    table.expire(104.0)
    assert table.stats.clients == 0


def test_after_an_outage_everybody_has_a_whole_life_to_renew() -> None:
    table = make()
    register(table, ONE, "ticker:BTCUSDT")
    table.resumed(1000.0)
    table.expire(1000.0 + TTL_S - 1)
    assert table.stats.clients == 1
    table.expire(1000.0 + TTL_S)
    assert table.stats.clients == 0


def test_reads_come_in_parts() -> None:
    table = make()
    clients = [Client(ACCOUNT, f"c{number}") for number in range(7)]
    table.look_at(clients)
    assert table.next_reads(5) == clients[:5]
    assert table.next_reads(5) == clients[5:]
    assert table.next_reads(5) == []


@pytest.mark.parametrize(
    ("junk", "kind"),
    [(b"hello", "message"), (f"{ACCOUNT} one x".encode(), "message"), (b"\xff" * 10_000, "message")],
)
def test_junk_is_counted_and_told_once(junk: bytes, kind: str) -> None:
    faults = Faults()
    table = make(faults)
    for _ in range(3):
        table.heard(junk, 0.0)
    assert table.stats.junk == {kind: 3}
    assert [told for told, _ in faults] == [kind]
    assert not table.has_unread


def test_a_hash_that_turns_into_junk_ends_its_client() -> None:
    faults = Faults()
    table = make(faults)
    register(table, ONE, "ticker:BTCUSDT")
    table.heard(message(ONE, 2), 1.0)
    table.next_reads(10)
    table.took(Found(ONE, fault="topics is missing"), 1.0)
    assert table.stats.clients == 0
    assert faults == [("hash", f"{ACCOUNT} one: topics is missing")]


def test_an_account_has_so_many_clients_and_no_more() -> None:
    faults = Faults()
    table = make(faults, clients=2)
    register(table, Client(ACCOUNT, "a"), "ticker:A")
    register(table, Client(ACCOUNT, "b"), "ticker:B")
    table.heard(message(Client(ACCOUNT, "c"), 1), 0.0)
    assert not table.has_unread
    register(table, Client(account(7), "c"), "ticker:C")
    assert faults[0][0] == "clients"
    table.look_at([Client(ACCOUNT, "d")])  # as a full read does
    table.next_reads(10)
    table.took(found(Client(ACCOUNT, "d"), "ticker:D"), 0.0)
    assert table.wanted == topics("ticker:A", "ticker:B", "ticker:C")


def test_there_are_so_many_accounts_and_no_more() -> None:
    faults = Faults()
    table = make(faults, accounts=1)
    register(table, ONE, "ticker:BTCUSDT")
    table.heard(message(Client(account(7), "x"), 1), 0.0)
    assert not table.has_unread
    assert faults[0][0] == "accounts"
    register(table, OTHER, "ticker:BTCUSDT")


def test_what_waits_to_be_read_is_bounded() -> None:
    faults = Faults()
    table = make(faults, unread=2)
    for number in range(4):
        table.heard(message(Client(ACCOUNT, f"c{number}"), 1), 0.0)
    assert len(table.next_reads(10)) == 2
    assert table.stats.junk == {"unread": 2}


def test_topics_beyond_the_bound_wait_for_room() -> None:
    faults = Faults()
    table = make(faults, topics=2)
    register(table, ONE, "ticker:A", "ticker:B")
    register(table, OTHER, "ticker:A", "ticker:C")
    assert table.wanted == topics("ticker:A", "ticker:B"), "what was there first stays"
    assert faults[0][0] == "topics"
    register(table, ONE, "ticker:A", version=2, now=1.0)
    table.heard(message(OTHER, 1), GRACE_S)
    table.expire(GRACE_S + 1)
    register(table, OTHER, "ticker:A", "ticker:C", now=GRACE_S + 2)  # its renewal is looked at
    assert table.wanted == topics("ticker:A", "ticker:C")
    table.heard(message(OTHER, 1), GRACE_S + 3)
    assert not table.has_unread


@dataclass
class Expected:
    """A client as a plain reference keeps it."""

    version: int
    topics: frozenset[Topic]
    until: float
    heard: bool = field(default=True)


CLIENTS = [Client(account(number // 2), f"c{number}") for number in range(4)]
TOPICS = ["ticker:A", "ticker:B", "candles:A:1m", "orders"]


class TableIsLikeItsReference(RuleBasedStateMachine):
    """Any order of registrations, changes, renewals, ends and passing time."""

    def __init__(self) -> None:
        super().__init__()
        self.table = make()
        self.now = 0.0
        self.versions = dict.fromkeys(CLIENTS, 0)
        self.clients: dict[Client, Expected] = {}
        self.last_wanted: dict[Topic, float] = {}

    @rule(client=st.sampled_from(CLIENTS), chosen=st.sets(st.sampled_from(TOPICS)))
    def writes(self, client: Client, chosen: set[str]) -> None:
        self.versions[client] += 1
        version = self.versions[client]
        self.clients[client] = Expected(version, topics(*chosen) - topics("orders"), self.now + TTL_S)
        register(self.table, client, *chosen, version=version, now=self.now)

    @rule(client=st.sampled_from(CLIENTS))
    def renews(self, client: Client) -> None:
        if (known := self.clients.get(client)) is not None:
            known.until = self.now + TTL_S
            self.table.heard(message(client, known.version), self.now)

    @rule(client=st.sampled_from(CLIENTS))
    def leaves(self, client: Client) -> None:
        if self.clients.pop(client, None) is not None:
            self.table.heard(message(client, LEAVES), self.now)
            assert self.table.next_reads(10) == [client]
            self.table.took(Found(client), self.now)

    @rule(seconds=st.floats(0.5, 20.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.table.expire(self.now)
        for client in [client for client, known in self.clients.items() if known.until <= self.now]:
            del self.clients[client]

    @invariant()
    def wanted_is_what_clients_want_or_wanted_lately(self) -> None:
        now_wanted = frozenset().union(*(known.topics for known in self.clients.values()))
        for topic in self.last_wanted.keys() - now_wanted:
            if self.last_wanted[topic] == float("inf"):
                self.last_wanted[topic] = self.now
        self.last_wanted.update(dict.fromkeys(now_wanted, float("inf")))
        lately = {topic for topic, since in self.last_wanted.items() if self.now < since + GRACE_S}
        assert self.table.wanted == lately
        assert self.table.stats.clients == len(self.clients)
        assert set(self.table.accounts) == {client.account for client in self.clients}


TestTableIsLikeItsReference = TableIsLikeItsReference.TestCase
TestTableIsLikeItsReference.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

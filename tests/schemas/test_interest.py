"""What a client wants: hash and message round trips, and one documented error for everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_schemas import Interest, InterestChange, InterestError, Layout, LayoutError, Topic
from agentexchange_schemas.interest import FIELD_BYTES, LEAVES, MAX_INTEREST_TOPICS

from .test_topics import topics

ACCOUNT = "a-" + "0" * 32
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
interests = st.builds(
    Interest,
    name=names,
    host=names,
    pid=st.integers(0, 2**31 - 1),
    topics=st.frozensets(topics, max_size=20),
    since_us=st.integers(0, 10**16 - 1),
    ttl_ms=st.integers(1, 600_000),
    version=st.integers(1, 2**31 - 1),
)
changes = st.builds(
    InterestChange,
    account=st.from_regex("a-[0-9a-f]{32}", fullmatch=True),
    client=names,
    version=st.one_of(st.just(LEAVES), st.integers(1, 2**31 - 1)),
)
ONE = Interest("crew-7", "trader-1", 4711, frozenset({Topic.ticker("BTCUSDT")}), 1_795_341_318_742_000, 15_000, 3)


def stored(interest: Interest) -> dict[str, bytes | None]:
    return {field: text.encode() for field, text in interest.to_fields().items()}


@given(interests)
def test_a_hash_is_a_round_trip_within_its_bounds(interest: Interest) -> None:
    fields = stored(interest)
    assert Interest.from_fields(fields) == interest
    assert all(len(value or b"") <= FIELD_BYTES[field] for field, value in fields.items())


@given(changes)
def test_a_message_is_a_round_trip(change: InterestChange) -> None:
    assert InterestChange.decode(change.encode()) == change


def test_the_documented_forms() -> None:
    assert ONE.to_fields() == {
        "name": "crew-7",
        "host": "trader-1",
        "pid": "4711",
        "topics": "ticker:BTCUSDT",
        "since": "1795341318742000",
        "ttl": "15000",
        "version": "3",
    }
    assert InterestChange(ACCOUNT, "crew-7-3fa9c1", 3).encode() == f"{ACCOUNT} crew-7-3fa9c1 3".encode()


def test_a_client_that_wants_nothing_is_one_too() -> None:
    nothing = Interest("a", "b", 1, frozenset(), 1, 1, 1)
    assert Interest.from_fields(stored(nothing)) == nothing


def test_the_most_topics_fit() -> None:
    longest = frozenset(Topic.candles(f"{number:032d}", "15m") for number in range(MAX_INTEREST_TOPICS))
    most = Interest("a", "b", 1, longest, 1, 1, 1)
    assert Interest.from_fields(stored(most)) == most
    with pytest.raises(InterestError, match="5000 at most"):
        Interest("a", "b", 1, longest | {Topic.orders()}, 1, 1, 1)


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert Interest.from_fields(stored(ONE) | {"mood": b"good"}) == ONE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", b""),
        ("name", "größe".encode()),
        ("host", b"a host"),
        ("host", b"x" * 65),
        ("pid", b"-1"),
        ("pid", b"9999999999"),
        ("topics", None),
        ("topics", b"ticker:BTCUSDT  orders"),
        ("topics", b"ticker:{m0}"),
        ("topics", b"\xff\xfe"),
        ("topics", b"candles:BTCUSDT:2m"),
        ("topics", b"x" * 300_000),
        ("since", b"yesterday"),
        ("ttl", b"0"),
        ("ttl", b"700000"),
        ("version", b"0"),
        ("version", b"03"),
        ("version", b"4294967296"),
        ("version", "٣".encode()),
    ],
)
def test_a_malformed_field_is_named(field: str, value: bytes | None) -> None:
    with pytest.raises(InterestError) as caught:
        Interest.from_fields(stored(ONE) | {field: value})
    assert caught.value.field == field
    assert len(str(caught.value)) < 300


@given(st.dictionaries(st.sampled_from(list(FIELD_BYTES)), st.one_of(st.none(), st.binary(max_size=40))))
def test_junk_in_a_hash_is_the_documented_error(junk: dict[str, bytes | None]) -> None:
    try:
        Interest.from_fields(stored(ONE) | junk)
    except InterestError as exc:
        assert exc.field in FIELD_BYTES


@given(st.one_of(st.binary(max_size=200), changes.map(InterestChange.encode).map(lambda data: data[:-1])))
def test_a_message_is_read_as_written_or_refused(data: bytes) -> None:
    try:
        change = InterestChange.decode(data)
    except InterestError as exc:
        assert exc.field == "message"
    else:
        assert change.encode() == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        f"{ACCOUNT} crew".encode(),
        f"{ACCOUNT} crew 1 2".encode(),
        f"{ACCOUNT} crew 01".encode(),
        f"{ACCOUNT} crew -1".encode(),
        f"{ACCOUNT} crew 1\n".encode(),
        f"{ACCOUNT} crew 9999999999".encode(),
        f"{ACCOUNT} :crew 1".encode(),
        f"{ACCOUNT.upper()} crew 1".encode(),
        b"m0 crew 1",
        b"x" * 1_000_000,
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(InterestError, match="<a-id> <client> <version>") as caught:
        InterestChange.decode(data)
    assert len(str(caught.value)) < 700


def test_a_message_that_nobody_could_read_is_not_made() -> None:
    with pytest.raises(InterestError):
        InterestChange(ACCOUNT, "a b", 1).encode()


@given(names)
def test_a_clients_names_belong_to_its_account(client: str) -> None:
    assert Layout().interest(ACCOUNT, client) == f"{Layout().interest(ACCOUNT)}:{client}"


@pytest.mark.parametrize("client", ["", "*", "a b", "a:b", "{m0}", "x" * 65, "-a", "ü"])
def test_a_clients_name_is_checked(client: str) -> None:
    with pytest.raises(LayoutError, match="client"):
        Layout().interest(ACCOUNT, client)

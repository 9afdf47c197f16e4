"""Names in Redis: the documented ones, in one slot per scope, never with anything hostile in them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_schemas import Layout, LayoutError, Topic, account_scope

from .test_topics import symbols

ACCOUNT = "a-" + "0" * 32


def test_the_documented_names() -> None:
    ax = Layout()
    assert ax.meta == "ax:meta"
    assert ax.channel("m0", "ticker:BTCUSDT") == "ax:{m0}:ticker:BTCUSDT"
    assert ax.latest("m0", "candles:BTCUSDT:1m") == "ax:{m0}:latest:candles:BTCUSDT:1m"
    assert ax.latest(ACCOUNT, "orders", "ord-1") == f"ax:{{{ACCOUNT}}}:latest:orders:ord-1"
    assert ax.latest(ACCOUNT, "orders") == f"ax:{{{ACCOUNT}}}:latest:orders"
    assert [ax.log("m0"), ax.candle_log("m0"), ax.lease("m0"), ax.epoch("m0"), ax.seq("m0"), ax.status("m0")] == [
        f"ax:{{m0}}:{name}" for name in ("log", "log:candles", "lease", "epoch", "seq", "status")
    ]
    assert ax.candle_state("m0") == "ax:{m0}:candle-state"
    assert ax.interest(ACCOUNT, "c1") == f"ax:interest:{ACCOUNT}:c1"
    assert (ax.workers, ax.control, ax.interests) == ("ax:workers", "ax:control", "ax:interests")


def test_an_account_scope_is_a_hash_and_nothing_else() -> None:
    assert account_scope("ak_live_x") == "a-" + hashlib.sha256(b"ak_live_x").hexdigest()[:32]


@pytest.mark.parametrize("order_id", ["", "a b", "{x}", "a:b", "ü", "x" * 65, "a\n"])
def test_an_unusual_order_id_is_hashed(order_id: str) -> None:
    key = Layout().latest(ACCOUNT, "orders", order_id)
    assert key.endswith(hashlib.sha256(order_id.encode()).hexdigest()[:32])


@pytest.mark.parametrize("prefix", ["", "AX", "a{b", "a:b", "a b", "x" * 33, "-a"])
def test_a_prefix_is_checked(prefix: str) -> None:
    with pytest.raises(LayoutError, match="prefix"):
        Layout(prefix)


@pytest.mark.parametrize("scope", ["", "m", "m01", "m-1", "x0", "a-xyz", "a-" + "0" * 31, "m0}:x", ACCOUNT.upper()])
def test_a_scope_is_checked(scope: str) -> None:
    with pytest.raises(LayoutError, match="scope"):
        Layout().log(scope)


@pytest.mark.parametrize("partitions", [0, -1, 1025])
def test_partitions_are_bounded(partitions: int) -> None:
    with pytest.raises(LayoutError, match="partitions"):
        Layout(partitions=partitions)


@given(symbols, st.integers(1, 64))
def test_a_symbol_has_one_partition(symbol: str, partitions: int) -> None:
    layout = Layout(partitions=partitions)
    assert layout.market_scope(symbol) in layout.market_scopes
    assert layout.scopes_of(Topic.ticker(symbol)) == layout.scopes_of(Topic.candles(symbol, "1m"))


def test_partitioning_is_crc16_xmodem() -> None:
    # "123456789" -> 0x31C3 is the check value of CRC-16/XMODEM
    assert Layout(partitions=1024).market_scope("123456789") == f"m{0x31C3 % 1024}"


def test_the_wildcard_lives_in_every_partition() -> None:
    assert Layout(partitions=3).scopes_of(Topic.ticker("all")) == ("m0", "m1", "m2")


def test_a_private_topic_needs_an_account() -> None:
    assert Layout().scopes_of(Topic.orders(), ACCOUNT) == (ACCOUNT,)
    with pytest.raises(LayoutError, match="account"):
        Layout().scopes_of(Topic.orders())

"""The control object: frames, faults, observations, waits."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.testing import JournalEntry, SandboxExchange
from tests.sdk.testing._bare import KEY, bare

if TYPE_CHECKING:
    from agentexchange.testing import SandboxControl

pytestmark = pytest.mark.sandbox_exchange(rate=0, pairs=5)


async def test_push_takes_anything(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with bare(sandbox_exchange.url) as client:
        await control.wait_for_connections(1)
        control.push({"channel": 5})
        control.push("[1,2")
        control.push(b"\xff\xfe broken")
        control.push(b"\x00\x01", binary=True)
        control.push("text", binary=True)
        assert await client.socket.recv() == '{"channel":5}'
        assert await client.socket.recv() == "[1,2"
        assert await client.socket.recv(decode=False) == b"\xff\xfe broken"
        assert await client.socket.recv() == b"\x00\x01"
        assert await client.socket.recv() == b"text"
        assert control.frames_sent == {"pushed": 5}


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
async def test_frames_of_every_length_class(sandbox_exchange: SandboxExchange, size: int) -> None:
    async with bare(sandbox_exchange.url) as client:
        await sandbox_exchange.control.wait_for_connections(1)
        sandbox_exchange.control.push_order({"order_id": "x" * size})
        assert (await client.next())["data"]["order_id"] == "x" * size


@pytest.mark.sandbox_exchange(api_keys=("ak_a", "ak_b"))
async def test_actions_can_be_narrowed(sandbox_exchange: SandboxExchange) -> None:
    control, url = sandbox_exchange.control, sandbox_exchange.url
    async with bare(url, key="ak_a") as one, bare(url, key="ak_a") as two, bare(url, key="ak_b") as three:
        await control.wait_for_connections(3)
        assert [(info.id, info.api_key) for info in control.connections] == [(1, "ak_a"), (2, "ak_a"), (3, "ak_b")]
        control.push({"to": 2}, connection=2)
        control.push({"to": "b"}, api_key="ak_b")
        assert await two.next() == {"to": 2}
        assert await three.next() == {"to": "b"}
        await one.proves_silent()
        assert control.drop(code=4001, api_key="ak_b") == 1
        assert await three.close_code() == 4001
        await control.wait_for_connections(2)
        assert control.drop(connection=99) == 0


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4401])
async def test_drop_with_a_close_code(sandbox_exchange: SandboxExchange, code: int) -> None:
    async with bare(sandbox_exchange.url) as client:
        await sandbox_exchange.control.wait_for_connections(1)
        assert sandbox_exchange.control.drop(code=code) == 1
        assert await client.close_code() == code
        await sandbox_exchange.control.wait_for_connections(0)


async def test_drop_cuts_the_connection(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await sandbox_exchange.control.wait_for_connections(1)
        sandbox_exchange.control.drop()
        assert await client.close_code() == 1006


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015, 2999, 5000])
async def test_codes_that_cannot_be_sent(sandbox_exchange: SandboxExchange, code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        sandbox_exchange.control.drop(code=code)


async def test_nothing_is_sent_after_a_drop(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker_all")
        sandbox_exchange.control.drop(code=1001)
        sandbox_exchange.control.tick(5)
        sandbox_exchange.control.push({"late": True})
        assert await client.close_code() == 1001
    assert sandbox_exchange.control.frames_sent == {"ack": 1}


@pytest.mark.sandbox_exchange(rate=2000, heartbeat_interval=0.01)
async def test_stalled_the_market_stops_and_pings_go_on(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with bare(sandbox_exchange.url) as client:
        await client.send({"action": "subscribe", "channel": "ticker_all"})
        await control.wait_for_frames("tick", 10)
        control.stall()
        before = control.frames_sent["tick"]
        await control.wait_for_frames("ping", control.frames_sent.get("ping", 0) + 3)
        assert control.frames_sent["tick"] == before
        control.push_tick("BTCUSDT", price="1")
        assert control.frames_sent["tick"] == before + 1
        control.unstall()
        await control.wait_for_frames("tick", before + 10)


async def test_rates_change_while_running(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker_all")
        control.set_rate(5000)
        control.set_order_rate(1000)
        await control.wait_for_frames("tick", 100)
        await control.wait_for_frames("order", 20)
        await control.wait_for_frames("portfolio", 1)
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match="rate"):
                control.set_rate(wrong)


async def test_orders_step_by_step_with_portfolios_after_fills(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with bare(sandbox_exchange.url) as client:
        await control.wait_for_connections(1)
        control.step_orders(60)
        control.send_portfolio()
        frames = [await client.next() for _ in range(sum(control.frames_sent.values()))]
    for frame, after in pairwise(frames):
        if frame["channel"] == "orders":
            fill = frame["data"]["status"] in ("filled", "partially_filled")
            assert (after["channel"] == "portfolio") == fill or after is frames[-1]
    assert frames[-1]["channel"] == "portfolio"
    assert set(frames[-1]["data"]) == {
        "total_equity",
        "available_cash",
        "unrealized_pnl",
        "realized_pnl",
        "timestamp",
    }


async def test_observations(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("orders")
        await client.subscribe("nonsense")
        await client.send({"action": "pong"})
        await control.wait_for_pongs(1)
        (info,) = control.connections
        assert info.subscriptions == {"orders"}
        assert (info.requests, info.pongs, info.frames_sent) == (3, 1, {"ack": 1, "error": 1})
        assert (control.requests, control.pongs, control.connections_total) == (3, 1, 1)
    await control.wait_for_connections(0)
    assert control.symbols[0] == "BTCUSDT"
    assert len(control.symbols) == 5


async def test_waits_return_when_it_happens(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    waits = [
        control.wait_for_connections(1),
        control.wait_for_connections_total(1),
        control.wait_for_subscriptions("orders", "ticker:BTCUSDT"),
        control.wait_for_requests(2),
        control.wait_for_frames("ack", 2),
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait) for wait in waits]
        async with bare(sandbox_exchange.url) as client:
            await client.subscribe("orders")
            assert not tasks[2].done()
            await client.subscribe("ticker", symbol="BTCUSDT")
            await control.wait_for_no_subscriptions("portfolio")
            gone = group.create_task(control.wait_for_no_subscriptions("orders"))
            await client.unsubscribe("orders")
            await gone


@pytest.mark.parametrize("wait", ["wait_for_connections", "wait_for_refusals", "wait_for_requests", "wait_for_pongs"])
async def test_a_wait_that_ends_in_vain_says_for_what(sandbox_exchange: SandboxExchange, wait: str) -> None:
    with pytest.raises(TimeoutError, match="7 "):
        await getattr(sandbox_exchange.control, wait)(7, timeout=0.01)


async def test_the_limit_changes_and_what_is_held_stays(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("orders")
        await client.subscribe("portfolio")
        sandbox_exchange.control.set_subscription_limit(1)
        assert (await client.subscribe("ticker_all"))["code"] == "SUBSCRIPTION_LIMIT"
        sandbox_exchange.control.set_subscription_limit(None)
        for number in range(12):
            assert (await client.subscribe("ticker", symbol=f"S{number}"))["type"] == "subscribed"


async def journal_of(*, seed: int) -> list[JournalEntry]:
    sent: list[JournalEntry] = []
    async with (
        SandboxExchange(rate=0, pairs=50, seed=seed, clock=lambda: 1.0, journal=sent.append) as exchange,
        bare(exchange.url) as first,
        bare(exchange.url) as second,
    ):
        await exchange.control.wait_for_connections(2)
        await first.subscribe("ticker_all")
        await first.subscribe("ticker", symbol="ETHUSDT")
        await second.subscribe("ticker", symbol="BTCUSDT")
        exchange.control.tick(300)
        exchange.control.step_orders(20)
        exchange.control.push(b"junk", connection=2)
        await check_receipts(exchange.control, sent, {1: first, 2: second})
    return sent


async def check_receipts(control: SandboxControl, sent: list[JournalEntry], clients: dict[int, Any]) -> None:
    for number, client in clients.items():
        expected = [entry.payload for entry in sent for receiver in entry.connections if receiver == number]
        assert [await client.socket.recv(decode=False) for _ in expected] == expected
        await client.proves_silent()
    assert len(control.connections) == len(clients)


async def test_the_journal_has_what_each_connection_got_in_order() -> None:
    sent = await journal_of(seed=3)
    eth = [entry for entry in sent if entry.topic == "ticker:ETHUSDT"]
    assert eth
    assert {entry.connections for entry in eth} == {(1, 1)}
    assert {entry.connections for entry in sent if entry.topic == "ticker:BTCUSDT"} == {(1, 2)}
    assert {entry.kind for entry in sent} == {"tick", "order", "portfolio", "pushed"}
    assert sent[-1] == JournalEntry("pushed", "", b"junk", (2,))


async def test_same_seed_and_clock_same_bytes() -> None:
    assert await journal_of(seed=3) == await journal_of(seed=3)
    assert await journal_of(seed=3) != await journal_of(seed=4)


async def test_a_pushed_tick_moves_the_market(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker", symbol="BTCUSDT")
        sandbox_exchange.control.push_tick("BTCUSDT", price="100.00")
        sandbox_exchange.control.tick(50)
        prices = [float((await client.next())["data"]["price"]) for _ in range(5)]
        assert prices[0] == 100
        assert all(99 < price < 101 for price in prices)


async def test_a_tick_of_no_pair_goes_to_its_subscribers(sandbox_exchange: SandboxExchange) -> None:
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("ticker", symbol='ODD"ONE')
        sandbox_exchange.control.push_tick('ODD"ONE', price="not a price", quantity="x")
        frame = json.loads(await client.raw())
        assert (frame["symbol"], frame["data"]["price"]) == ('ODD"ONE', "not a price")
        assert KEY not in repr(frame)

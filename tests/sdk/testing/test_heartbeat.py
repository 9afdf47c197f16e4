"""Pings, pongs, and what happens without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sdk.testing._bare import bare, error

if TYPE_CHECKING:
    from agentexchange.testing._server import LocalExchange

pytestmark = pytest.mark.sandbox_exchange(rate=0, pairs=3)
SOON = 0.05


@pytest.mark.sandbox_exchange(heartbeat_interval=0.01)
async def test_pings_come_at_the_interval_in_the_exact_form(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        for number in range(3):
            assert await client.raw() == '{"type":"ping"}'
            await client.send({"action": "pong"})
            await exchange.control.wait_for_pongs(number + 1)


def deadlines(exchange: LocalExchange) -> list[bool]:
    """Whether each connection, oldest first, still owes an answer."""
    return [session._deadline is not None for session in exchange._hub.sessions.values()]


@pytest.mark.parametrize(
    "pong", [{"action": "pong"}, {"type": "pong", "action": "pong"}, {"action": "pong", "id": 3, "symbol": 4}]
)
async def test_a_valid_pong_is_an_answer_for_its_connection_alone(
    exchange: LocalExchange, pong: dict[str, object]
) -> None:
    control = exchange.control
    async with bare(exchange.url) as client, bare(exchange.url):
        await control.wait_for_connections(2)
        control.ping()
        assert await client.next() == {"type": "ping"}
        assert deadlines(exchange) == [True, True]
        await client.send(pong)
        await control.wait_for_pongs(1)
        assert deadlines(exchange) == [False, True]
        assert [info.pongs for info in control.connections] == [1, 0]
        await client.proves_silent()


async def test_nothing_else_is_an_answer(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        await exchange.control.wait_for_connections(1)
        exchange.control.ping()
        assert await client.next() == {"type": "ping"}
        assert await client.ask({"type": "pong"}) == error("UNKNOWN_ACTION")  # the page's own form
        assert (await client.subscribe("orders"))["type"] == "subscribed"
        assert deadlines(exchange) == [True]
        assert exchange.control.pongs == 0


@pytest.mark.sandbox_exchange(pong_timeout=SOON)
async def test_without_an_answer_the_connection_is_closed_with_1000(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        await exchange.control.wait_for_connections(1)
        exchange.control.ping()
        assert await client.next() == {"type": "ping"}
        assert await client.close_code() == 1000


@pytest.mark.sandbox_exchange(pong_timeout=2.0)
async def test_one_answer_settles_all_pings_before_it(exchange: LocalExchange) -> None:
    control = exchange.control
    async with bare(exchange.url) as client, bare(exchange.url) as witness:
        await control.wait_for_connections(2)
        control.ping()
        control.ping()
        await client.send({"action": "pong"})
        await control.wait_for_pongs(1)
        assert await witness.close_code() == 1000  # both had the same deadlines
        assert [await client.next(), await client.next()] == [{"type": "ping"}] * 2
        await client.proves_silent()


@pytest.mark.sandbox_exchange(pong_timeout=SOON, heartbeat_interval=SOON / 5)
async def test_later_pings_do_not_put_the_deadline_off(exchange: LocalExchange) -> None:
    async with bare(exchange.url) as client:
        assert await client.close_code() == 1000


@pytest.mark.parametrize("pong", [{"type": "pong"}, {"type": "pong", "action": "pong"}])
@pytest.mark.sandbox_exchange(dialect="page")
async def test_the_page_takes_its_own_pong(exchange: LocalExchange, pong: dict[str, str]) -> None:
    async with bare(exchange.url) as client:
        await exchange.control.wait_for_connections(1)
        exchange.control.ping()
        assert await client.next() == {"type": "ping"}
        await client.send(pong)
        await exchange.control.wait_for_pongs(1)
        await client.proves_silent()


async def test_the_interval_changes_on_open_connections(exchange: LocalExchange) -> None:
    control = exchange.control
    async with bare(exchange.url) as client:
        await control.wait_for_connections(1)
        control.set_heartbeat(0.01, pong_timeout=5)
        assert await client.next() == {"type": "ping"}


@pytest.mark.sandbox_exchange(heartbeat_interval=0.01)
async def test_muted_pings_stop_also_for_new_connections(exchange: LocalExchange) -> None:
    control = exchange.control
    async with bare(exchange.url) as old:
        assert await old.next() == {"type": "ping"}
        control.mute_pings()
        async with bare(exchange.url):
            await control.wait_for_connections(2)
            sent = control.frames_sent["ping"]
            with pytest.raises(TimeoutError, match="ping frames"):
                await control.wait_for_frames("ping", sent + 1, timeout=SOON)
            control.set_heartbeat(0.01)
            await control.wait_for_frames("ping", sent + 2)


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
async def test_wrong_intervals(exchange: LocalExchange, interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        exchange.control.set_heartbeat(interval)

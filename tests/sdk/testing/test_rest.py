"""What the sandbox's REST says agrees with what its WebSocket pushed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from http.client import HTTPConnection
from json import loads
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.testing import SandboxExchange, SandboxThread
from agentexchange.testing._ledger import MAX_ORDERS, Ledger
from tests.sdk.testing._bare import KEY, bare

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.sandbox_exchange(rate=0, pairs=3)

OPEN = "/api/v1/trade/orders/open"
ALL = "/api/v1/trade/orders"
PORTFOLIO = "/api/v1/account/portfolio"


def get(port: int, path: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


async def ask(exchange: SandboxExchange, path: str, **headers: str) -> tuple[int, Any]:
    named = {"X-API-Key": KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
    status, body = await asyncio.to_thread(get, exchange.port, path, named)
    with suppress(ValueError):
        return status, loads(body)
    return status, body


async def test_open_orders_and_any_order_are_as_they_were_pushed(sandbox_exchange: SandboxExchange) -> None:
    pushed: dict[str, dict[str, Any]] = {}
    async with bare(sandbox_exchange.url) as client:
        await client.subscribe("orders")
        sandbox_exchange.control.step_orders(60)
        while len(pushed) < 20 or not any(fields["status"] == "filled" for fields in pushed.values()):
            frame = await client.next()
            if frame["channel"] == "orders":
                pushed[frame["data"]["order_id"]] = frame["data"]
    sandbox_exchange.control.step_orders(40)  # with nobody there
    status, answer = await ask(sandbox_exchange, f"{ALL}?limit=500")
    assert status == 200
    assert answer["total"] == len(answer["orders"])
    told = {fields["order_id"]: fields for fields in answer["orders"]}
    assert told.keys() > pushed.keys(), "those placed while nobody was there too"
    finals = [fields for fields in pushed.values() if fields["status"] == "filled"]
    for fields in finals:
        assert told[fields["order_id"]]["status"] == "filled"
        assert told[fields["order_id"]]["executed_qty"] == fields["executed_quantity"]
        assert told[fields["order_id"]]["filled_at"] == fields["filled_at"]
        assert await ask(sandbox_exchange, f"/api/v1/trade/order/{fields['order_id']}") == (
            200,
            told[fields["order_id"]],
        )
    opened = {name for name, fields in told.items() if fields["status"] in ("pending", "partially_filled")}
    _, answer = await ask(sandbox_exchange, OPEN)
    assert {fields["order_id"] for fields in answer["orders"]} == opened


async def test_the_portfolio_is_the_one_that_was_pushed(sandbox_exchange: SandboxExchange) -> None:
    sandbox_exchange.control.step_orders(50)
    _, worth = await ask(sandbox_exchange, PORTFOLIO)
    total = Decimal(worth["realized_pnl"]) + Decimal(worth["unrealized_pnl"]) + 100_000
    assert Decimal(worth["total_equity"]) == total
    sandbox_exchange.control.push_portfolio({"total_equity": "1", "available_cash": "2"})
    assert (await ask(sandbox_exchange, PORTFOLIO))[1] == {"total_equity": "1", "available_cash": "2"}
    sandbox_exchange.control.send_portfolio()
    assert (await ask(sandbox_exchange, PORTFOLIO))[1]["realized_pnl"] == worth["realized_pnl"]


async def test_orders_come_in_pages_those_placed_last_first(sandbox_exchange: SandboxExchange) -> None:
    for number in range(7):
        sandbox_exchange.control.push_order({"order_id": f"o{number}", "status": "pending"})
    sandbox_exchange.control.push_order({"order_id": "o3", "status": "filled", "executed_quantity": "1"})
    _, first = await ask(sandbox_exchange, f"{OPEN}?limit=4")
    _, second = await ask(sandbox_exchange, f"{OPEN}?limit=4&offset=4")
    names = [fields["order_id"] for fields in (*first["orders"], *second["orders"])]
    assert names == ["o6", "o5", "o4", "o2", "o1", "o0"]


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        (OPEN, "ak_wrong", 401),
        ("/api/v1/trade/order/none", KEY, 404),
        ("/api/v1/elsewhere", KEY, 404),
        (f"{OPEN}?limit=201", KEY, 422),
        (f"{OPEN}?limit=many", KEY, 422),
    ],
)
async def test_refusals(sandbox_exchange: SandboxExchange, path: str, key: str, status: int) -> None:
    got, body = await ask(sandbox_exchange, path, X_API_Key=key)
    assert (got, set(body["error"])) == (status, {"code", "message"})


@pytest.mark.sandbox_exchange(rate=0, pairs=3, api_secret="sk_secret")
async def test_a_secret_is_asked_for_where_there_is_one(sandbox_exchange: SandboxExchange) -> None:
    assert (await ask(sandbox_exchange, OPEN))[0] == 401
    assert (await ask(sandbox_exchange, OPEN, X_API_Secret="sk_other"))[0] == 401
    assert (await ask(sandbox_exchange, OPEN, X_API_Secret="sk_secret"))[0] == 200
    assert "sk_secret" not in repr(sandbox_exchange) + repr(sandbox_exchange._options)


async def test_faults_on_demand(sandbox_exchange: SandboxExchange) -> None:
    control = sandbox_exchange.control
    control.refuse_rest(500)
    assert (await ask(sandbox_exchange, OPEN))[0] == 500
    control.refuse_rest(599)
    assert (await ask(sandbox_exchange, OPEN))[0] == 599
    control.accept_rest()
    control.garble_rest(b"<html>")
    assert await ask(sandbox_exchange, OPEN) == (200, b"<html>")
    control.accept_rest()
    control.delay_rest(3600)
    late = asyncio.create_task(ask(sandbox_exchange, OPEN))
    await control.wait_for_rest_requests(4)
    assert not late.done()
    control.accept_rest()
    assert (await late)[0] == 200
    assert control.rest_requests == 4
    with pytest.raises(ValueError, match="not an HTTP status"):
        control.refuse_rest(200)


async def test_a_sandbox_stops_also_while_an_answer_waits() -> None:
    async with SandboxExchange(rate=0, pairs=3) as exchange:
        exchange.control.delay_rest(3600)
        late = asyncio.create_task(ask(exchange, OPEN))
        await exchange.control.wait_for_rest_requests(1)
    await asyncio.wait((late,))
    late.exception()


def test_rest_has_the_address_of_the_websocket() -> None:
    with SandboxThread(rate=0, pairs=3) as exchange:
        assert exchange.rest_url == exchange.url.replace("ws://", "http://")


def test_a_ledger_is_bounded_and_takes_no_junk() -> None:
    ledger = Ledger()
    ledger.record({"status": "pending"}, "now")
    for number in range(MAX_ORDERS + 5):
        ledger.record({"order_id": str(number), "status": "pending"}, "now")
    assert len(ledger.newest()) == MAX_ORDERS
    assert ledger.order("4") is None

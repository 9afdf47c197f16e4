"""Worker, clients and commands under exactly the rules that ``agentexchange acl`` prints: all works, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import AgentExchangeWS, AsyncLatestReader, LatestReader
from agentexchange.testing import SandboxExchange
from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import decode
from tests._acl import Guarded, rules_of
from tests.bridge.cli._run import run, start
from tests.integration._system import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests._servers import RedisServer

pytestmark = pytest.mark.server

ALPHA, BETA = "ak_live_crew_alpha", "ak_live_crew_beta"
CREWS = {"alpha": ALPHA, "beta": BETA}


@contextlib.asynccontextmanager
async def bridge(exchange: SandboxExchange, guarded: Guarded, key: str | None, *flags: str) -> AsyncIterator[Any]:
    """A worker under the bridge's rule, which serves the account of ``key``."""
    urls = ("--upstream-url", exchange.url, "--redis-url", guarded.url("bridge"), "--http", "off")
    async with start("bridge", *urls, *flags, key=key) as worker:
        await worker.wait_line(r'"state": "live"')
        yield worker


def no_refusals(guarded: Guarded) -> bool:
    """Nothing was refused to anybody, but what redis-py asks of its own accord and can do without."""
    return not [what for what in guarded.refusals() if what[1].lower() != "client|setinfo"]


async def test_everything_works_under_the_rules(redis_server: RedisServer) -> None:
    got: dict[str, list[Any]] = {}

    def into(name: str) -> Any:
        async def handle(data: dict[str, Any]) -> None:
            got.setdefault(name, []).append(data)

        return handle

    def shared(ws: AgentExchangeWS) -> None:
        ws.on_ticker("BTCUSDT")(into("ticker"))
        ws.on_order_update()(into("orders"))
        ws.on_portfolio()(into("portfolio"))

    def all_tickers(ws: AgentExchangeWS) -> None:
        ws.on_ticker("all")(into("all"))

    def acked(ws: AgentExchangeWS) -> None:
        async def refuse(data: dict[str, Any]) -> None:
            got.setdefault(f"{ws!r}", []).append(data)
            raise RuntimeError("no")

        ws.on_order_update()(refuse)

    with Guarded(redis_server, rules_of(CREWS)) as guarded:
        url = guarded.url("alpha")
        async with (
            SandboxExchange(rate=200, pairs=5, order_rate=20, api_keys=[ALPHA]) as exchange,
            bridge(exchange, guarded, ALPHA, "--topic", "ticker:all"),
            contextlib.AsyncExitStack() as stack,
        ):
            await eventually(lambda: guarded.admin.exists("ax:{m0}:latest:ticker:BTCUSDT"))
            for register, options in (
                (shared, {}),
                (all_tickers, {}),
                (acked, {"group": "executors", "max_attempts": 1}),
            ):
                ws = AgentExchangeWS(api_key=ALPHA, base_url=url, **options)  # type: ignore[arg-type]
                register(ws)
                await stack.enter_async_context(ws)
            ws = AgentExchangeWS(api_key=ALPHA, base_url=url, resume="crew-7")
            ws.on_order_update()(into("resumed"))
            await stack.enter_async_context(ws)

            dead = f"ax:{{{account_scope(ALPHA)}}}:dead:executors"
            await eventually(lambda: got.keys() >= {"ticker", "orders", "portfolio", "all", "resumed"})
            await eventually(lambda: guarded.admin.xlen(dead) > 3)
            await eventually(lambda: guarded.admin.zscore("ax:interests", account_scope(ALPHA)))
            assert await latest_works(url)
            await commands_work(guarded)
            assert no_refusals(guarded), guarded.refusals()


async def latest_works(url: str) -> bool:
    async with AsyncLatestReader(url, ALPHA) as latest:
        assert (await latest.ticker("BTCUSDT")).data["price"]
        assert (await latest.portfolio()).data["total_equity"]

    def read() -> bool:
        with LatestReader(url, ALPHA) as latest:
            latest.tickers(["ETHUSDT", "SOLUSDT"])
            latest.candle("BTCUSDT", "1m")
            return all(latest.order(order_id) for order_id in latest.open_orders())

    return await asyncio.to_thread(read)


async def commands_work(guarded: Guarded) -> None:
    for user in ("alpha", "operator"):
        url, letters = guarded.url(user), ("--redis-url", guarded.url(user), "--group", "executors")
        tail = await run("tail", "--url", url, "--count", "20", "ticker:all", "orders", "portfolio", key=ALPHA)
        assert (tail.code, len(tail.out.splitlines())) == (0, 20), tail.err
        listed = await run("dead-letter", "list", *letters, key=ALPHA)
        ids = [line.split()[0] for line in listed.out.splitlines() if not line.startswith(" ")]
        for action, letter_id in zip(("retry", "drop"), ids, strict=False):
            done = await run("dead-letter", action, letter_id, *letters, key=ALPHA)
            assert (done.code, done.err) == (0, ""), (user, action)
    wanted = await run("interest", "--redis-url", guarded.url("operator"), key=None)
    assert (wanted.code, account_scope(ALPHA)[:10] in wanted.out) == (0, True), wanted
    report = await run("doctor", "--redis-url", guarded.url("operator"), key=ALPHA)
    assert report.code == 0, report.out
    assert "not allowed" not in report.out


@pytest.fixture(params=["one worker for both", "a worker each"])
def accounts(request: pytest.FixtureRequest, tmp_path: Path) -> list[tuple[str | None, tuple[str, ...]]]:
    """Key and flags of each worker."""
    if request.param == "a worker each":
        return [(key, ()) for key in CREWS.values()]
    config = tmp_path / "bridge.toml"
    for crew, key in CREWS.items():
        (tmp_path / crew).write_text(key)
    tables = [f'[[account]]\nname = "{crew}"\nkey_file = "{tmp_path / crew}"\n' for crew in CREWS]
    config.write_text("".join(tables))
    return [(None, ("--config", str(config)))]


async def test_no_event_of_one_account_ever_reaches_another_crew(
    redis_server: RedisServer, accounts: list[tuple[str | None, tuple[str, ...]]]
) -> None:
    """Random orders on both accounts, and every way to read: none crosses over."""
    seen: dict[str, dict[str, set[str]]] = {crew: {} for crew in CREWS}
    dice = random.Random(20261122)

    def crew_programs(crew: str, url: str) -> list[AgentExchangeWS]:
        programs = []
        for name, options in (("shared", {}), ("group", {"group": "executors"}), ("resume", {"resume": "recorder"})):
            ws = AgentExchangeWS(api_key=CREWS[crew], base_url=url, **options)  # type: ignore[arg-type]
            found = seen[crew].setdefault(name, set())
            ws.on_order_update()(collect(found, "order_id"))
            ws.on_portfolio()(collect(found, "total_equity"))
            programs.append(ws)
        return programs

    with Guarded(redis_server, rules_of(CREWS)) as guarded:
        async with (
            SandboxExchange(rate=50, pairs=5, api_keys=list(CREWS.values())) as exchange,
            contextlib.AsyncExitStack() as stack,
        ):
            for key, flags in accounts:
                await stack.enter_async_context(bridge(exchange, guarded, key, *flags))
            for key in CREWS.values():
                await eventually(lambda key=key: guarded.admin.exists(f"ax:{{{account_scope(key)}}}:lease"))
            await exchange.control.wait_for_subscriptions("orders", "portfolio")
            for crew in CREWS:
                for ws in crew_programs(crew, guarded.url(crew)):
                    await stack.enter_async_context(ws)
            await eventually(lambda: all(has_begun(guarded, key) for key in CREWS.values()))

            for number in range(400):
                crew = dice.choice(list(CREWS))
                send_one(exchange, crew, number, dice)
            for crew, key in CREWS.items():
                exchange.control.push_order({"order_id": f"{crew}-end", "status": "filled"}, api_key=key)
            await eventually(
                lambda: all(f"{crew}-end" in found for crew in CREWS for found in seen[crew].values()), what="the end"
            )
            for crew in CREWS:
                for name, found in seen[crew].items():
                    assert len(found) > 100, (crew, name)
                    assert {value.partition("-")[0] for value in found} == {crew}, (crew, name)
            assert no_refusals(guarded), guarded.refusals()
            for crew, key in CREWS.items():
                await look_everywhere(guarded, crew, key)


def has_begun(guarded: Guarded, key: str) -> bool:
    """Whether the group and the position stand in the account's log: they are owed what is written from now on."""
    base = f"ax:{{{account_scope(key)}}}:"
    if not guarded.admin.exists(f"{base}log"):
        return False
    return bool(guarded.admin.xinfo_groups(f"{base}log")) and bool(guarded.admin.hexists(f"{base}pos:recorder", "log"))


def collect(found: set[str], field: str) -> Callable[[dict[str, Any]], Awaitable[None]]:
    async def handle(data: dict[str, Any]) -> None:
        found.add(data[field])

    return handle


def send_one(exchange: SandboxExchange, crew: str, number: int, dice: random.Random) -> None:
    key = CREWS[crew]
    if dice.random() < 0.2:
        exchange.control.push_portfolio({"total_equity": f"{crew}-{number}"}, api_key=key)
    else:
        status = dice.choice(("pending", "filled", "cancelled", "rejected"))
        exchange.control.push_order({"order_id": f"{crew}-{number}", "status": status}, api_key=key)


async def look_everywhere(guarded: Guarded, crew: str, key: str) -> None:
    """Latest keys and log of the account hold nothing of another's, and the other crew's user gets none of it."""
    scope, (other,) = account_scope(key), set(CREWS) - {crew}
    entries: Any = guarded.admin.xrange(f"ax:{{{scope}}}:log")
    events = [decode(fields[b"e"]) for _, fields in entries]
    owners = {
        str(e.data.get("order_id") or e.data["total_equity"]).partition("-")[0] for e in events if e.topic != "status"
    }
    assert owners == {crew}
    async with AsyncLatestReader(guarded.url(crew), key) as latest:
        assert {order_id.partition("-")[0] for order_id in await latest.open_orders()} == {crew}
        assert (await latest.portfolio()).data["total_equity"].startswith(crew)
    async with AsyncLatestReader(guarded.url(other), key) as spy:  # even with the key: the user is another crew's
        with pytest.raises(ConnectionError, match="NOPERM"):
            await spy.portfolio()

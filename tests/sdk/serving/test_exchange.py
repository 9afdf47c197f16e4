"""A served recording as clients see it: a bare one, several, slow ones, with this key or that."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import RecordingError
from agentexchange.serving import RecordedExchange
from agentexchange_schemas import account_scope
from tests.sdk.serving._recorded import (
    ACCOUNT,
    CANDLES,
    KEY,
    MARKET,
    OTHER_ACCOUNT,
    OTHER_KEY,
    START_US,
    candle,
    live_frame,
    order,
    portfolio,
    recorded,
    tick,
    ticks,
)
from tests.sdk.testing._bare import Bare, bare

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = "ak_live_stranger"
S = 1000  # ms


async def frames_of(client: Bare, count: int) -> list[str]:
    return [str(await client.raw()) for _ in range(count)]


@pytest.mark.parametrize("speed", [1, 50])
async def test_a_bare_client_sees_the_recorded_spacing(tmp_path: Path, speed: int) -> None:
    """One short run on the real clock: never early, and not slower than the machine is busy with other things."""
    raws = [tick(number, ms=number * 10 * speed) for number in range(40)]
    async with (
        RecordedExchange(recorded(tmp_path, (MARKET, raws)), speed=speed) as exchange,
        bare(exchange.url, key=STRANGER) as client,
    ):
        began = time.monotonic()
        assert await client.subscribe("ticker_all") == {"type": "subscribed", "channel": "ticker:all"}
        moments = []
        for raw in raws:
            assert await client.raw() == live_frame(raw)
            moments.append(time.monotonic() - began)
    assert all(at_s >= 0.1 + number * 0.01 for number, at_s in enumerate(moments))
    assert moments[-1] < 10.0


async def test_two_clients_have_a_position_each(tmp_path: Path) -> None:
    raws = ticks(20, every_ms=1)
    async with RecordedExchange(recorded(tmp_path, (MARKET, raws)), speed=0) as exchange:
        expected = [live_frame(raw) for raw in raws]
        async with bare(exchange.url, key=STRANGER) as first:
            await first.subscribe("ticker_all")
            assert await frames_of(first, 20) == expected
            await exchange.control.wait_for_ends(1)
            async with bare(exchange.url, key=STRANGER) as second:
                await second.subscribe("ticker", symbol="BTCUSDT")
                assert await frames_of(second, 20) == expected, "from the beginning, though the other is at the end"
                await first.proves_silent()


async def test_a_client_that_comes_back_begins_again(tmp_path: Path) -> None:
    raws = ticks(3)
    async with RecordedExchange(recorded(tmp_path, (MARKET, raws)), speed=0) as exchange:
        for _ in range(2):
            async with bare(exchange.url, key=STRANGER) as client:
                await client.subscribe("ticker_all")
                assert await frames_of(client, 3) == [live_frame(raw) for raw in raws]


async def test_all_in_step_with_a_shared_clock(tmp_path: Path) -> None:
    raws = [tick(number, ms=number * S) for number in range(6)]
    path = recorded(tmp_path, (MARKET, raws))
    async with (
        RecordedExchange(path, shared_clock=True, speed=1e6) as exchange,
        bare(exchange.url, key=STRANGER) as first,
        bare(exchange.url, key=STRANGER) as second,
    ):
        await asyncio.gather(first.subscribe("ticker_all"), second.subscribe("ticker_all"))
        expected = [live_frame(raw) for raw in raws]
        assert await asyncio.gather(frames_of(first, 6), frames_of(second, 6)) == [expected, expected]
        await exchange.control.wait_for_ends(1)
        async with bare(exchange.url, key=STRANGER) as late:
            await late.subscribe("ticker_all")
            await late.proves_silent()


async def test_a_slow_client_of_a_shared_clock_holds_the_others_and_nobody_misses_a_thing(tmp_path: Path) -> None:
    count = 8_000
    path = recorded(tmp_path, (MARKET, ticks(count, note="x" * 1000)))
    async with (
        RecordedExchange(path, shared_clock=True, speed=0) as exchange,
        bare(exchange.url, key=STRANGER) as quick,
        bare(exchange.url, key=STRANGER, max_queue=1) as slow,
    ):
        await asyncio.gather(quick.subscribe("ticker_all"), slow.subscribe("ticker_all"))
        got = await read_until_silent(quick)
        assert got < count, "the other does not read"
        numbers = await asyncio.gather(last_number(quick, count - got), last_number(slow, count))
    assert numbers == [count - 1, count - 1]


async def test_a_slow_client_slows_its_own_position_only(tmp_path: Path) -> None:
    count = 8_000
    path = recorded(tmp_path, (MARKET, ticks(count, note="x" * 1000)))
    async with (
        RecordedExchange(path, speed=0) as exchange,
        bare(exchange.url, key=STRANGER) as quick,
        bare(exchange.url, key=STRANGER, max_queue=1) as slow,
    ):
        await asyncio.gather(quick.subscribe("ticker_all"), slow.subscribe("ticker_all"))
        assert await last_number(quick, count) == count - 1
        await exchange.control.wait_for_ends(1)
        sent = {info.id: info.frames_sent["tick"] for info in exchange.control.connections}
        assert sent[1] == count
        assert sent[2] < count
        assert max(session.unsent for session in exchange._hub.sessions.values()) < 256 * 1024
        assert await last_number(slow, count) == count - 1
        assert exchange.control.ticks_dropped == 0


async def test_a_slow_client_is_not_cut_off_before_it_comes_to_the_ping(tmp_path: Path) -> None:
    """The ping waits behind all that is unread: as long as the client reads on, its answer is waited for."""
    count = 600
    path = recorded(tmp_path, (MARKET, ticks(count, note="x" * 10_000)))
    async with (
        RecordedExchange(path, speed=0, heartbeat_interval=0.5, pong_timeout=2.0) as exchange,
        bare(exchange.url, key=STRANGER, max_queue=1) as slow,
    ):
        await slow.subscribe("ticker_all")
        numbers = []
        while len(numbers) < count:
            frame = json.loads(await slow.socket.recv())
            if frame == {"type": "ping"}:
                await slow.send({"action": "pong"})
                continue
            numbers.append(int(float(frame["data"]["price"])))
            await asyncio.sleep(0.008)  # slow: the answer to a ping comes after the time that one has
        assert numbers == list(range(count))
        assert len(exchange.control.connections) == 1, "it is still there"
        assert exchange.control.pongs > 0


async def test_a_client_that_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    path = recorded(tmp_path, (MARKET, ticks(8_000, note="x" * 1000)))
    async with (
        RecordedExchange(path, speed=0, heartbeat_interval=0.2, pong_timeout=0.2) as exchange,
        bare(exchange.url, key=STRANGER, max_queue=1) as deaf,
    ):
        await deaf.subscribe("ticker_all")
        await exchange.control.wait_for_connections(1)
        await exchange.control.wait_for_connections(0)


async def read_until_silent(client: Bare) -> int:
    count = 0
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.3):
                await client.socket.recv()
            count += 1
    return count


async def last_number(client: Bare, count: int) -> int:
    for _ in range(count - 1):
        await client.socket.recv(decode=False)
    return int(float(json.loads(await client.socket.recv())["data"]["price"]))


async def test_subscribed_both_ways_twins(tmp_path: Path) -> None:
    raws = ticks(2, symbols=("BTCUSDT", "ETHUSDT"))
    async with (
        RecordedExchange(recorded(tmp_path, (MARKET, raws)), speed=0) as exchange,
        bare(exchange.url, key=STRANGER) as client,
    ):
        await client.send({"action": "subscribe", "channel": "ticker", "symbol": "BTCUSDT"})
        await client.send({"action": "subscribe", "channel": "ticker_all"})
        assert [(await client.next())["type"] for _ in range(2)] == ["subscribed"] * 2
        assert await frames_of(client, 3) == [live_frame(raws[number]) for number in (0, 0, 1)]


@pytest.mark.parametrize("candles", [True, False])
async def test_recorded_candles_are_pushed_unless_told_otherwise(tmp_path: Path, candles: bool) -> None:  # noqa: FBT001
    path = recorded(tmp_path, (MARKET, [tick(0, ms=2)]), (CANDLES, [candle(ms=1)]))
    async with (
        RecordedExchange(path, speed=0, candles=candles) as exchange,
        bare(exchange.url, key=STRANGER) as client,
    ):
        await client.subscribe("ticker_all")
        await client.subscribe("candles", symbol="BTCUSDT", interval="1m")
        expected = [live_frame(candle(ms=1))] if candles else []
        assert await frames_of(client, len(expected) + 1) == [*expected, live_frame(tick(0, ms=2))]


async def test_the_page_s_frames(tmp_path: Path) -> None:
    path = recorded(tmp_path, (MARKET, [tick(1, ms=0)]), (CANDLES, [candle(ms=1, interval="4h")]))
    async with (
        RecordedExchange(path, speed=0, dialect="page") as exchange,
        bare(exchange.url, key=STRANGER, path="/") as client,
    ):
        await client.subscribe("ticker", symbol="all")
        await client.subscribe("candles", symbol="BTCUSDT", interval="4h")
        first, second = [await client.next() for _ in range(2)]
    assert first == {
        "type": "ticker",
        "symbol": "BTCUSDT",
        "price": "1.50000000",
        "timestamp": "2026-11-22T14:00:00.000Z",
    }
    assert (second["type"], second["interval"], second["open_time"]) == ("candle", "4h", "2026-11-22T14:00:00.000Z")


# Keys


def two_accounts(folder: Path) -> Path:
    return recorded(
        folder,
        (MARKET, [tick(0, ms=3)]),
        (ACCOUNT, [order(1, ms=0), portfolio("7", ms=1)]),
        (OTHER_ACCOUNT, [order(2, ms=2)]),
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (KEY, [order(1, ms=0), portfolio("7", ms=1)]),
        (OTHER_KEY, [order(2, ms=2)]),
        ("ak_live_mine", [order(2, ms=2)]),
        (STRANGER, []),
    ],
    ids=["recorded", "other", "stand-in", "stranger"],
)
@pytest.mark.parametrize("shared_clock", [False, True])
async def test_orders_go_to_their_account_only(
    tmp_path: Path,
    key: str,
    expected: list[bytes],
    shared_clock: bool,  # noqa: FBT001
) -> None:
    options: dict[str, Any] = {"api_keys": ["ak_live_mine"], "account": account_scope(OTHER_KEY)}
    path = two_accounts(tmp_path)
    async with (
        RecordedExchange(path, speed=0, shared_clock=shared_clock, **options) as exchange,
        bare(exchange.url, key=key) as client,
    ):
        await client.subscribe("ticker_all")
        await client.subscribe("orders")
        frames = await frames_of(client, len(expected) + 1)
    assert frames == [live_frame(raw) for raw in [*expected, tick(0, ms=3)]]


@pytest.mark.parametrize(("key", "status"), [("wrong", 403), ("", 403)])
async def test_what_is_no_key_is_refused(tmp_path: Path, key: str, status: int) -> None:
    async with RecordedExchange(two_accounts(tmp_path)) as exchange:
        with pytest.raises(Exception, match=str(status)):
            async with bare(exchange.url, key=key):
                pass


async def test_only_known_keys(tmp_path: Path) -> None:
    async with RecordedExchange(two_accounts(tmp_path), only_known_keys=True) as exchange:
        with pytest.raises(Exception, match="403"):
            async with bare(exchange.url, key=STRANGER):
                pass
        async with bare(exchange.url, key=OTHER_KEY) as client:
            assert (await client.subscribe("orders"))["type"] == "subscribed"


async def test_keys_are_in_no_repr(tmp_path: Path) -> None:
    exchange = RecordedExchange(two_accounts(tmp_path), api_keys=[KEY], api_secret=OTHER_KEY)
    texts = [repr(exchange), repr(exchange._options)]
    assert not any(key in text for key in (KEY, OTHER_KEY) for text in texts)


# The end, pauses, REST


async def test_at_the_end_it_says_so_once_and_stays(tmp_path: Path) -> None:
    told: list[str] = []
    path = recorded(tmp_path, (MARKET, ticks(3)))
    async with (
        RecordedExchange(path, speed=0, tell=told.append) as exchange,
        bare(exchange.url, key=STRANGER) as client,
    ):
        await client.subscribe("ticker_all")
        await frames_of(client, 3)
        await exchange.control.wait_for_ends(1)
        exchange.control.set_heartbeat(0.01)
        assert await client.next() == {"type": "ping"}
    assert len(told) == 1
    assert re.fullmatch(r"client 1: the recording has ended, 3 events in \d\.\d s", told[0])


async def test_at_the_end_it_closes_when_told_so(tmp_path: Path) -> None:
    async with (
        RecordedExchange(recorded(tmp_path, (MARKET, ticks(3))), speed=0, at_end="close") as exchange,
        bare(exchange.url, key=STRANGER) as client,
    ):
        await client.subscribe("ticker_all")
        await frames_of(client, 3)
        assert await client.close_code() == 1000


async def test_at_the_end_it_begins_again_when_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentexchange.serving._stage._BETWEEN_ROUNDS_S", 0.01)
    raws = ticks(3)
    async with (
        RecordedExchange(recorded(tmp_path, (MARKET, raws)), speed=0, at_end="loop") as exchange,
        bare(exchange.url, key=STRANGER) as client,
    ):
        await client.subscribe("ticker_all")
        assert await frames_of(client, 9) == [live_frame(raw) for raw in raws] * 3


async def test_it_can_be_held_sped_up_and_asked_where_it_is(tmp_path: Path) -> None:
    raws = [tick(0, ms=0), tick(1, ms=3_600 * S)]
    async with RecordedExchange(recorded(tmp_path, (MARKET, raws))) as exchange:
        control = exchange.control
        control.pause()
        async with bare(exchange.url, key=STRANGER) as client, bare(exchange.url, key=STRANGER):
            await client.subscribe("ticker_all")
            await client.proves_silent()
            assert list(control.positions) == [1], "the other has asked for nothing"
            control.resume()
            assert await client.raw() == live_frame(raws[0])
            assert START_US / 1e6 <= control.positions[1].timestamp() < START_US / 1e6 + 60, "in the silence after it"
            control.set_speed(0)
            assert await client.raw() == live_frame(raws[1])
            assert control.positions[1].timestamp() == START_US / 1e6 + 3_600
        with pytest.raises(ValueError, match="speed must be"):
            control.set_speed(-1)


async def test_stopping_closes_with_1012_in_the_midst_of_it(tmp_path: Path) -> None:
    exchange = RecordedExchange(recorded(tmp_path, (MARKET, ticks(100, every_ms=50))))
    await exchange.start()
    async with bare(exchange.url, key=STRANGER) as client:
        await client.subscribe("ticker_all")
        await client.raw()
        await exchange.stop()
        assert await client.close_code() == 1012


async def test_who_subscribes_while_it_stops_is_closed_like_the_others(tmp_path: Path) -> None:
    exchange = RecordedExchange(recorded(tmp_path, (MARKET, ticks(3))))
    await exchange.start()
    async with bare(exchange.url, key=STRANGER) as client:
        await exchange.control.wait_for_connections(1)
        stopping = asyncio.create_task(exchange.stop())
        await asyncio.sleep(0)
        (session,) = exchange._hub.sessions.values()
        exchange._stage.subscribe(session, "ticker:all")
        assert await client.close_code() == 1012
        await stopping


async def ask(port: int, path: str, key: str) -> tuple[int, Any]:
    def get() -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path, headers={"X-API-Key": key})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    return await asyncio.to_thread(get)


async def test_rest_answers_as_of_the_key_s_position(tmp_path: Path) -> None:
    raws = [order(1, ms=0), order(2, ms=0), portfolio("7", ms=0), order(1, ms=3_600 * S, status="filled")]
    open_orders, wallet = "/api/v1/trade/orders/open", "/api/v1/account/portfolio"
    async with RecordedExchange(recorded(tmp_path, (ACCOUNT, raws))) as exchange:
        assert await ask(exchange.port, open_orders, KEY) == (
            200,
            {"orders": [], "total": 0, "limit": 100, "offset": 0},
        )
        assert (await ask(exchange.port, wallet, KEY))[0] == 404
        async with bare(exchange.url, key=KEY) as client:
            await client.subscribe("orders")
            await frames_of(client, 3)
            status, answer = await ask(exchange.port, open_orders, KEY)
            assert (status, [found["order_id"] for found in answer["orders"]]) == (200, ["o-2", "o-1"])
            assert (await ask(exchange.port, wallet, KEY))[1]["total_equity"] == "7"
            assert (await ask(exchange.port, open_orders, STRANGER))[1]["orders"] == []
            assert (await ask(exchange.port, open_orders, "wrong"))[0] == 401
            exchange.control.set_speed(0)
            await client.raw()
            answer = (await ask(exchange.port, open_orders, KEY))[1]
            assert [found["order_id"] for found in answer["orders"]] == ["o-2"]


# What is wrong


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed": -1}, "speed must be a number"),
        ({"speed": float("nan")}, "speed must be a number"),
        ({"speed": float("inf")}, "speed must be a number"),
        ({"api_keys": "ak_live_x"}, "api_keys must be a sequence"),
        ({"api_keys": [""]}, "api_keys must be a sequence"),
        ({"account": "a-0"}, "give that key in api_keys"),
        ({"at_end": "explode"}, "at_end must be one of hold, close, loop"),
        ({"dialect": "latin"}, "dialect must be one of live, page"),
        ({"port": 70_000}, "port must be 0 to 65535"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RecordedExchange("day.axlog", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": "2027-01-01"}, "the start lies behind the recording's last event, of 2026-"),
        ({"end": "2020-01-01"}, "the end lies before all that would be played"),
        ({"start": "yesterday"}, "start: 'yesterday' is no moment"),
        ({"api_keys": ["ak_live_x"]}, "several accounts are recorded"),
        ({"api_keys": ["ak_live_x"], "account": "a-0"}, "names 0 of the recorded accounts"),
    ],
)
async def test_what_the_recording_does_not_hold_is_told(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        async with RecordedExchange(two_accounts(tmp_path), **options):
            pass


async def test_an_empty_recording_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the recording is empty"):
        async with RecordedExchange(recorded(tmp_path)):
            pass


async def test_a_foreign_file_and_none_at_all_are_told(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.axlog"
    foreign.write_bytes(b"PK\x03\x04 not one of ours")
    with pytest.raises(RecordingError, match="this is no recording"):
        async with RecordedExchange(foreign):
            pass
    with pytest.raises(FileNotFoundError):
        async with RecordedExchange(tmp_path / "none.axlog"):
            pass


async def test_a_port_in_use_is_an_os_error_and_leaves_no_file_open(tmp_path: Path) -> None:
    path = two_accounts(tmp_path)
    async with RecordedExchange(path) as exchange:
        with pytest.raises(OSError, match="address already in use"):
            await RecordedExchange(path, port=exchange.port).start()


async def test_it_runs_once(tmp_path: Path) -> None:
    exchange = RecordedExchange(two_accounts(tmp_path))
    with pytest.raises(RuntimeError, match="when it runs"):
        _ = exchange.span
    async with exchange:
        assert [moment.timestamp() for moment in exchange.span] == [START_US / 1e6, START_US / 1e6 + 0.003]
        assert exchange.accounts == tuple(sorted((ACCOUNT.scope, OTHER_ACCOUNT.scope)))
        assert exchange.topics == 3
    with pytest.raises(RuntimeError, match="runs once"):
        await exchange.start()


async def test_compression_gives_the_same_frames(tmp_path: Path) -> None:
    raws = ticks(50)
    async with (
        RecordedExchange(recorded(tmp_path, (MARKET, raws)), speed=0, compression=True) as exchange,
        bare(exchange.url, key=STRANGER) as client,
    ):
        assert client.socket.response is not None
        assert "permessage-deflate" in client.socket.response.headers["Sec-WebSocket-Extensions"]
        await client.subscribe("ticker_all")
        assert await frames_of(client, 50) == [live_frame(raw) for raw in raws]


async def test_how_far_it_is_goes_by_the_position_that_is_last(tmp_path: Path) -> None:
    path = recorded(tmp_path, (MARKET, [tick(0, ms=0), tick(1, ms=10), tick(2, ms=3600 * S)]))
    async with RecordedExchange(path, speed=1) as exchange:
        idle = exchange.progress
        assert (idle.clients, idle.positions, idle.share, idle.time, idle.events) == (0, 0, 0.0, None, 0)
        async with bare(exchange.url, key=STRANGER) as client:
            await client.subscribe("ticker_all")
            assert len(await frames_of(client, 2)) == 2
            now = exchange.progress
            assert (now.clients, now.positions, now.events) == (1, 1, 2)
            assert now.time is not None
            assert 0 < (now.time - exchange.span[0]).total_seconds() < 3600
            assert 0 < now.share < 1
            exchange.control.set_speed(0)
            await exchange.control.wait_for_ends(1)
            ended = exchange.progress
            assert (ended.clients, ended.positions, ended.time, ended.events) == (1, 0, None, 3)
        await exchange.control.wait_for_connections(0)
        assert (exchange.progress.clients, exchange.progress.events) == (0, 3)

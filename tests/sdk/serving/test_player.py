"""The player alone, on injected time: exact spacing, order, who gets what, and nobody outrun."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from agentexchange.replay import FileSource
from agentexchange.serving._player import Player, Timing
from agentexchange.serving._program import Program
from agentexchange.testing._dialect import dialect_named
from agentexchange.testing._frames import payload_of
from agentexchange.testing._hub import Hub
from agentexchange.testing._observe import Observations
from tests.sdk.serving._recorded import (
    ACCOUNT,
    CANDLES,
    MARKET,
    candle,
    live_frame,
    order,
    portfolio,
    recorded,
    tick,
    ticks,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agentexchange.recording import Lane


class Time:
    """Moves on when somebody sleeps, and by nothing else."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    async def until(self, moment: float) -> None:
        while self.now < moment:  # noqa: ASYNC110 - whoever sleeps moves it on
            await asyncio.sleep(0)


class Listener:
    """A session that notes what it is sent, and when; it may be slow."""

    slow = False

    def __init__(self, time: Time, *topics: str, account: str = "", number: int = 1) -> None:
        self.number = number
        self.account = account
        self.topics: set[str] = set()
        self.symbols: set[str] = set()
        self.asked = topics
        self.got: list[tuple[float, str]] = []
        self.unread = self.most_unread = 0
        self.reads = asyncio.Event()
        self.reads.set()
        self._time = time

    def send(self, kind: str, frames: list[bytes], joined: bytes | None = None) -> bool:
        self.got += [(self._time.now, payload_of(frame).decode()) for frame in frames]
        self.unread += len(frames)
        self.most_unread = max(self.unread, self.most_unread)
        return True

    async def drained(self) -> None:
        await self.reads.wait()
        self.unread = 0

    @property
    def frames(self) -> list[str]:
        return [frame for _, frame in self.got]


class Theatre:
    def __init__(self, recording: FileSource, time: Time, *listeners: Listener, **options: Any) -> None:
        dialect = dialect_named(options.pop("dialect", "live"))
        hub = Hub(dialect=dialect, seen=Observations(), slow_client="disconnect", journal=None)
        for listener in listeners:
            hub.add(listener)  # type: ignore[arg-type]
            for topic in listener.asked:
                hub.subscribe(listener, topic)  # type: ignore[arg-type]
        program = Program(recording, start_us=options.pop("start_us", None), end_us=options.pop("end_us", None))
        self.player = Player(
            program,
            accounts=program.accounts,
            hub=hub,
            dialect=dialect,
            candles=options.pop("candles", True),
            speed=options.pop("speed", 1.0),
            timing=Timing(clock=time, sleep=time.sleep, least_s=options.pop("least_s", 0.0)),
        )
        assert not options


class Library:
    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.path = folder / "day.axlog"
        self._stack = stack

    async def __call__(self, *parts: tuple[Lane, list[bytes]]) -> FileSource:
        return await self._stack.enter_async_context(FileSource(recorded(self.path.parent, *parts)))


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    async with AsyncExitStack() as stack:
        yield Library(tmp_path, stack)


@pytest.mark.parametrize("speed", [1.0, 50.0, 0.5])
async def test_the_recorded_spacing_is_kept_exactly(library: Library, speed: float) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    moments = [0.0, 0.25, 1.0, 1.0, 730.5, 60_000.125]
    raws = [tick(number, ms=ms) for number, ms in enumerate(moments)]
    played = await Theatre(await library((MARKET, raws)), time, listener, speed=speed).player.play()
    first_s = listener.got[0][0]
    assert [at_s - first_s for at_s, _ in listener.got] == pytest.approx(
        [ms / 1000 / speed for ms in moments], abs=1e-6
    )
    assert listener.frames == [live_frame(raw) for raw in raws]
    assert (played.events, played.damage) == (6, None)
    assert played.seconds == pytest.approx(moments[-1] / 1000 / speed)


async def test_events_in_close_order_are_sent_a_moment_s_together_and_never_early(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    raws = ticks(1000, every_ms=1)
    await Theatre(await library((MARKET, raws)), time, listener, speed=50, least_s=0.001).player.play()
    due_s = [0.1 + number / 1000 / 50 for number in range(1000)]
    late_s = [at_s - due for (at_s, _), due in zip(listener.got, due_s, strict=True)]
    assert min(late_s) > -1e-9
    assert max(late_s) < 0.0011
    assert len({at_s for at_s, _ in listener.got}) <= 21
    assert listener.frames == [live_frame(raw) for raw in raws]


async def test_the_silence_before_the_first_event_of_a_span_is_kept_too(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    raws = [tick(number, ms=number * 1000) for number in range(10)]
    recording = await library((MARKET, raws))
    first_us = recording.first_us or 0
    theatre = Theatre(recording, time, listener, start_us=first_us + 2_500_000, end_us=first_us + 5_000_000, speed=1.0)
    await theatre.player.play()
    assert listener.frames == [live_frame(raw) for raw in raws[3:5]]
    assert [at_s for at_s, _ in listener.got] == pytest.approx([0.6, 1.6]), "0.1 s for its subscriptions, then 0.5 s"


async def test_the_position_begins_when_nothing_more_is_asked_for(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    player = Theatre(await library((MARKET, ticks(1))), time, listener).player
    playing = asyncio.create_task(player.play())
    for _ in range(3):
        await asyncio.sleep(0)
        player.asked()
    await playing
    assert 0.1 < listener.got[0][0] <= 0.4


async def test_a_client_that_never_stops_asking_is_not_waited_for_for_ever(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    player = Theatre(await library((MARKET, ticks(1))), time, listener).player
    playing = asyncio.create_task(player.play())
    while not playing.done():
        player.asked()
        await asyncio.sleep(0)
    assert listener.got[0][0] == pytest.approx(2.0)


async def test_as_fast_as_it_is_read_takes_no_time(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    raws = ticks(1000, every_ms=10_000)
    await Theatre(await library((MARKET, raws)), time, listener, speed=0).player.play()
    assert {at_s for at_s, _ in listener.got} == {0.1}
    assert listener.frames == [live_frame(raw) for raw in raws]


async def test_a_slow_reader_is_never_outrun_and_misses_nothing(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    raws = ticks(5000)
    player = Theatre(await library((MARKET, raws)), time, listener, speed=0).player
    listener.reads.clear()
    playing = asyncio.create_task(player.play())
    while len(listener.got) < len(raws):
        before = len(listener.got)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(listener.got) - before <= 256, "a batch, then it waits"
        listener.reads.set()
        await asyncio.sleep(0)
        listener.reads.clear()
    listener.reads.set()
    await playing
    assert listener.frames == [live_frame(raw) for raw in raws]
    assert listener.most_unread <= 256


async def test_large_events_are_waited_for_by_their_size(library: Library) -> None:
    time = Time()
    listener = Listener(time, "orders", account=ACCOUNT.scope)
    raws = [order(number, ms=number, status="s" * 200 + "x" * 50_000) for number in range(40)]
    await Theatre(await library((ACCOUNT, raws)), time, listener, speed=0).player.play()
    assert len(listener.got) == 40
    assert listener.most_unread <= 6


async def test_all_lanes_come_in_one_order(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all", "candles:BTCUSDT:1m", account=ACCOUNT.scope)
    market = [tick(number, ms=number * 10) for number in range(5)]
    theatre = Theatre(
        await library(
            (MARKET, market),
            (CANDLES, [candle(ms=25)]),
            (ACCOUNT, [order(1, ms=5), portfolio("7", ms=5.5), order(1, ms=35, status="filled")]),
        ),
        time,
        listener,
        speed=0,
    )
    await theatre.player.play()
    expected = [market[0], order(1, ms=5), portfolio("7", ms=5.5), market[1], market[2], candle(ms=25), market[3]]
    assert listener.frames == [live_frame(raw) for raw in [*expected, order(1, ms=35, status="filled"), market[4]]]
    assert theatre.player.events == 9


async def test_nobody_gets_what_was_not_asked_for_nor_another_s_orders(library: Library) -> None:
    time = Time()
    one = Listener(time, "ticker:ETHUSDT", "orders", number=1)
    two = Listener(time, "candles:BTCUSDT:5m", account=ACCOUNT.scope, number=2)
    parts = (MARKET, ticks(9)), (CANDLES, [candle(ms=20)]), (ACCOUNT, [order(1, ms=30)])
    theatre = Theatre(await library(*parts), time, one, two, speed=0)
    await theatre.player.play()
    assert one.frames == []
    assert two.frames == [live_frame(order(1, ms=30))], "as the live platform has it: subscribed or not"
    assert theatre.player.events == 1


async def test_twins_as_the_dialect_has_them(library: Library) -> None:
    for dialect, copies in (("live", 2), ("page", 1)):
        time = Time()
        listener = Listener(time, "ticker:all", "ticker:BTCUSDT")
        recording = await library((MARKET, ticks(4, symbols=("BTCUSDT", "ETHUSDT"))))
        await Theatre(recording, time, listener, speed=0, dialect=dialect).player.play()
        assert [frame.count("BTCUSDT") for frame in listener.frames] == [*[1] * copies, 0, *[1] * copies, 0]
        library.path.unlink()


@pytest.mark.parametrize(
    ("options", "count"), [({}, 2), ({"candles": False}, 0), ({"dialect": "page"}, 1)], ids=["live", "none", "page"]
)
async def test_forming_candles_only_where_the_dialect_can_tell_them(
    library: Library, options: dict[str, Any], count: int
) -> None:
    time = Time()
    listener = Listener(time, "candles:BTCUSDT:1m")
    recording = await library((CANDLES, [candle(ms=1, is_closed=False), candle(ms=2)]))
    await Theatre(recording, time, listener, speed=0, **options).player.play()
    assert len(listener.got) == count


async def test_what_is_subscribed_later_comes_from_there_on(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:ETHUSDT")
    raws = [tick(number, ms=number * 1000) for number in range(10)]
    player = Theatre(await library((MARKET, raws)), time, listener).player
    playing = asyncio.create_task(player.play())
    await time.until(4.5)
    player.hub.subscribe(listener, "ticker:BTCUSDT")  # type: ignore[arg-type]
    await playing
    assert listener.frames == [live_frame(raw) for raw in raws[5:]]


async def test_a_pause_and_a_new_speed_reach_a_wait_that_has_begun(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    player = Theatre(await library((MARKET, [tick(0, ms=0), tick(1, ms=60_000)])), time, listener).player
    playing = asyncio.create_task(player.play())
    await time.until(10)
    player.pause()
    await time.until(100)
    player.resume()
    player.set_speed(100)
    await playing
    assert listener.got[1][0] == pytest.approx(100.5, abs=0.2)


async def test_damage_ends_it_behind_all_that_is_good(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    raws = ticks(100)
    recording = await library((MARKET, raws[:50]), (MARKET, raws[50:]))
    content = bytearray(library.path.read_bytes())
    second = content.rindex(b"BLCK")
    content[second + 400] ^= 0xFF
    library.path.write_bytes(bytes(content))
    played = await Theatre(recording, time, listener, speed=0).player.play()
    assert listener.frames == [live_frame(raw) for raw in raws[:50]]
    assert played.events == 50
    assert played.damage is not None
    assert str(library.path) in played.damage


async def test_what_is_no_envelope_is_damage_too(library: Library) -> None:
    time = Time()
    listener = Listener(time, "ticker:all")
    raws = ticks(3)
    hollow = raws[1].replace(b"\xa1d\x85", b"\xa1d\xc0")  # its fields are nil, and bytes follow
    played = await Theatre(await library((MARKET, [raws[0], hollow, raws[2]])), time, listener, speed=0).player.play()
    assert listener.frames == [live_frame(raws[0])]
    assert played.damage is not None
    assert "envelope" in played.damage


async def test_the_books_are_as_of_the_position(library: Library) -> None:
    time = Time()
    account = ACCOUNT.scope
    recording = await library((ACCOUNT, [order(1, ms=0), portfolio("7", ms=1), order(1, ms=5000, status="filled")]))
    player = Theatre(recording, time, Listener(time, "ticker:all")).player
    playing = asyncio.create_task(player.play())
    await time.until(1)
    assert [fields["status"] for fields in player.books.ledger(account).newest(is_open=True)] == ["pending"]
    assert player.books.portfolio_fields(account) == {
        "total_equity": "7",
        "available_cash": "1",
        "unrealized_pnl": "0",
    }
    await playing
    assert player.books.ledger(account).newest(is_open=True) == []

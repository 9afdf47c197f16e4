"""Candles that a recording lacks, built of its ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentexchange import Candle, EventMeta
from tests.sdk.recording._samples import MARKET, START_US, tick, write
from tests.sdk.replay._play import BTC, CANDLE, Calls, candle, notice

if TYPE_CHECKING:
    from pathlib import Path

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
BEGIN_US = START_US - START_US % (5 * MINUTE_US)  # a boundary of five minutes


def every_second(seconds: range, *, symbol: str = "BTCUSDT") -> list[bytes]:
    return [
        tick(10 + number, symbol=symbol, received_us=BEGIN_US + number * SECOND_US, quantity="1") for number in seconds
    ]


@pytest.fixture
def ticks_only(tmp_path: Path) -> Path:
    """Twelve minutes from just before a boundary on, a tick a second."""
    return write(tmp_path / "t.axlog", [(MARKET, every_second(range(-10, 720)))])


def candles(path: Path, *intervals: str, query: str = "speed=0", **options: Any) -> Calls:
    calls = Calls(path, query=query)
    for interval in intervals:

        @calls.ws.on_candles("BTCUSDT", interval, **options)
        async def on_candle(data: Candle, meta: EventMeta) -> None:
            calls.put((data, meta))

    return calls


async def test_they_come_when_they_would_have_closed(ticks_only: Path) -> None:
    seen = await candles(ticks_only, "1m").play()
    assert [(one.open, one.close, one.volume, one.trades) for one, _ in seen[:3]] == [
        ("0.50000000", "9.50000000", "10", 10),
        ("10.50000000", "69.50000000", "60", 60),
        ("70.50000000", "129.50000000", "60", 60),
    ]
    assert [one.complete for one, _ in seen] == [False] + [True] * 11
    meta = seen[1][1]
    assert (meta.topic, meta.source, meta.seq, meta.log_id) == (CANDLE, "replayed", None, None)
    assert 2.0 <= meta.received_time.timestamp() - (BEGIN_US + MINUTE_US) / 1e6 <= 2.5
    assert meta.delivered_time == meta.received_time


async def test_they_stand_between_the_ticks_in_time(ticks_only: Path) -> None:
    calls = candles(ticks_only, "1m", "5m")

    @calls.ws.on_ticker("BTCUSDT")
    def on_btc(data: dict[str, Any], meta: EventMeta) -> None:
        calls.put((data, meta))

    seen = await calls.play()
    times = [meta.received_time for _, meta in seen]
    assert times == sorted(times)
    assert len([meta for _, meta in seen if meta.topic == BTC]) == 730
    assert len([meta for _, meta in seen if meta.topic == "candles:BTCUSDT:5m"]) == 3


async def test_two_runs_give_the_same_whatever_the_blocks_are(tmp_path: Path) -> None:
    ticks = every_second(range(200))
    whole = write(tmp_path / "a.axlog", [(MARKET, ticks)])
    parts = write(tmp_path / "b.axlog", [(MARKET, ticks[at : at + 7]) for at in range(0, 200, 7)])
    first = list(await candles(whole, "1m", closed_only=False).play())
    assert len(first) > 100
    assert await candles(whole, "1m", closed_only=False).play() == first
    assert await candles(parts, "1m", closed_only=False).play() == first


async def test_the_candle_under_way_at_the_start_is_whole_and_ticks_before_it_are_not_delivered(
    ticks_only: Path,
) -> None:
    calls = candles(ticks_only, "5m", query=f"speed=0&start={BTC}@461").on(BTC)
    seen = await calls.play()
    (found,) = [one for one in seen if isinstance(one[0], Candle)]
    assert (found[0].complete, found[0].trades, found[0].open) == (True, 300, "310.50000000")
    assert next(one for one in seen if one[0] == BTC) == (BTC, 461)


async def test_after_a_seek_it_is_built_anew(ticks_only: Path) -> None:
    calls = candles(ticks_only, "1m").on(BTC)
    calls.control.pause()
    calls.control.seek(f"{BTC}@641")
    calls.control.resume()
    found = [one for one in await calls.play() if isinstance(one[0], Candle)]
    assert [(one.complete, one.trades) for one, _ in found] == [(True, 60)]


async def test_a_recording_that_begins_within_a_candle_does_not_make_it_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, every_second(range(20, 130)))])
    assert [one.complete for one, _ in await candles(path, "1m").play()] == [False, True]


async def test_a_blind_span_of_the_recording_leaves_its_mark(tmp_path: Path) -> None:
    blind = notice(1, BEGIN_US + 70 * SECOND_US + 1, since="2026-11-22T09:56:10Z")
    live = notice(2, BEGIN_US + 75 * SECOND_US + 1, "live", since="2026-11-22T09:56:10Z", until="2026-11-22T09:56:15Z")
    ticks = every_second(range(-10, 190))
    path = write(tmp_path / "t.axlog", [(MARKET, [*ticks[:81], blind, *ticks[81:86], live, *ticks[86:]])])
    assert [one.complete for one, _ in await candles(path, "1m").play()] == [False, True, False, True]


async def test_recorded_ones_are_not_built(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, [*every_second(range(100)), candle(1, BEGIN_US + 100 * SECOND_US)])])
    assert [meta.seq for _, meta in await candles(path, "1m", closed_only=False).play()] == [1]


async def test_that_they_are_built_is_no_warning(ticks_only: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        await candles(ticks_only, "1m").play()
    assert f"{CANDLE} was not recorded: it is built of the recorded ticks" in caplog.text
    assert "stay silent" not in caplog.text

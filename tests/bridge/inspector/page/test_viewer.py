from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from agentexchange_bridge.inspector.page.format import iso
from agentexchange_bridge.inspector.page.viewer import Viewer
from tests.bridge.inspector._fake import HOUR_US, FakeFeed, FakeInspection

NOW_US = 1_764_165_792_345_678


class Clock:
    now_us = NOW_US

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inspection(clock: Clock) -> FakeInspection:
    return FakeInspection(symbols=20, rate=100, clock=clock)


async def test_it_is_live_until_it_travels_and_again_afterwards(inspection: FakeInspection) -> None:
    viewer = Viewer(inspection)
    await viewer.start()
    assert viewer.travel is None
    assert viewer.is_moving
    await viewer.go(NOW_US - 60_000_000)
    assert viewer.feed is viewer.travel is not None
    assert viewer.travel.at_us == NOW_US - 60_000_000
    assert not viewer.is_moving
    assert len(inspection.travels) == 1
    await viewer.live()
    assert viewer.travel is None
    assert inspection.travels == set()


async def test_a_recording_begins_at_its_end(clock: Clock) -> None:
    inspection = FakeInspection(symbols=20, is_file=True, clock=clock)
    viewer = Viewer(inspection)
    await viewer.start()
    assert viewer.travel is not None
    assert viewer.travel.at_us == inspection.end_us
    await viewer.live()
    assert viewer.travel is not None
    await viewer.go(0)
    assert viewer.travel.at_us == inspection.end_us - HOUR_US
    await viewer.end()
    assert viewer.travel.at_us == inspection.end_us
    await viewer.close()


async def test_a_link_leads_to_what_it_was_made_of(inspection: FakeInspection) -> None:
    viewer = Viewer(inspection, panel="market", symbol="BTCUSDT")
    await viewer.go(NOW_US - 12_345_678)
    query = {name: values[0] for name, values in parse_qs(urlsplit(viewer.link()).query).items()}
    other = Viewer(inspection, panel=query["panel"], moment=query["t"], symbol=query["symbol"])
    await other.start()
    assert other.travel is not None
    assert (other.panel, other.symbol, other.travel.at_us) == ("market", "BTCUSDT", NOW_US - 12_345_678)
    await viewer.close()
    await other.close()


async def test_a_link_that_cannot_be_read_shows_now(inspection: FakeInspection, clock: Clock) -> None:
    viewer = Viewer(inspection, panel="<b>", moment="soon")
    with pytest.raises(ValueError, match="'soon' is no moment"):
        await viewer.start()
    assert (viewer.panel, viewer.travel) == ("overview", None)
    recording = Viewer(FakeInspection(is_file=True, clock=clock), moment="soon")
    with pytest.raises(ValueError, match="no moment"):
        await recording.start()
    assert recording.travel is not None
    await recording.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("13:55", "13:55:00.000000"), (" 13:55:10 ", "13:55:10.000000"), ("13:55:10.25", "13:55:10.250000")],
)
async def test_a_time_alone_is_of_the_day_shown(clock: Clock, text: str, shown: str) -> None:
    viewer = Viewer(FakeInspection(is_file=True, clock=clock))
    await viewer.start()
    await viewer.go_to_text(text)
    assert viewer.travel is not None
    assert iso(viewer.travel.at_us) == f"2025-11-26T{shown}Z"
    await viewer.close()


async def test_ago_counts_from_the_end_of_a_recording(clock: Clock) -> None:
    viewer = Viewer(FakeInspection(is_file=True, clock=clock), moment="10m ago")
    await viewer.start()
    assert viewer.travel is not None
    assert viewer.travel.at_us == NOW_US - 600_000_000
    await viewer.close()


async def test_an_event_is_gone_to_by_its_name(inspection: FakeInspection) -> None:
    viewer = Viewer(inspection)
    row = (await FakeFeed(inspection).events(kinds=["orders"]))[30]
    key = await viewer.go_to_text(f" orders@{row.key.seq} ")
    assert key == row.key
    assert viewer.travel is not None
    assert viewer.travel.at_us == key.received_us
    assert (await viewer.travel.events(limit=1))[0].key == key
    assert await viewer.go_to_text("10m ago") is None
    linked = Viewer(inspection, moment=f"orders@{row.key.seq}")
    assert await linked.start() == key
    await viewer.close()
    await linked.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ticker:NONE@3", "ticker:NONE@3 is not held here"),
        ("ticker:BTCUSDT@x", "'ticker:BTCUSDT@x' names no event: write its topic and number, ticker:BTCUSDT@123"),
        ("@3", "names no event"),
    ],
)
async def test_an_event_that_is_not_held_is_one_sentence(inspection: FakeInspection, text: str, message: str) -> None:
    viewer = Viewer(inspection)
    with pytest.raises(ValueError, match=message):
        await viewer.go_to_text(text)
    assert viewer.travel is None


async def test_steps_and_moves_stand_still_where_they_lead(inspection: FakeInspection) -> None:
    viewer = Viewer(inspection)
    await viewer.step(-1)
    assert viewer.travel is not None
    assert viewer.travel.at_us == NOW_US - 10_000
    await viewer.move(-10_000_000)
    assert viewer.travel.at_us == NOW_US - 10_010_000
    await viewer.toggle()
    await viewer.step(1)
    assert not viewer.travel.is_playing
    await viewer.close()


async def test_space_stops_the_present_and_plays_the_past(inspection: FakeInspection, clock: Clock) -> None:
    viewer = Viewer(inspection)
    await viewer.toggle()
    assert viewer.travel is not None
    assert not viewer.travel.is_playing
    await viewer.go(NOW_US - 60_000_000)
    viewer.set_speed(10)
    await viewer.toggle()
    clock.now_us += 2_000_000
    assert viewer.travel.at_us == NOW_US - 40_000_000
    viewer.set_speed(100)
    assert viewer.travel.speed == 100
    await viewer.toggle()
    assert not viewer.travel.is_playing
    await viewer.close()


async def test_each_jump_is_counted_and_told(inspection: FakeInspection) -> None:
    viewer = Viewer(inspection)
    told: list[int] = []

    async def on_jump() -> None:
        told.append(viewer.jumps)

    viewer.on_jump = on_jump
    await viewer.go(NOW_US - 1)
    await viewer.live()
    await viewer.live()
    assert told == [1, 2]
    await viewer.close()


async def test_nothing_is_opened_for_a_page_that_is_gone(inspection: FakeInspection) -> None:
    viewer = Viewer(inspection)
    await viewer.go(NOW_US - 5)
    await viewer.close()
    await viewer.close()
    await viewer.go(NOW_US - 5)
    assert inspection.travels == set()

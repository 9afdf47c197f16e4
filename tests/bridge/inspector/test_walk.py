from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.recording import Lane
from agentexchange_bridge.inspector.past import Page, Placed, walk
from tests.bridge.inspector._samples import START_US, ListHistory, tick

LANES = (Lane("m0", "log"), Lane("m0", "log:candles"), Lane("m1", "log"))
PLACES = st.lists(st.integers(0, 60), unique=True, max_size=40)


async def walked(history: ListHistory, from_us: int, *, back: bool) -> list[tuple[int, Lane]]:
    runs = [run async for run in walk(history, history.lanes, from_us, back=back)]
    assert all(len({event.lane for event in run}) == 1 for run in runs)
    return [place(event) for run in runs for event in run]


def place(event: Placed) -> tuple[int, Lane]:
    return event.received_us, event.lane


@settings(deadline=None, max_examples=60)
@given(lanes=st.tuples(PLACES, PLACES, PLACES), start=st.integers(-1, 61), most=st.integers(1, 7))
async def test_all_events_come_in_order_whatever_the_pages(
    lanes: tuple[list[int], list[int], list[int]], start: int, most: int
) -> None:
    events = [(START_US + at, lane) for lane, places in zip(LANES, lanes, strict=True) for at in places]
    raws = {lane: [tick(at) for at in places] for lane, places in zip(LANES, lanes, strict=True)}
    history, from_us = ListHistory(raws, most=most), START_US + start
    by_time = sorted(events, key=lambda event: event[0])  # of one r, the lanes in their order
    assert await walked(history, from_us, back=False) == [event for event in by_time if event[0] > from_us]
    newest_first = sorted(events, key=lambda event: -event[0])
    assert await walked(history, from_us, back=True) == [event for event in newest_first if event[0] < from_us]


async def test_what_is_no_envelope_is_left_out() -> None:
    class Junk(ListHistory):
        async def back(self, lane: Lane, before_us: int, count: int, *, topic: str | None = None) -> Page:
            page = await super().back(lane, before_us, count, topic=topic)
            return page._replace(raws=[b"junk", *page.raws, b""])

    history = Junk({LANES[0]: [tick(0), tick(1)]})
    assert [at for at, _ in await walked(history, START_US + 9, back=True)] == [START_US + 1, START_US]


async def test_no_more_is_read_than_is_asked_for() -> None:
    history = ListHistory({LANES[0]: [tick(at) for at in range(20_000)]})
    async for _ in walk(history, history.lanes, START_US + 30_000, back=True):
        break
    assert history.read <= 250

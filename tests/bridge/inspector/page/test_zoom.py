from __future__ import annotations

import pytest

from agentexchange_bridge.inspector.page.zoom import MIN_US, as_asked, in_sight, moved, words, zoomed
from agentexchange_bridge.inspector.views import TimeLine, Window

MINUTE = 60_000_000
HOUR = 60 * MINUTE


def line(start_us: int = 0, end_us: int = HOUR, *, last_us: int = HOUR) -> TimeLine:
    return TimeLine(start_us, end_us, (), (), is_exact=True, first_us=0, last_us=last_us)


@pytest.mark.parametrize(
    ("seen", "factor", "about_us", "window"),
    [
        (line(), 2, HOUR, Window(HOUR // 2)),  # about the end: moves on with it
        (line(), 2, 0, Window(HOUR // 2, 0)),
        (line(), 2, 40 * MINUTE, Window(HOUR // 2, 20 * MINUTE)),
        (line(), 2, 2 * HOUR, Window(HOUR // 2, 15 * MINUTE)),  # out of sight: about the middle
        (line(10 * MINUTE, 20 * MINUTE), 1 / 2, 15 * MINUTE, Window(20 * MINUTE, 5 * MINUTE)),
        (line(0, 20 * MINUTE), 1 / 2, 20 * MINUTE, Window(40 * MINUTE, 0)),
        (line(40 * MINUTE), 1 / 2, 40 * MINUTE, Window(40 * MINUTE)),
        (line(10 * MINUTE, 50 * MINUTE), 1 / 2, 30 * MINUTE, None),
        (line(), 1e12, 30 * MINUTE, Window(MIN_US, 30 * MINUTE - MIN_US // 2)),
        (line(end_us=5, last_us=5), 2, 3, None),  # shorter than the shortest part
        (line(end_us=0, last_us=0), 2, 0, None),
    ],
)
def test_a_moment_stays_where_it_is(seen: TimeLine, factor: float, about_us: int, window: Window | None) -> None:
    assert zoomed(seen, factor, about_us) == window


def test_going_along_ends_at_the_ends() -> None:
    seen = line(20 * MINUTE, 30 * MINUTE)
    assert moved(seen, 0.5) == Window(10 * MINUTE, 25 * MINUTE)
    assert moved(seen, -9) == Window(10 * MINUTE, 0)
    assert moved(seen, 9) == Window(10 * MINUTE)
    assert moved(line(), 0.5) is None


def test_a_key_pressed_again_goes_on_from_what_is_asked_for() -> None:
    drawn, window = line(), None
    for _ in range(3):  # pressed while the line is still read
        window = zoomed(as_asked(drawn, window), 2, HOUR)
    assert window == Window(HOUR // 8)
    assert as_asked(drawn, Window(MINUTE, 5 * MINUTE)) == line(5 * MINUTE, 6 * MINUTE)
    assert as_asked(line(5 * MINUTE, 6 * MINUTE), None) == line()


def test_whoever_travels_keeps_the_moment_in_sight() -> None:
    seen, follows = line(50 * MINUTE), Window(10 * MINUTE)
    assert in_sight(seen, follows, 55 * MINUTE) == Window(10 * MINUTE, 50 * MINUTE), "it stands still from now on"
    assert in_sight(seen, follows, 20 * MINUTE) == Window(10 * MINUTE, 15 * MINUTE)
    assert in_sight(seen, follows, 0) == Window(10 * MINUTE, 0)


def test_the_part_is_told_in_words() -> None:
    assert words(line()) == "1 h 0 min"
    assert words(line(5 * MINUTE, 8 * MINUTE)) == "3 min 0 s of 1 h 0 min"

"""Zooming the time line: by buttons, keys, wheel and two fingers; each viewer for itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.test_time import moment, says, seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page


def zoom(page: Page) -> Locator:
    return page.get_by_role("group", name="Zoom of the time line")


def ready(page: Page) -> Page:
    expect(zoom(page)).to_contain_text("1 h")
    return page


def test_buttons_zoom_in_and_out_and_tell_it_in_words(fake_recording: str, open_page: Callable[..., Page]) -> None:
    page = ready(open_page(fake_recording))
    ends = page.locator(".ax-ends-of-line")
    whole = page.get_by_role("button", name="See all of the time line")
    expect(whole).to_be_hidden()
    page.get_by_role("button", name="See less of the time line").click()
    expect(zoom(page)).to_contain_text("30 min 0 s of 1 h")
    expect(zoom(page).get_by_role("status")).to_contain_text("The time line shows 30 min")
    page.get_by_role("button", name="See less of the time line").click()
    expect(zoom(page)).to_contain_text("15 min 0 s of 1 h")
    page.get_by_role("button", name="See more of the time line").click()
    expect(zoom(page)).to_contain_text("30 min 0 s of 1 h")
    zoomed = ends.inner_text()
    whole.click()
    expect(zoom(page)).not_to_contain_text(" of 1 h 0")
    assert ends.inner_text() != zoomed
    expect(whole).to_be_hidden()


def test_a_blind_span_of_seconds_can_be_seen_and_gone_into(fake_recording: str, open_page: Callable[..., Page]) -> None:
    """The made-up feed lost something for four seconds of its hour: a pixel of the whole line."""
    page = ready(open_page(f"{fake_recording}/?panel=gaps"))
    end = moment(page)
    page.locator(".ax-panel .ag-row").nth(1).click()
    expect(says(page)).not_to_contain_text(end)
    for _ in range(8):
        page.keyboard.press("+")
    expect(zoom(page)).to_contain_text("14.1 s of 1 h")
    gap = page.locator(".ax-gap").first
    width = (gap.bounding_box() or {"width": 0})["width"]
    assert width > 100
    expect(gap).to_contain_text("4.0 s")
    shown = moment(page)
    box = page.locator(".ax-slider").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 18)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + 18, steps=6)
    page.mouse.up()
    expect(says(page)).not_to_contain_text(shown)
    moved = abs(seconds(moment(page)) - seconds(shown))
    assert moved < 14.1, "a drag goes as far as what is seen"
    expect(zoom(page)).to_contain_text("14.1 s of 1 h")


def test_keys_zoom_and_a_jump_keeps_the_moment_in_sight(fake_recording: str, open_page: Callable[..., Page]) -> None:
    page = ready(open_page(f"{fake_recording}/?t=30m"))
    for _ in range(4):
        page.keyboard.press("+")
    expect(zoom(page)).to_contain_text("3 min 45 s of 1 h")
    page.keyboard.press("-")
    expect(zoom(page)).to_contain_text("7 min 30 s of 1 h")
    ends = page.locator(".ax-ends-of-line").inner_text()
    for key in ("Home", "End"):
        page.keyboard.press(key)
        expect(page.locator(".ax-ends-of-line")).not_to_have_text(ends)
        expect(zoom(page)).to_contain_text("7 min 30 s of 1 h")
        expect(page.locator(".ax-out-of-sight")).to_have_count(0)
        ends = page.locator(".ax-ends-of-line").inner_text()
    page.keyboard.press("0")
    expect(zoom(page)).not_to_contain_text("of 1 h 0")


def test_zoomed_while_live_the_line_moves_on_with_its_end(fake: str, open_page: Callable[..., Page]) -> None:
    page = ready(open_page(fake))
    for _ in range(8):
        page.keyboard.press("+")
    expect(zoom(page)).to_contain_text(re.compile(r"1\d\.\d s of 1 h"))
    ends, words = page.locator(".ax-ends-of-line"), zoom(page).inner_text().split(" of ")[0]
    first = ends.locator("> :first-child")
    began = first.inner_text()
    expect(first).not_to_have_text(began)
    assert zoom(page).inner_text().split(" of ")[0] == words
    page.keyboard.press("Shift+ArrowLeft")
    expect(says(page)).to_contain_text("Not live")
    page.wait_for_timeout(1000)
    began = first.inner_text()
    page.wait_for_timeout(6000)
    assert first.inner_text() == began, "the past stands still"
    page.keyboard.press("l")
    expect(first).not_to_have_text(began)


def test_the_wheel_zooms_about_the_pointer_and_goes_along(fake_recording: str, open_page: Callable[..., Page]) -> None:
    page, other = ready(open_page(fake_recording)), ready(open_page(fake_recording))
    track = page.locator(".ax-track").bounding_box()
    assert track is not None
    page.mouse.move(track["x"] + track["width"] * 0.51, track["y"] + 20)  # where it was blind for 90 s
    for _ in range(3):
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(150)
    expect(zoom(page)).to_contain_text(re.compile(r"29\.\d s of 1 h"))
    expect(page.locator(".ax-gap")).to_have_count(1)
    before = page.locator(".ax-ends-of-line").inner_text()
    page.mouse.wheel(track["width"] / 2, 0)
    expect(page.locator(".ax-ends-of-line")).not_to_have_text(before)
    expect(page.locator(".ax-out-of-sight")).to_have_count(1)
    expect(zoom(other)).not_to_contain_text("of 1 h 0")


def test_two_fingers_zoom_and_move_nothing(fake_recording: str, open_page: Callable[..., Page]) -> None:
    page = ready(open_page(f"{fake_recording}/?t=30m", size="phone"))
    shown = moment(page)
    track = page.locator(".ax-track").bounding_box()
    assert track is not None
    x, y = track["x"] + track["width"] / 2, track["y"] + 20
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *apart: float) -> None:
        points = [{"x": x + by, "y": y} for by in apart]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -30)
    touch("touchStart", -30, 30)
    for apart in (60, 90, 120):
        touch("touchMove", -apart, apart)
    touch("touchEnd", -120)
    touch("touchEnd")
    expect(zoom(page)).to_contain_text("15 min 0 s of 1 h")
    assert moment(page) == shown
    touch("touchStart", 0)
    for by in (20, 40, 60):
        touch("touchMove", by)
    touch("touchEnd")
    expect(says(page)).not_to_contain_text(shown)
    box = zoom(page).get_by_role("button").first.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 24

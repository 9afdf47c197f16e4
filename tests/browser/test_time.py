from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page

MOMENT = re.compile(r"\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d\.\d{3}) UTC")


def says(page: Page) -> Locator:
    return page.locator(".ax-moment-words")


def moment(page: Page) -> str:
    """The moment that stands there."""
    expect(says(page)).to_contain_text(MOMENT)
    found = MOMENT.search(says(page).inner_text())
    assert found is not None
    return found[1]


def test_the_time_line_leads_into_the_past_and_back(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market")
    expect(says(page)).to_contain_text("Live")
    expect(page.get_by_role("button", name="Back to live")).to_be_hidden()
    page.locator(".ax-slider").click(position={"x": 100, "y": 18})
    expect(says(page)).to_contain_text("Not live")
    before = moment(page)
    price = page.locator('[row-id="ADAUSDT"] [col-id="p"]')
    page.wait_for_timeout(300)  # the table follows the words within the same message, not the same frame
    text = price.inner_text()
    page.wait_for_timeout(1200)
    assert (moment(page), price.inner_text()) == (before, text), "the past stands still"
    page.get_by_role("button", name="Back to live").click()
    expect(says(page)).to_contain_text("Live")
    expect(says(page)).not_to_contain_text("Not live")


def test_dragging_moves_the_moment(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(fake)
    expect(page.locator(".ax-ends-of-line")).to_contain_text(re.compile(r"\d\d:\d\d"))
    line = page.locator(".ax-slider").bounding_box()
    assert line is not None
    y = line["y"] + 18
    page.mouse.move(line["x"] + line["width"] - 2, y)
    page.mouse.down()
    page.mouse.move(line["x"] + line["width"] / 2, y, steps=8)
    page.mouse.up()
    first = moment(page)
    page.mouse.move(line["x"] + line["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(line["x"] + line["width"] / 4, y, steps=8)
    page.mouse.up()
    expect(says(page)).not_to_contain_text(first)
    assert moment(page) < first or first < "01:00"


def test_a_link_shows_a_colleague_the_same_moment(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market&symbol=ETHUSDT&t=10m")
    shown = moment(page)
    expect(page).to_have_url(re.compile(r"t=\d{4}-\d\d-\d\dT"))
    price = page.locator('[row-id="ADAUSDT"] [col-id="p"]')
    expect(price).to_be_visible()
    other = open_page(page.url)
    assert moment(other) == shown
    expect(other.get_by_role("heading", name="ETHUSDT")).to_be_visible()
    expect(other.locator('[row-id="ADAUSDT"] [col-id="p"]')).to_have_text(price.inner_text())


def test_a_moment_can_be_typed(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(fake)
    field = page.get_by_label("Go to a moment")
    field.fill("yesterdayish")
    field.press("Enter")
    expect(page.locator(".q-notification")).to_contain_text("is no moment")
    field.fill("20m ago")
    field.press("Enter")
    expect(says(page)).to_contain_text("Not live")


def test_the_keys_travel(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=events&t=10m")
    start = moment(page)
    page.keyboard.press("Shift+ArrowLeft")
    expect(says(page)).not_to_contain_text(start)
    page.keyboard.press("Shift+ArrowRight")
    expect(says(page)).to_contain_text(start)
    first = page.locator('.ax-panel .ag-row[row-index="0"] [col-id="seq"]')
    number = int(first.inner_text())
    page.keyboard.press("ArrowRight")
    expect(first).to_have_text(str(number + 1))
    page.keyboard.press("ArrowLeft")
    expect(first).to_have_text(str(number))
    page.keyboard.press(" ")
    expect(says(page)).not_to_contain_text(start)
    page.keyboard.press(" ")
    page.keyboard.press("l")
    expect(says(page)).to_contain_text("Live")


def test_it_plays_at_a_hundred_times(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market&t=30m")
    moment(page)
    page.get_by_role("button", name="100×").click()
    page.get_by_role("button", name="Play or pause").click()
    page.wait_for_timeout(1500)
    before = moment(page)
    page.wait_for_timeout(2000)
    page.get_by_role("button", name="Play or pause").click()
    passed = seconds(moment(page)) - seconds(before)
    assert 100 < passed % 86_400 < 400


def test_keys_open_panels_and_help(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(fake)
    expect(says(page)).to_contain_text("Live")
    page.keyboard.press("2")
    expect(page.get_by_role("region", name="Market", exact=True)).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("b")
    expect(page.get_by_role("region", name="Gaps", exact=True)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("play or pause")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("c")
    expect(page.locator(".q-notification")).to_contain_text("Link copied")


def test_a_recording_has_only_a_past(fake_recording: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake_recording}/?panel=overview")
    expect(says(page)).to_contain_text("Recording")
    expect(page.get_by_role("button", name="Back to live")).to_be_hidden()
    last = moment(page)
    page.keyboard.press("Home")
    expect(says(page)).not_to_contain_text(last)
    first = moment(page)
    page.keyboard.press("End")
    expect(says(page)).not_to_contain_text(first)


def test_the_theme_is_kept(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(fake, theme="light")
    expect(says(page)).to_contain_text("Live")
    page.get_by_role("button", name="Theme").click()
    expect(page.locator("body.body--dark")).to_be_visible()
    page.reload()
    expect(page.locator("body.body--dark")).to_be_visible()
    page.get_by_role("button", name="Theme").click()
    expect(page.locator("body.body--light")).to_be_visible()


def seconds(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)

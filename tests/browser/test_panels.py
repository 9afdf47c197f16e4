from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

SHOWS = {
    "overview": "the platform closed the session|bridge-1",
    "market": "ADAUSDT",
    "account": "partially_filled",
    "events": "ticker:",
    "gaps": "Blind",
    "letters": "executors",
}
# Names of buttons that say nothing to a screen reader, and texts that are too faint for their ground (WCAG AA, 4.5).
NAMELESS = """() => [...document.querySelectorAll('button, [role=button], input')].filter(e => e.offsetParent
  && !e.innerText.replace(/[a-z_]+/g, m => e.querySelector('.q-icon')?.innerText === m ? '' : m).trim()
  && !e.getAttribute('aria-label') && !e.labels?.length).map(e => e.outerHTML.slice(0, 160))"""
# Words of a state that are pushed out of their cell by its mark.
PUSHED_OUT = """() => [...document.querySelectorAll('.ag-cell.ax-state .ag-cell-value')].filter(e => {
  const word = e.getBoundingClientRect(), cell = e.closest('.ag-cell').getBoundingClientRect();
  return word.top < cell.top || word.bottom > cell.bottom || !word.width; }).map(e => e.innerText)"""
FAINT = """() => {
  const rgb = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
  const faint = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), e = walker.currentNode.parentElement;
    if (!text || !e.offsetParent || e.closest('script, style, .q-tooltip, [aria-hidden=true], .disabled')) continue;
    const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.45) faint.push(`${text.slice(0, 40)}: ${ratio.toFixed(1)}`);
  }
  return faint; }"""


@pytest.mark.parametrize("panel", SHOWS)
@pytest.mark.parametrize(("size", "theme"), [("desktop", "light"), ("phone", "dark")])
def test_each_panel_fits_and_can_be_read(
    fake: str, open_page: Callable[..., Page], panel: str, size: str, theme: str
) -> None:
    page = open_page(f"{fake}/?panel={panel}", size=size, theme=theme)
    expect(page.locator(".ax-panel")).to_contain_text(re.compile(SHOWS[panel]))
    expect(page.locator(".ax-moment-words")).to_contain_text("Live")
    expect(page.locator(f"body.body--{theme}")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(FAINT) == []
    assert page.evaluate(PUSHED_OUT) == []
    current = page.locator("nav [aria-current=page]")
    expect(current).to_have_count(1)


def test_the_rail_leads_to_each_panel(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(fake)
    for title, shown in (
        ("Market", "ADAUSDT"),
        ("Gaps", "Blind"),
        ("Dead letters", "executors"),
        ("Overview", "bridge-1"),
    ):
        page.get_by_role("navigation").get_by_role("button", name=title).click()
        expect(page.get_by_role("region", name=title, exact=True)).to_contain_text(shown)


def test_prices_move_and_only_what_can_be_seen_is_sent(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market")
    price = page.locator('[row-id="ADAUSDT"] [col-id="p"]')
    expect(price).to_have_text(re.compile(r"\d+\.\d\d"))
    before = price.inner_text()
    expect(price).not_to_have_text(before)
    page.wait_for_timeout(1000)
    received = page.seen.received  # type: ignore[attr-defined]
    page.wait_for_timeout(2000)
    per_s = (page.seen.received - received) / 2  # type: ignore[attr-defined]
    assert 0 < per_s < 40_000, "bytes a second for some twenty rows and the chart"


def test_a_symbol_is_searched_sorted_and_opened(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market")
    expect(page.locator('[row-id="ADAUSDT"]')).to_be_visible()
    page.get_by_label("Search a symbol").fill("pair59")
    expect(page.locator(".ax-panel .ag-row")).to_have_count(10)
    page.locator('[row-id="PAIR594USDT"]').click()
    expect(page.get_by_role("heading", name="PAIR594USDT")).to_be_visible()
    expect(page).to_have_url(re.compile("symbol=PAIR594USDT"))
    page.get_by_label("Search a symbol").fill("")
    page.get_by_role("columnheader", name="Change").click()
    page.get_by_role("columnheader", name="Change").click()
    changes = page.locator('.ax-panel .ag-row [col-id="c"]')
    expect(changes.first).to_contain_text("+")
    page.get_by_role("button", name="15m").click()
    expect(page.locator("canvas")).to_be_visible()


def test_rows_that_scroll_into_sight_catch_up(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market")
    expect(page.locator('[row-id="ADAUSDT"]')).to_be_visible()
    page.locator(".ax-panel .ag-body-viewport").evaluate("e => e.scrollTo(0, 12000)")
    row = page.locator(".ax-panel .ag-row [col-id=p]").nth(8)
    before = row.inner_text()
    expect(row).not_to_have_text(before)


def test_a_hidden_page_is_sent_nothing(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market")
    expect(page.locator('[row-id="ADAUSDT"]')).to_be_visible()
    hide = """v => { Object.defineProperty(document, 'hidden', {get: () => v, configurable: true});
      document.dispatchEvent(new Event('visibilitychange')); }"""
    page.evaluate(hide, True)
    page.wait_for_timeout(1200)
    received = page.seen.received  # type: ignore[attr-defined]
    page.wait_for_timeout(2000)
    assert page.seen.received - received < 200, "keep-alive only"  # type: ignore[attr-defined]
    before = page.locator('[row-id="ADAUSDT"] [col-id="p"]').inner_text()
    page.evaluate(hide, False)
    expect(page.locator('[row-id="ADAUSDT"] [col-id="p"]')).not_to_have_text(before)


def test_a_browser_that_is_busy_gets_fewer_batches_and_no_later_ones(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=market")
    expect(page.locator('[row-id="ADAUSDT"]')).to_be_visible()
    page.wait_for_timeout(1000)
    received = page.seen.received  # type: ignore[attr-defined]
    page.wait_for_timeout(3000)
    usual = page.seen.received - received  # type: ignore[attr-defined]
    page.evaluate("() => { const end = performance.now() + 3000; while (performance.now() < end); }")
    assert page.seen.received - received - usual < usual / 2  # type: ignore[attr-defined]
    page.wait_for_timeout(1500)
    shown = page.locator(".ax-now").inner_text()
    seconds = page.evaluate("() => { const t = new Date(); return t.getUTCMinutes() * 60 + t.getUTCSeconds(); }")
    minutes, late = (int(part) for part in shown[3:8].split(":"))
    assert (seconds - minutes * 60 - late) % 3600 < 4


def test_events_are_filtered_in_words(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=events")
    topics = page.locator('.ax-panel .ag-row [col-id="topic"]')
    expect(topics.first).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Filter events")).to_be_focused()
    page.keyboard.type("orders")
    expect(topics.first).to_have_text("orders")
    page.get_by_label("Filter events").fill("(price > 1")
    expect(page.locator(".ax-panel")).to_contain_text("')' is missing")
    page.get_by_label("Filter events").fill("")
    expect(page.locator(".ax-panel")).not_to_contain_text("')' is missing")
    status = page.get_by_role("button", name="Status")
    status.click()
    expect(status).to_have_attribute("aria-pressed", "true")
    expect(topics.first).to_have_text("status")
    status.click()
    expect(status).to_have_attribute("aria-pressed", "false")


def test_a_list_that_is_read_stands_still_and_goes_on_into_the_past(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=events")
    expect(page.locator(".ax-panel .ag-row").first).to_be_visible()
    follow = page.get_by_role("button", name="Follow")
    expect(follow).to_be_hidden()
    body = page.locator(".ax-panel .ag-body-viewport")
    body.evaluate("e => e.scrollTo(0, e.scrollHeight)")
    expect(follow).to_be_visible()
    page.wait_for_function(
        "document.querySelector('.ax-panel .ag-body-viewport').scrollHeight > 150 * 34"
    )  # the next page
    times = page.locator('.ax-panel .ag-row [col-id="time"]').all_inner_texts()
    page.wait_for_timeout(1500)
    assert page.locator('.ax-panel .ag-row [col-id="time"]').all_inner_texts() == times
    follow.click()
    expect(follow).to_be_hidden()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_an_event_opens_with_all_that_is_known(fake: str, open_page: Callable[..., Page], size: str) -> None:
    page = open_page(f"{fake}/?panel=events&t=10m", size=size)
    page.locator('.ax-panel .ag-row [col-id="topic"]').nth(2).click()
    dialog = page.get_by_role("dialog")
    for part in ("Log id", "Epoch", "Received", "64231.50", "<b>as text</b>", "Before and after"):
        expect(dialog).to_contain_text(part)
    for part in ('"data": {"symbol": "BTCUSDT"', "Left out: channel", "Changed: price, from 64231.5 to 64231.50"):
        expect(dialog).to_contain_text(part)
    assert page.evaluate(FAINT) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dialog.locator(".ax-near-button").first.click()
    expect(page.get_by_role("dialog")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_an_event_leads_to_its_moment(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=events")
    page.locator('.ax-panel .ag-row [col-id="topic"]').nth(2).click()
    page.get_by_role("button", name="Show this moment everywhere").click()
    expect(page.get_by_role("button", name="Back to live")).to_be_visible()


def test_a_gap_leads_to_the_moment_at_which_it_began(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=gaps")
    since = page.locator('.ax-panel .ag-row [col-id="since"]').first
    moment = since.inner_text()
    since.click()
    expect(page.locator(".ax-moment-words")).to_contain_text(f"{moment} UTC")
    titles = page.locator(".ax-drawing title")
    expect(titles).to_have_count(2)
    assert "Blind since" in titles.first.text_content()


def test_dead_letters_are_retried_and_dropped(own_fake: tuple[object, str], open_page: Callable[..., Page]) -> None:
    page = open_page(f"{own_fake[1]}/?panel=letters")
    rows = page.locator(".ax-panel .ag-row")
    expect(rows).to_have_count(3)
    rows.first.locator("[col-id=topic]").click()
    expect(page.get_by_role("dialog")).to_contain_text("no position")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".q-notification")).to_contain_text("Handed to executors again")
    expect(rows).to_have_count(2)
    for answer, left in (("Cancel", 2), ("Drop", 1)):
        rows.first.locator("[col-id=topic]").click()
        page.get_by_role("dialog").get_by_role("button", name="Drop").click()
        question = page.get_by_role("alertdialog")
        expect(question).to_contain_text("for good")
        question.get_by_role("button", name=answer).click()
        expect(rows).to_have_count(left)


def test_an_order_opens(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/?panel=account")
    page.locator('[row-id="o-900"] [col-id=symbol]').click()
    expect(page.get_by_role("dialog")).to_contain_text("order_id")

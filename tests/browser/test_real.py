"""The whole way: exchange, bridge, Redis, inspector, browser; and a recording of it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser._processes import ServerProcess
from tests.browser._system import KEY, System, inspector, system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[System, str]]:
    with system() as whole, inspector("--redis-url", whole.redis.url) as (_, url):
        yield whole, url


def test_the_overview_tells_who_carries_and_who_listens(
    running: tuple[System, str], open_page: Callable[..., Page]
) -> None:
    whole, url = running
    listens = ("agentexchange_bridge", "tail", "--url", whole.redis.url, "ticker:BTCUSDT")
    page = open_page(url)
    panel = page.locator(".ax-panel")
    with ServerProcess(*listens, ready="ticker:BTCUSDT"):
        expect(panel.locator('[row-id="m0"]')).to_contain_text("Live")
        expect(panel).to_contain_text("1 active, 0 standing by")
        expect(panel.get_by_role("region", name="Who listens")).to_contain_text("tail")
    assert KEY not in page.content()
    assert float(panel.locator('[row-id="m0"] [col-id="rate"]').inner_text().replace(",", "")) > 300


def test_prices_come_and_the_past_stands_still(running: tuple[System, str], open_page: Callable[..., Page]) -> None:
    page = open_page(f"{running[1]}/?panel=market")
    price = page.locator('[row-id="BTCUSDT"] [col-id="p"]')
    page.get_by_label("Search a symbol").fill("BTCUSDT")
    expect(price).to_be_visible()
    before = price.inner_text()
    assert re.fullmatch(r"\d+\.\d{2,7}", before), "without the zeros up to the eighth place"
    expect(price).not_to_have_text(before)
    expect(page.get_by_role("heading", name="BTCUSDT")).to_be_visible()
    page.get_by_label("Go to a moment").fill("4s ago")
    page.get_by_label("Go to a moment").press("Enter")
    expect(page.locator(".ax-moment-words")).to_contain_text("Not live")
    page.wait_for_timeout(500)
    text = price.inner_text()
    page.wait_for_timeout(1500)
    assert price.inner_text() == text
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Play or pause").click()
    expect(price).not_to_have_text(text)
    page.get_by_role("button", name="Back to live").click()
    expect(page.locator(".ax-moment-words")).to_contain_text(re.compile("^Live"))


def test_events_are_found_by_a_condition(running: tuple[System, str], open_page: Callable[..., Page]) -> None:
    page = open_page(f"{running[1]}/?panel=events")
    topics = page.locator('.ax-panel .ag-row [col-id="topic"]')
    page.get_by_label("Filter events").fill("price > 1 and symbol = 'ETHUSDT'")
    expect(topics.first).to_have_text("ticker:ETHUSDT")
    assert set(topics.all_inner_texts()) <= {"ticker:ETHUSDT", "candles:ETHUSDT:1m"}
    page.get_by_label("Filter events").fill("price >")
    expect(page.locator(".ax-panel [role=alert]")).not_to_be_empty()
    page.get_by_label("Filter events").fill("ticker:ETHUSDT")
    topics.first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Log id")
    expect(page.get_by_role("dialog").locator(".ax-near li")).not_to_have_count(1)


def test_an_event_is_gone_to_by_its_name(running: tuple[System, str], open_page: Callable[..., Page]) -> None:
    page = open_page(f"{running[1]}/?panel=events")
    page.get_by_label("Filter events").fill("ticker:ETHUSDT")
    first = page.locator('.ax-panel .ag-row[row-index="0"] [col-id="topic"]')
    expect(first).to_have_text("ticker:ETHUSDT")
    field = page.get_by_label("Go to a moment")
    field.fill("ticker:ETHUSDT@2")
    field.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("ticker:ETHUSDT #2")
    expect(page.locator(".ax-moment-words")).to_contain_text("Not live")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator('.ax-panel .ag-row[row-index="0"] [col-id="seq"]')).to_have_text("2")
    field.fill("ticker:ETHUSDT@99999999")
    field.press("Enter")
    expect(page.locator(".q-notification")).to_contain_text("ticker:ETHUSDT@99999999 is not held here")


def test_the_account_is_shown(running: tuple[System, str], open_page: Callable[..., Page]) -> None:
    page = open_page(f"{running[1]}/?panel=account")
    expect(page.get_by_role("region", name="Orders")).to_contain_text(re.compile("buy|sell"))
    expect(page.get_by_role("region", name="Portfolio")).to_contain_text("total_equity")


def test_a_dead_letter_goes_back_to_its_group(running: tuple[System, str], open_page: Callable[..., Page]) -> None:
    whole, url = running
    environment = {"AGENTEXCHANGE_API_KEY": KEY}
    crew = ServerProcess("tests.browser.failing_crew", whole.redis.url, ready="gave up two", environment=environment)
    with crew:
        page = open_page(f"{url}/?panel=letters")
        rows = page.locator(".ax-panel .ag-row")
        expect(rows).to_have_count(2)
        rows.first.locator('[col-id="topic"]').click()
        expect(page.get_by_role("dialog")).to_contain_text("no position to close")
        page.get_by_role("button", name="Retry").click()
        expect(rows).to_have_count(1)
    rows.first.locator('[col-id="topic"]').click()
    page.get_by_role("dialog").get_by_role("button", name="Drop").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Drop").click()
    expect(page.locator(".ax-panel")).to_contain_text("No dead letters")


def test_a_recording_is_shown_at_its_moments(
    running: tuple[System, str], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    file = tmp_path / "day.axlog"
    export = ("export", "--url", running[0].redis.url, "--out", str(file))
    subprocess.run([sys.executable, "-m", "agentexchange_bridge", *export], check=True, capture_output=True, timeout=30)
    with inspector(str(file)) as (_, url):
        page = open_page(f"{url}/?panel=market")
        expect(page.locator(".ax-moment-words")).to_contain_text("Recording")
        page.get_by_label("Search a symbol").fill("BTCUSDT")
        price = page.locator('[row-id="BTCUSDT"] [col-id="p"]')
        expect(price).to_be_visible()
        before = price.inner_text()
        width = (page.locator(".ax-slider").bounding_box() or {"width": 0})["width"]
        page.locator(".ax-slider").click(position={"x": width * 0.75, "y": 18})  # by then every symbol had a price
        expect(price).not_to_have_text(before)
        page.get_by_role("navigation").get_by_role("button", name="Events").click()
        expect(page.locator('.ax-panel .ag-row [col-id="topic"]').first).to_be_visible()
        page.close()  # before its server ends, which it would complain of


def test_a_redis_that_is_away_is_told_and_comes_back(
    running: tuple[System, str], open_page: Callable[..., Page]
) -> None:
    whole, url = running
    page = open_page(f"{url}/?panel=letters")
    feed = page.locator(".ax-feed")
    expect(feed).to_have_text("Feed live")
    whole.redis.kill()
    try:
        expect(feed).to_contain_text(re.compile("not live|Blind"), timeout=20_000)
        expect(page.locator(".ax-problem")).not_to_be_empty()
    finally:
        whole.redis.start()
    expect(feed).to_have_text("Feed live", timeout=30_000)
    expect(page.locator(".ax-problem")).to_be_empty()


def test_a_recording_that_is_written_grows_on_the_page(
    running: tuple[System, str], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    file = tmp_path / "day.axlog"
    record = ("record", "--url", running[0].redis.url, "--out", str(file), "--block-s", "0.2", "--from", "3s ago")
    with ServerProcess("agentexchange_bridge", *record, ready="record:"):
        while not file.exists() or file.stat().st_size < 10_000:
            time.sleep(0.05)
        with inspector(str(file)) as (_, url):
            page = open_page(f"{url}/?panel=overview")
            says = page.locator(".ax-moment-words")
            expect(says).to_contain_text("Still recorded")
            shown = says.inner_text()
            entries = page.locator('[row-id="m0:log"] [col-id="entries"]')
            first, last = entries.inner_text(), page.locator(".ax-ends-of-line").inner_text()
            expect(entries).not_to_have_text(first)
            assert page.locator(".ax-ends-of-line").inner_text() != last
            assert says.inner_text() == shown, "the moment stands still"
            page.keyboard.press("End")
            expect(says).not_to_contain_text(shown.splitlines()[-1])
            page.close()  # before its server ends

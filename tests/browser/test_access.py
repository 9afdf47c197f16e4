from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import expect

from tests.browser.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser._processes import ServerProcess


def test_the_token_opens_the_page_that_was_asked_for(fake_with_token: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake_with_token}/?panel=market", size="phone", expect_errors=True)  # the browser notes each 401
    page.get_by_label("Token").fill("not-the-token-at-all")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("That is not the token")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("region", name="Market", exact=True)).to_contain_text("ADAUSDT")
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert TOKEN not in page.content() + page.url + cookie["value"]


def test_a_link_from_another_site_needs_no_second_sign_in(fake_with_token: str, open_page: Callable[..., Page]) -> None:
    page = open_page(fake_with_token, expect_errors=True)
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".ax-moment-words")).to_contain_text("Live")
    elsewhere = fake_with_token.replace("127.0.0.1", "localhost")  # another site to the browser, the same server
    page.goto(f"{elsewhere}/favicon.ico")
    page.evaluate(
        "url => { document.body.innerHTML = `<a href='${url}'>see</a>`; }", f"{fake_with_token}/?panel=gaps&t=10m"
    )
    page.get_by_role("link", name="see").click()
    expect(page.get_by_role("region", name="Gaps", exact=True)).to_contain_text("Blind")


def test_pages_of_other_sites_cannot_reach_the_socket(fake: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{fake}/favicon.ico", expect_errors=True)
    elsewhere = fake.replace("127.0.0.1", "localhost")
    page.goto(f"{elsewhere}/favicon.ico")
    opened = page.evaluate(
        """url => new Promise(done => { const socket = new WebSocket(url);
           socket.onopen = () => done('open'); socket.onerror = () => done('refused'); })""",
        f"{fake.replace('http', 'ws')}/_nicegui_ws/socket.io/?EIO=4&transport=websocket",
    )
    assert opened == "refused"


def test_nothing_is_written_and_a_signal_ends_it_while_pages_are_open(
    own_fake: tuple[ServerProcess, str], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    process, url = own_fake
    page = open_page(url, expect_errors=True)  # the browser notes that the server is gone
    expect(page.locator(".ax-moment-words")).to_contain_text("Live")
    process.signal(signal.SIGTERM)
    process._process.wait(10)
    assert process.code == 0
    assert [line for line in process.output if line != "ready"] == []
    assert list(tmp_path.iterdir()) == []
    expect(page.locator("#popup")).to_be_visible()


def test_twenty_pages_that_came_and_went_leave_nothing_behind(
    own_fake: tuple[ServerProcess, str], open_page: Callable[..., Page]
) -> None:
    process, url = own_fake
    page = open_page(url)
    expect(page.locator(".ax-moment-words")).to_contain_text("Live")
    for _ in range(5):
        others = [page.context.new_page() for _ in range(4)]  # they share the cache of the first
        for other, panel in zip(others, ("market", "events", "gaps", "account"), strict=True):
            other.goto(f"{url}/?panel={panel}&t=10m", wait_until="commit")
        for other in others:
            expect(other.locator(".ax-moment-words")).to_contain_text("Not live")
            other.close()
    page.wait_for_timeout(2000)
    process.signal(signal.SIGUSR1)
    held = process.wait_line("held:")
    assert re.search("clients=1 travels=0 timers=1 outboxes=1", held), held


def test_secrets_are_on_no_page(fake: str) -> None:
    text = httpx.get(fake).text
    assert "ak_" not in text

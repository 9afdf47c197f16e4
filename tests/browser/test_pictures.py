"""The pictures of docs/inspector.md: with ``--pictures`` they are taken anew, always they are checked to be there.

They show a sandbox, a bridge and its crew of now, in front of forty minutes that were imported before.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser._past import write_past
from tests.browser._processes import ROOT, ServerProcess
from tests.browser._system import KEY, inspector, system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

IMAGES = ROOT / "docs" / "images"
PICTURES = {
    "overview": ("panel=overview", "desktop", "light"),
    "market": ("panel=market&symbol=BTCUSDT", "desktop", "dark"),
    "past": ("panel=market&t=12m&symbol=ETHUSDT", "desktop", "light"),
    "event": ("panel=events&t=ticker:ETHUSDT@9000", "desktop", "light"),
    "account": ("panel=account", "desktop", "dark"),
    "letters": ("panel=letters", "desktop", "light"),
    "phone": ("panel=market&t=15m", "phone", "dark"),
}
MAX_BYTES = 200_000
PAIRS, SEED = 60, 1  # the sandbox's default


def _import_past(url: str) -> None:
    file = ROOT / "build" / "pictures.axlog"
    file.parent.mkdir(exist_ok=True)
    write_past(file, key=KEY, pairs=PAIRS, seed=SEED, end_us=time.time_ns() // 1000)
    command = (sys.executable, "-m", "agentexchange_bridge", "import", str(file), "--redis-url", url)
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=ROOT)
    file.unlink()


@pytest.fixture(scope="module")
def day() -> Iterator[str]:
    """Address of the inspector."""
    flags = ("--tick-log-age-s", "7200", "--tick-log-entries", "1000000")
    key = {"AGENTEXCHANGE_API_KEY": KEY}
    with ExitStack() as stack:
        whole = stack.enter_context(
            system(rate=60, pairs=PAIRS, order_rate=0.3, warm_s=2, flags=flags, before=_import_past)
        )
        bridge = ("agentexchange_bridge", "bridge", "--redis-url", whole.redis.url, "--http", "off", "--upstream-url")
        stack.enter_context(ServerProcess(*bridge, "ws://127.0.0.1:9", ready="interest is followed", environment=key))
        tail = ("agentexchange_bridge", "tail", "--url", whole.redis.url)
        for topics in (("ticker:BTCUSDT", "candles:BTCUSDT:1m"), ("ticker:all",)):
            stack.enter_context(ServerProcess(*tail, *topics, ready="ticker:", environment=key))
        stack.enter_context(
            ServerProcess("tests.browser.failing_crew", whole.redis.url, ready="gave up two", environment=key)
        )
        yield stack.enter_context(inspector("--redis-url", whole.redis.url))[1]


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_there(open_page: Callable[..., Page], request: pytest.FixtureRequest, name: str) -> None:
    file = IMAGES / f"inspector-{name}.png"
    if request.config.getoption("--pictures"):
        query, size, theme = PICTURES[name]
        page = open_page(f"{request.getfixturevalue('day')}/?{query}", size=size, theme=theme)
        page.set_viewport_size({"width": 1280, "height": 760} if size == "desktop" else {"width": 390, "height": 780})
        _prepare(page, name)
        page.screenshot(path=file)
    assert 0 < file.stat().st_size < MAX_BYTES
    assert file.name in (ROOT / "docs" / "inspector.md").read_text(encoding="utf-8")


def _prepare(page: Page, name: str) -> None:
    expect(page.locator(".ax-moment-words")).to_contain_text(re.compile("UTC"))
    expect(page.locator(".ax-panel .ag-row").first).to_be_visible()
    expect(page.locator(".ax-gap").nth(1)).to_be_attached()  # the blind span of the past, and the bridge's start
    if name == "letters":
        page.locator('.ax-panel .ag-row [col-id="topic"]').nth(1).click()
    if name in {"event", "letters"}:
        expect(page.get_by_role("dialog")).to_contain_text("quantity")
    page.mouse.move(0, 0)
    page.wait_for_timeout(2500)

"""The pictures of docs/inspector.md: with ``--pictures`` they are written anew, always they are checked to be there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser._processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

IMAGES = ROOT / "docs" / "images"
PICTURES = {
    "overview": ("panel=overview", "desktop", "light"),
    "market": ("panel=market", "desktop", "dark"),
    "past": ("panel=market&t=27m&symbol=ETHUSDT", "desktop", "light"),
    "event": ("panel=events", "desktop", "light"),
    "account": ("panel=account", "desktop", "dark"),
    "letters": ("panel=letters", "desktop", "light"),
    "phone": ("panel=market&t=12m", "phone", "dark"),
}
MAX_BYTES = 200_000


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_there(
    fake: str, open_page: Callable[..., Page], request: pytest.FixtureRequest, name: str
) -> None:
    file = IMAGES / f"inspector-{name}.png"
    if request.config.getoption("--pictures"):
        query, size, theme = PICTURES[name]
        page = open_page(f"{fake}/?{query}", size=size, theme=theme)
        page.set_viewport_size({"width": 1280, "height": 760} if size == "desktop" else {"width": 390, "height": 780})
        _prepare(page, name)
        page.screenshot(path=file)
    assert 0 < file.stat().st_size < MAX_BYTES
    assert file.name in (ROOT / "docs" / "inspector.md").read_text(encoding="utf-8")


def _prepare(page: Page, name: str) -> None:
    expect(page.locator(".ax-moment-words")).to_contain_text(re.compile("UTC"))
    expect(page.locator(".ax-panel .ag-row").first).to_be_visible()
    if name in {"event", "letters"}:
        page.locator('.ax-panel .ag-row [col-id="topic"]').nth(1).click()
        expect(page.get_by_role("dialog")).to_contain_text("price")
    page.mouse.move(0, 0)
    page.wait_for_timeout(2500)

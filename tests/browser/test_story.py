"""The story of docs/replay.md: the moment at which the crew lost money, seen in the inspector."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser._processes import ROOT
from tests.browser._system import inspector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

FOLDER = ROOT / "examples" / "lost_at_1403"
KEY = {"AGENTEXCHANGE_API_KEY": "ak_live_story"}
MOMENT = "t=2026-11-20T14:03:02.5Z"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("story")
    subprocess.run([sys.executable, FOLDER / "make_day.py", folder], check=True, capture_output=True)
    with inspector(str(folder / "day.axlog"), environment=KEY) as (_, url):
        yield url


def test_the_order_and_the_blind_span_before_it_are_seen(day: str, open_page: Callable[..., Page]) -> None:
    account = open_page(f"{day}/?panel=account&{MOMENT}")
    expect(account.locator(".ax-moment-words")).to_contain_text("2026-11-20 14:03:02.500")
    expect(account.locator(".ax-panel")).to_contain_text("63729.52")
    gaps = open_page(f"{day}/?panel=gaps&{MOMENT}")
    expect(gaps.locator(".ax-panel .ag-row").first).to_contain_text("14:02:33")


def test_the_market_has_fallen_when_the_feed_comes_back(day: str, open_page: Callable[..., Page]) -> None:
    page = open_page(f"{day}/?panel=market&symbol=BTCUSDT&t=2026-11-20T14:02:32Z")
    price = page.locator('.ax-panel .ag-row:has-text("BTCUSDT") [col-id="p"]')
    expect(price).to_contain_text("649")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".ax-moment-words")).to_contain_text("14:02:42")
    expect(price).to_contain_text("649")  # nothing was seen
    after = open_page(f"{day}/?panel=market&symbol=BTCUSDT&{MOMENT}")
    expect(after.locator('.ax-panel .ag-row:has-text("BTCUSDT") [col-id="p"]')).to_contain_text("637")

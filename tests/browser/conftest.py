"""A real Chromium in front of real servers, asked for by ``make browser``: without Chromium it fails, never skips."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests._servers import free_port
from tests.browser._processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

TOKEN = "s3cret-of-the-inspector"
SIZES = {"desktop": (1400, 860), "phone": (390, 844)}
# Nothing of the browser's own may go out either; the sandbox needs rights that a container does not give.
BROWSER_FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-default-apps", "--disable-domain-reliability", "--disable-dev-shm-usage", "--disable-gpu",
]  # fmt: skip


def find_chromium() -> str | None:
    """Debian's, or another one on the path."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_configure() -> None:
    if find_chromium() is None:
        raise pytest.UsageError("the browser tests need Chromium: apt-get install chromium")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="write the pictures of the documentation anew")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=10_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=BROWSER_FLAGS)
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a page did that it should not do."""

    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    received: int = 0  # bytes through the socket

    def watch(self, page: Page) -> None:
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("websocket", self._socket)

    def request(self, url: str) -> None:
        if not url.startswith((f"{self.origin}/", "data:", f"{self.origin.replace('http', 'ws', 1)}/")):
            self.foreign.append(url)

    def _console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.errors.append(text)

    def _socket(self, socket: Any) -> None:
        self.request(socket.url)
        socket.on("framereceived", self._frame)

    def _frame(self, data: str | bytes) -> None:
        self.received += len(data)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """``open_page(url, size="phone", theme="dark")``: a page of its own, which may not complain nor ask other hosts."""
    opened: list[tuple[BrowserContext, Seen]] = []

    def open_one(url: str, *, size: str = "desktop", theme: str = "light", expect_errors: bool = False) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, has_touch=size == "phone",
            permissions=["clipboard-read", "clipboard-write"],
        )  # fmt: skip
        seen = Seen("/".join(url.split("/")[:3]))
        context.on("request", lambda request: seen.request(request.url))
        page = context.new_page()
        seen.watch(page)
        page.seen = seen  # type: ignore[attr-defined]
        opened.append((context, Seen("") if expect_errors else seen))
        page.goto(url)
        return page

    yield open_one
    for context, _ in opened:
        context.close()
    assert [seen.foreign for _, seen in opened if seen.foreign] == []
    assert [seen.errors for _, seen in opened if seen.errors] == []


def _fake(
    *flags: str, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[tuple[ServerProcess, str]]:
    port = free_port()
    with ServerProcess(
        "tests.browser.fake_server", str(port), *flags, ready="ready", environment=environment, cwd=cwd
    ) as process:
        yield process, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def fake() -> Iterator[str]:
    """Address of the pages over a made-up market of 600 symbols and 5,000 events a second."""
    for _, url in _fake():
        yield url


@pytest.fixture
def own_fake(tmp_path: Path) -> Iterator[tuple[ServerProcess, str]]:
    """The same for one test, in an empty folder; pages without a connection are gone after half a second."""
    yield from _fake("--reconnect-s", "0.5", cwd=tmp_path)


@pytest.fixture(scope="session")
def fake_recording() -> Iterator[str]:
    """The pages over a made-up recording."""
    for _, url in _fake("--file"):
        yield url


@pytest.fixture(scope="session")
def fake_with_token() -> Iterator[str]:
    """The pages behind a token."""
    for _, url in _fake(environment={"AGENTEXCHANGE_INSPECT_TOKEN": TOKEN}):
        yield url

"""5,000 events a second before the inspector's pages: ``make browser-soak SECONDS=300``.

A whole installation, one viewer of the market, then three: market, events, overview. Prints CPU of the server per
viewer and memory on both sides in the course of time; fails where memory grows, or a viewer costs too much.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from playwright.sync_api import sync_playwright

from tests.browser._system import inspector, system
from tests.browser.conftest import BROWSER_FLAGS, find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page

RATE = 5000
WARM_S = 20.0
SAMPLES = 10
MAX_VIEWER_SHARE = 0.25  # of a core, by each viewer beyond the first
MAX_GROWTH_MB = 12.0  # of the later half's lowest over the first half's lowest: a leak grows, a cache does not
VIEWS = ("market", "events", "overview")


@dataclass(frozen=True)
class Sample:
    """One look at both sides.

    Attributes:
        at_s: since the beginning.
        cpu: of the server since the last sample, in cores.
        rss_mb: of the server.
        heap_mb: of the first page, after a collection of garbage.
        behind_ms: how long a timer that is due waits in the first page.
    """

    at_s: float
    cpu: float
    rss_mb: float
    heap_mb: float
    behind_ms: float


def main() -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rate", type=float, default=RATE)
    args = parser.parse_args()
    path = find_chromium()
    if path is None:
        sys.exit("the soak needs Chromium: apt-get install chromium")
    with system(rate=args.rate, warm_s=WARM_S) as whole, inspector("--redis-url", whole.redis.url) as (process, url):
        server = psutil.Process(process.pid)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
            none = _cpu(server, 10.0)
            pages = [_open(browser, url, VIEWS[0])]
            time.sleep(5)
            one = _cpu(server, 15.0)
            pages += [_open(browser, url, view) for view in VIEWS[1:]]
            time.sleep(5)
            samples = _watch(server, pages[0], pages[-1], args.seconds)
            browser.close()
    return _report(none, one, samples)


def _open(browser: Browser, url: str, view: str) -> Page:
    page = browser.new_context(viewport={"width": 1400, "height": 860}).new_page()
    page.goto(f"{url}/?panel={view}")
    page.locator(".ax-panel .ag-row").first.wait_for()
    return page


def _cpu(server: psutil.Process, seconds: float) -> float:
    """Cores that the process takes."""
    before, began = sum(server.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    return (sum(server.cpu_times()[:2]) - before) / (time.monotonic() - began)


def _watch(server: psutil.Process, page: Page, overview: Page, seconds: float) -> list[Sample]:
    devtools, began, samples = page.context.new_cdp_session(page), time.monotonic(), []
    print(f"{'at':>6} {'CPU':>7} {'server RSS':>12} {'page heap':>11} {'page delay':>11} {'events/s':>9}")
    for _ in range(SAMPLES):
        cpu = _cpu(server, seconds / SAMPLES)
        memory = server.memory_info().rss / 1e6
        sample = Sample(time.monotonic() - began, cpu, memory, _heap_mb(devtools), _behind_ms(page))
        samples.append(sample)
        print(
            f"{sample.at_s:5.0f}s {100 * sample.cpu:6.1f}% {sample.rss_mb:9.1f} MB {sample.heap_mb:8.1f} MB "
            f"{sample.behind_ms:8.1f} ms {overview.locator('.ax-tile-value').first.inner_text():>9}", flush=True,
        )  # fmt: skip
    return samples


def _heap_mb(devtools: CDPSession) -> float:
    devtools.send("HeapProfiler.collectGarbage")
    return float(devtools.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def _behind_ms(page: Page) -> float:
    delay = "new Promise(done => { const t = performance.now(); setTimeout(() => done(performance.now() - t)); })"
    return float(page.evaluate(delay))


def _report(none: float, one: float, samples: list[Sample]) -> int:
    three = sum(sample.cpu for sample in samples) / len(samples)
    per_viewer = max(one - none, (three - none) / len(VIEWS))
    half = len(samples) // 2
    lowest = [{name: min(getattr(sample, name) for sample in part) for name in ("rss_mb", "heap_mb")}
              for part in (samples[:half], samples[half:])]  # fmt: skip
    growth = {name: late - lowest[0][name] for name, late in lowest[1].items()}
    print(
        f"server without viewers {100 * none:.1f}% of a core, with one {100 * one:.1f}%, with three {100 * three:.1f}%"
    )
    print(f"a viewer costs {100 * per_viewer:.1f}% (limit {100 * MAX_VIEWER_SHARE:g}%)")
    print(f"growth: server {growth['rss_mb']:+.1f} MB, page {growth['heap_mb']:+.1f} MB (limit {MAX_GROWTH_MB:g} MB)")
    has_failed = per_viewer > MAX_VIEWER_SHARE or max(growth.values()) > MAX_GROWTH_MB
    print("FAILED" if has_failed else "passed")
    return 1 if has_failed else 0


if __name__ == "__main__":
    sys.exit(main())

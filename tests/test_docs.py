"""What README and docs show runs: every Python block, against a real exchange and a real bridge."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentexchange.testing import SandboxExchange
from tests.integration._pages import ROOT, blocks, prepared, run_block
from tests.integration._system import KEY, worker

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests._servers import RedisServer

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {f"{page.name}-{number}": block for page in PAGES for number, block in enumerate(blocks(page), 1)}
TESTS = {name: block for name, block in BLOCKS.items() if "def test_" in block}
READS_FILES = re.compile(r"day\.(axlog|ticker)")  # run by test_recording_docs.py
SHARED = {name: block for name, block in BLOCKS.items() if name not in TESTS and not READS_FILES.search(block)}
STRAIGHT = {name: block for name, block in SHARED.items() if not re.search(r"REDIS_URL|redis://", block)}
RUN_S = 4.0
PRINT_S = 30.0  # until the first line, however busy the machine
AT_ONCE = 3
MOST_TOGETHER = 7  # even if none of them prints, they are through within the limit of a test


def by_page(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of each page's blocks."""
    pages: dict[str, list[str]] = {}
    for name in names:
        pages.setdefault(name.rpartition("-")[0], []).append(name)
    return pages


def together(names: Iterable[str]) -> dict[str, list[str]]:
    """Pages that share an exchange (and a bridge), which costs more than a block does: joined names to their blocks."""
    groups: list[tuple[list[str], list[str]]] = []
    for page, ours in by_page(names).items():
        if not groups or len(groups[-1][1]) + len(ours) > MOST_TOGETHER:
            groups.append(([], []))
        groups[-1][0].append(page)
        groups[-1][1].extend(ours)
    return {"+".join(pages): ours for pages, ours in groups}


async def faults(names: list[str], *, way: str, url: str, urls: dict[str, str], folder: Path) -> list[str]:
    """Run the blocks, a few at once, and tell what is wrong with which."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def fault(name: str) -> str | None:
        program = prepared(BLOCKS[name], key=KEY, url=url)
        prints = "print(" in program
        own = folder / name
        own.mkdir()
        async with turn:
            outcome = await run_block(
                program,
                folder=own,
                key=KEY,
                urls=urls,
                until=re.compile(r"\S" if prints else r"(?!)"),
                wait_s=PRINT_S if prints else RUN_S,
            )
        if outcome.complaints:
            what = f"complains:\n{outcome.complaints}"
        elif prints and not outcome.printed:
            what = "prints nothing"
        else:
            return None
        page, _, number = name.rpartition("-")
        return f"{page}, block {number}, {way}: {what}\n--- the program:\n{program}"

    return [found for found in await asyncio.gather(*map(fault, names)) if found]


@pytest.mark.parametrize("names", by_page(TESTS).values(), ids=by_page(TESTS))
def test_documented_tests_pass(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / f"test_{name.replace('.', '_').replace('-', '_')}.py").write_text(BLOCKS[name])
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_default_fixture_loop_scope=function"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    count = sum(len(re.findall(r"def test_", BLOCKS[name])) for name in names)
    assert f"{count} passed" in run.stdout


@pytest.mark.parametrize("names", together(STRAIGHT).values(), ids=together(STRAIGHT))
async def test_documented_programs_run_straight(names: list[str], tmp_path: Path) -> None:
    async with SandboxExchange(rate=500, order_rate=10, api_keys=[KEY]) as exchange:
        urls = {"AGENTEXCHANGE_WS_URL": exchange.url}
        found = await faults(names, way="straight", url=exchange.url, urls=urls, folder=tmp_path)
    assert not found, "\n\n".join(found)


@pytest.mark.server
@pytest.mark.parametrize("names", together(SHARED).values(), ids=together(SHARED))
async def test_documented_programs_run_shared(redis_server: RedisServer, tmp_path: Path, names: list[str]) -> None:
    redis = redis_server.url
    async with SandboxExchange(rate=500, order_rate=10, api_keys=[KEY]) as exchange:
        with worker(exchange.url, redis, log=tmp_path / "worker.log"):
            await exchange.control.wait_for_frames("tick", 500)
            urls = {"AGENTEXCHANGE_WS_URL": redis, "AGENTEXCHANGE_REDIS_URL": redis}
            found = await faults(names, way="shared", url=redis, urls=urls, folder=tmp_path)
    assert not found, "\n\n".join(found)


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([\w./-]+\.md)\)", (ROOT / "README.md").read_text()))
    for page in PAGES[1:]:
        assert f"docs/{page.name}" in linked, page
    assert all((ROOT / target).exists() for target in linked)

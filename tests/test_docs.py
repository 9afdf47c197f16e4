"""What README and docs show runs: every Python block, against a real exchange and a real bridge."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agentexchange.testing import SandboxExchange
from tests.integration._pages import ROOT, blocks, prepared, run_block
from tests.integration._system import KEY, worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests._servers import RedisServer

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {f"{page.name}-{number}": block for page in PAGES for number, block in enumerate(blocks(page), 1)}
TESTS = {name: block for name, block in BLOCKS.items() if "def test_" in block}
READS_FILES = re.compile(r"day\.(axlog|ticker)")  # run by test_recording_docs.py
PROGRAMS = {
    f"{name}-{way}": (block, way)
    for name, block in BLOCKS.items()
    for way in ("straight", "shared")
    if name not in TESTS
    and not READS_FILES.search(block)
    and (way == "shared" or not re.search(r"REDIS_URL|redis://", block))
}
RUN_S = 4.0


@pytest.mark.parametrize("block", TESTS.values(), ids=TESTS)
def test_a_documented_test_passes(block: str, tmp_path: Path) -> None:
    (tmp_path / "test_documented.py").write_text(block)
    command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_default_fixture_loop_scope=function"]
    run = subprocess.run([*command, "test_documented.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.server
@pytest.mark.parametrize(("block", "way"), PROGRAMS.values(), ids=PROGRAMS)
async def test_a_documented_program_runs(redis_server: RedisServer, tmp_path: Path, block: str, way: str) -> None:
    async with SandboxExchange(rate=500, order_rate=10, api_keys=[KEY]) as exchange:
        with worker(exchange.url, redis_server.url, log=tmp_path / "worker.log"):
            await exchange.control.wait_for_frames("tick", 500)
            url = exchange.url if way == "straight" else redis_server.url
            program = prepared(block, key=KEY, url=url)
            printed = re.compile(r"\S" if "print(" in block else r"(?!)")
            outcome = await run_block(
                program,
                folder=tmp_path,
                key=KEY,
                urls={"AGENTEXCHANGE_WS_URL": url, "AGENTEXCHANGE_REDIS_URL": redis_server.url},
                until=printed,
                wait_s=3 * RUN_S if "print(" in block else RUN_S,
            )
    assert outcome.complaints == "", program
    if "print(" in block:
        assert outcome.printed


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([\w./-]+\.md)\)", (ROOT / "README.md").read_text()))
    for page in PAGES[1:]:
        assert f"docs/{page.name}" in linked, page
    assert all((ROOT / target).exists() for target in linked)

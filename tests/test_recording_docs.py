"""What the docs show of recordings runs, in a folder with ``day.axlog`` and ``day.ticker.parquet``."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from agentexchange.recording import Recording
from agentexchange_bridge.transfer._parquet import write_parquet
from agentexchange_schemas.envelope import encode
from tests.integration._pages import ROOT, blocks
from tests.sdk.recording._samples import ACCOUNT, MARKET, START_US, tick, ticks, write
from tests.test_docs import BLOCKS, READS_FILES

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = {name: block for name, block in BLOCKS.items() if READS_FILES.search(block)}
OPTIONAL = ("pandas", "polars")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    order = encode("orders", 7, 1, None, START_US + 4_500, {"order_id": "1", "status": "new"})
    more = [tick(number, quantity="0.50000000") for number in range(10, 20)]
    day = write(tmp_path / "day.axlog", [(MARKET, ticks(10)), (ACCOUNT, [order]), (MARKET, more)])
    with Recording(day) as recording:
        write_parquet(recording.runs(), tmp_path / "day.parquet")
    return tmp_path


def run(program: str, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stderr) == (0, ""), program
    return result.stdout


@pytest.mark.parametrize("block", PROGRAMS.values(), ids=PROGRAMS)
def test_a_documented_program_runs(folder: Path, block: str) -> None:
    for name in re.findall(r"^import (\w+)", block, re.MULTILINE):
        if name in OPTIONAL and find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    assert run(block, folder)


def test_the_reader_of_the_format_page_reads_what_ours_reads_whole_and_cut(folder: Path) -> None:
    (reader,) = blocks(ROOT / "docs" / "recording-format.md")
    day = folder / "day.axlog"
    for size in (None, day.stat().st_size * 6 // 10):
        day.write_bytes(day.read_bytes()[:size])
        with Recording(day) as recording:
            wanted = [
                f"{event.scope} {event.envelope.topic} {event.envelope.seq} {event.envelope.data}"
                for event in recording.events()
            ]
        assert wanted
        assert run(reader, folder).splitlines() == wanted


def test_the_reader_of_the_format_page_refuses_damage(folder: Path) -> None:
    (reader,) = blocks(ROOT / "docs" / "recording-format.md")
    day = folder / "day.axlog"
    damaged = bytearray(day.read_bytes())
    damaged[400] ^= 1
    day.write_bytes(damaged)
    result = subprocess.run([sys.executable, "-c", reader], cwd=folder, capture_output=True, text=True, check=False)
    assert "a block is damaged" in result.stderr
    assert result.stdout == ""

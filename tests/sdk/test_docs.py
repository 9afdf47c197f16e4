"""The programs in docs/sdk.md run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agentexchange.testing import DEMO_KEY, SandboxThread
from tests._patience import PATIENCE_S

PAGE = Path(__file__).parents[2] / "docs" / "sdk.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("number", "prints"), [(0, ("feed:", r"\blive\b", r"BTCUSDT \d")), (1, ()), (2, (r"BTC \d",)), (3, ("0",))]
)
def test_a_program_of_the_page(number: int, prints: tuple[str, ...]) -> None:
    """Handlers on the loop and on a thread print at once, and may write between each other's words."""
    assert len(BLOCKS) == 4

    def is_printed() -> bool:
        return all(re.search(words, printed) for words in prints)

    with SandboxThread(pairs=20, rate=200) as sandbox:
        program = subprocess.Popen(
            [sys.executable, "-u", "-c", BLOCKS[number]],
            env=os.environ | {"AGENTEXCHANGE_API_KEY": DEMO_KEY, "AGENTEXCHANGE_WS_URL": sandbox.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        guard = threading.Timer(PATIENCE_S, program.kill)
        guard.start()
        try:
            assert program.stdout is not None
            printed = ""
            for line in program.stdout:
                printed += line
                if is_printed():
                    break
        finally:
            program.kill()
            _, complaints = program.communicate()
            guard.cancel()
    assert is_printed(), printed
    assert complaints == ""

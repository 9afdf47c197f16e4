"""The plugin in pytest runs of its own: both modes of pytest-asyncio, and none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ASYNC_TEST = """
import pytest

@pytest.mark.asyncio
@pytest.mark.sandbox_exchange(rate=0, pairs=2)
async def test_one(sandbox_exchange):
    assert sandbox_exchange.url.startswith("ws://127.0.0.1:")
    assert len(sandbox_exchange.control.symbols) == 2
"""
OUR_PLUGIN = ("-p", "agentexchange.testing.pytest_plugin")


def run_pytest(folder: Path, source: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A pytest run that loads only the plugins it is told to."""
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--strict-markers", *args],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_both_modes_of_pytest_asyncio(tmp_path: Path, mode: str) -> None:
    settings = ("-o", "asyncio_default_fixture_loop_scope=function", f"--asyncio-mode={mode}")
    done = run_pytest(tmp_path, ASYNC_TEST, "-p", "pytest_asyncio.plugin", *OUR_PLUGIN, *settings)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_without_pytest_asyncio_the_message_says_so(tmp_path: Path) -> None:
    (tmp_path / "hide.py").write_text("import sys\nsys.modules['pytest_asyncio'] = None\n")
    source = "def test_one(sandbox_exchange):\n    pass\n"
    done = run_pytest(tmp_path, source, "-p", "hide", *OUR_PLUGIN)
    assert "needs pytest-asyncio" in done.stdout
    assert "sandbox_thread" in done.stdout
    assert done.returncode == 1


def test_a_sync_test_needs_no_pytest_asyncio(tmp_path: Path) -> None:
    (tmp_path / "hide.py").write_text("import sys\nsys.modules['pytest_asyncio'] = None\n")
    source = "def test_one(sandbox_thread):\n    assert sandbox_thread.port\n"
    done = run_pytest(tmp_path, source, "-p", "hide", *OUR_PLUGIN)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_positional_options_are_refused(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.sandbox_exchange(5)\ndef test_one(sandbox_thread):\n    pass\n"
    done = run_pytest(tmp_path, source, *OUR_PLUGIN)
    assert "keyword arguments only" in done.stdout


def test_loading_the_plugin_imports_no_server() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import agentexchange.testing.pytest_plugin\n"
        "ours = {name for name in set(sys.modules) - before if name.startswith('agentexchange.testing')}\n"
        "print(sorted(ours), 'agentexchange.testing._sandbox' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.strip() == "['agentexchange.testing', 'agentexchange.testing.pytest_plugin'] False"

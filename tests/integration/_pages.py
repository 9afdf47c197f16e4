"""Run the Python blocks of a Markdown page as they are printed: only key, URL and run time are changed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Outcome", "blocks", "prepared", "run_block"]

ROOT = Path(__file__).parents[2]

_FENCED = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r'"ak_live_[^"]*"')
_CLIENT = re.compile(r"AgentExchangeWS\((.*?)\)\n", re.DOTALL)
_PREAMBLE = 'from agentexchange import AgentExchangeWS\n\nws = AgentExchangeWS(api_key="ak_live_...")\n'
_TAIL = "\nimport asyncio\n\nasyncio.run(ws.connect())\n"


@dataclass(frozen=True)
class Outcome:
    """What a block printed before its time was up."""

    printed: str
    complaints: str
    ended: bool


def blocks(page: Path) -> list[str]:
    """The page's Python blocks, in order."""
    return _FENCED.findall(page.read_text())


def prepared(block: str, *, key: str, url: str) -> str:
    """The block as a whole program: fragments get the client they speak of, a bare ``await`` an async main."""
    if "AgentExchangeWS(" not in block and "@ws." in block:
        block = _PREAMBLE + block
    if "@ws." in block and not re.search(r"ws\.connect\(\)|run_forever", block):
        block += _TAIL
    block = re.sub(r"^await ws\.connect\(\)", "import asyncio\nasyncio.run(ws.connect())", block, flags=re.MULTILINE)
    return _CLIENT.sub(lambda call: _with_url(call[0], url), _KEY.sub(f'"{key}"', block))


def _with_url(call: str, url: str) -> str:
    if "base_url" not in call:
        return call.replace(")\n", f', base_url="{url}")\n') if "os.environ[" not in call else re.sub(
            r"\]\)\n$", f'], base_url="{url}")\n', call
        )  # fmt: skip
    return call.replace("ws://localhost:8000", url)


async def run_block(
    program: str, *, folder: Path, key: str, urls: dict[str, str], until: re.Pattern[str], wait_s: float
) -> Outcome:
    """Run a program until it has printed ``until`` (then it is ended) or the time is up."""
    (folder / "program.py").write_text(program)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        "program.py",
        cwd=folder,
        env=os.environ | {"AGENTEXCHANGE_API_KEY": key} | urls,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed = ""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(wait_s):
            while not until.search(printed) and (chunk := await process.stdout.read(65536)):
                printed += chunk.decode()
    except TimeoutError:
        pass
    ended = process.returncode is not None or process.stdout.at_eof()
    if process.returncode is None:
        process.kill()
    _, complaints = await process.communicate()
    return Outcome(printed, complaints.decode(), ended)

"""Asks the zygote of this test process to run a command."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["forked"]

_NO_CODE = -1


async def forked(argv: tuple[str, ...], environment: dict[str, str], *, timeout_s: float) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a command; killed after ``timeout_s``.

    Raises:
        TimeoutError: it took longer.
    """
    address = await asyncio.to_thread(_zygote)
    out, err = os.pipe(), os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(address)
        request = {"argv": argv, "environment": environment, "folder": str(Path.cwd())}
        raw = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(connection, [raw], [out[1], err[1]])
        connection.sendall(raw[sent:])
        os.close(out[1])
        os.close(err[1])
        with connection.makefile() as answers, os.fdopen(out[0], "rb") as stdout, os.fdopen(err[0], "rb") as stderr:
            pid = int(await asyncio.to_thread(answers.readline))
            ended = asyncio.gather(*(asyncio.to_thread(one.read) for one in (stdout, stderr, answers)))
            try:
                printed, complained, code = await asyncio.wait_for(asyncio.shield(ended), timeout_s)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                await ended
                raise
    return int(code or _NO_CODE), printed, complained


@cache
def _zygote() -> str:
    """Start it; it ends with this process, as its stdin does."""
    folder = tempfile.mkdtemp(prefix="axz-")
    address = str(Path(folder) / "socket")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bridge.cli._zygote", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return address

"""A process that has imported the command line already: each short command of these tests runs in a fork of it.

To start an interpreter and import the packages takes half a second of CPU, and these tests run hundreds of commands.
The fork has the command's own environment, output and signals, and ends like a program that was started. What runs
until it is stopped is started for real: see `start` in `_run.py`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from typing import Any, Final

import agentexchange_bridge
from agentexchange_bridge import cli

_FDS: Final = 2  # stdout, stderr
_NEVER: Final = ("__main__", "inspector.page")  # would run, or bring a web server along


def _preload() -> None:
    for module in pkgutil.walk_packages(agentexchange_bridge.__path__, "agentexchange_bridge."):
        if not any(part in module.name for part in _NEVER):
            importlib.import_module(module.name)
    gc.freeze()  # forks share the memory of what is never collected


def _serve(listener: socket.socket) -> dict[str, Any]:
    """Fork for each request until stdin ends. Returns in a fork alone, with what it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # watchers are nobody's to wait for
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            raise SystemExit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _watch(connection)
        connection.close()


def _watch(connection: socket.socket) -> dict[str, Any]:
    """Fork the command, and tell its process id and then how it ended. Returns in the fork of that fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    raw, fds, _, _ = socket.recv_fds(connection, 1 << 20, _FDS)
    while not raw.endswith(b"\n"):
        raw += connection.recv(1 << 20)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(*fds)
        request: dict[str, Any] = json.loads(raw)
        return request
    for number in fds:
        os.close(number)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(out: int, err: int) -> None:
    """Take the command's output for this process's own."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _run(request: dict[str, Any]) -> int:
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["agentexchange", *request["argv"]]
    return cli.main()


if __name__ == "__main__":
    _preload()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(sys.argv[1])
        server.listen(64)
        os.write(1, b"ready\n")
        wanted = _serve(server)
    sys.exit(_run(wanted))

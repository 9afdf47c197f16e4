"""Fixtures that the tests of all three packages share."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests._servers import RedisServer, server_binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_server: runs against each installed Redis-compatible server")
    config.addinivalue_line("markers", "debian_redis: needs Debian's Redis (the embedded Valkey has no TLS)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--redis-servers",
        default="valkey",
        help="servers to run tests of 'redis_server' against: valkey (default), redis, or all that are installed",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of `redis_server` run once per chosen server; with ``@pytest.mark.every_server`` per installed one."""
    if "redis_kind" not in metafunc.fixturenames:
        return
    installed = list(server_binaries())
    wanted = metafunc.config.getoption("--redis-servers")
    every = wanted == "all" or metafunc.definition.get_closest_marker("every_server") is not None
    kinds = installed if every else [wanted]
    if metafunc.definition.get_closest_marker("debian_redis") is not None:
        kinds = ["redis"]
    metafunc.parametrize("redis_kind", kinds, scope="session")


@pytest.fixture
def make_redis(redis_kind: str) -> Iterator[Callable[..., RedisServer]]:
    """``make_redis(appendonly=True, maxmemory="64mb", options={…}, tls=folder)``: starts a server."""
    binaries = server_binaries()
    if redis_kind not in binaries:
        pytest.skip(f"no {redis_kind} server is installed")
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> RedisServer:
            # short path: a unix socket's is limited to 107 bytes, which pytest's tmp_path can exceed
            folder = Path(tempfile.mkdtemp(prefix="axr-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            server = RedisServer(binary=binaries[redis_kind], folder=folder, **options)
            stack.callback(server.kill)
            server.start()
            return server

        yield make


@pytest.fixture
def redis_server(make_redis: Callable[..., RedisServer]) -> RedisServer:
    """An empty server of this test's own; `kill`, `restart`, `stop` and `cont` it at will."""
    return make_redis()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ca.crt``, ``server.crt`` and ``server.key`` for 127.0.0.1, for ``make_redis(tls=…)``."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test-ca")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=somewhere-else")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    openssl(
        *("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-out", "server.crt", "-days", "2", "-extfile", "san"),
    )
    return folder

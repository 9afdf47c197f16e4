"""Fixtures that the tests of all three packages share."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import settings

from tests._hygiene import Hygiene, look_into_redis
from tests._servers import RedisServer, server_binaries, short_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


settings.register_profile("busy machine", deadline=None)  # how long an example takes says nothing on one
settings.load_profile("busy machine")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Hygiene(), "hygiene")
    config.addinivalue_line("markers", "debian_redis: needs Debian's Redis (the embedded Valkey has no TLS)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--redis-servers",
        default="valkey",
        help="servers to run tests of 'redis_server' against: valkey (default), redis, or all that are installed",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of `redis_server` run once per chosen server."""
    if "redis_kind" not in metafunc.fixturenames:
        return
    wanted = metafunc.config.getoption("--redis-servers")
    kinds = list(server_binaries()) if wanted == "all" else [wanted]
    if metafunc.definition.get_closest_marker("debian_redis") is not None:
        kinds = ["redis"]
    metafunc.parametrize("redis_kind", kinds, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A run against another server is for the tests of servers: all others would only run again."""
    if config.getoption("--redis-servers") != "redis":
        return
    chosen = [item for item in items if "redis_kind" in getattr(item, "fixturenames", ())]
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


@pytest.fixture
def make_redis(redis_kind: str) -> Iterator[Callable[..., RedisServer]]:
    """``make_redis(appendonly=True, maxmemory="64mb", options={…}, tls=folder)``: starts a server."""
    binaries = server_binaries()
    if redis_kind not in binaries:
        pytest.skip(f"no {redis_kind} server is installed")
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> RedisServer:
            folder = short_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            server = RedisServer(binary=binaries[redis_kind], folder=folder, **options)
            stack.callback(server.kill)
            stack.callback(look_into_redis, server)
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

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    server = authority.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(str(folder / "server.crt"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    return folder

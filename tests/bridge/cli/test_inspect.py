from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from tests._servers import RedisServer, free_port
from tests.bridge.cli._run import one_line, run, start

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "AGENTEXCHANGE_INSPECT_TOKEN"


async def test_it_serves_its_page_until_a_signal(redis_server: RedisServer) -> None:
    port = str(free_port())
    async with start("inspect", "--redis-url", redis_server.url, "--port", port) as inspect:
        await inspect.wait_line("inspect: open http://127.0.0.1:")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            answer = await http.get("/")
            assert answer.status_code == 200
            assert "AgentExchange inspector" in answer.text
            assert "ak_live" not in answer.text
            assert (await http.get("/", headers={"host": "evil.example"})).status_code == 421
        assert await inspect.end() == 0


async def test_beyond_this_machine_it_makes_a_token_and_asks_for_it(redis_server: RedisServer) -> None:
    port = str(free_port())
    flags = ("--redis-url", redis_server.url, "--host", "0.0.0.0", "--port", port)
    async with start("inspect", *flags) as inspect:
        token = (await inspect.wait_line(r"made for this run: (\S+)"))[1]
        await inspect.wait_line(f"open http://localhost:{port}/")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert (await http.get("/")).status_code == 401
            assert (await http.post("/login", data={"token": token})).status_code == 303
            assert (await http.get("/")).status_code == 200
        assert await inspect.end() == 0


async def test_a_token_of_the_operators_own_is_not_printed(redis_server: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-token-of-a-test\n")
    port = str(free_port())
    flags = ("--redis-url", redis_server.url, "--port", port, "--token-file", str(tmp_path / "token"))
    async with start("inspect", *flags) as inspect:
        await inspect.wait_line("open http")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            assert (await http.get("/")).status_code == 401
            assert (await http.get("/", headers={"host": "inspector.example"})).status_code == 401, "behind a proxy"
        assert await inspect.end() == 0


async def test_a_busy_port_is_one_line(redis_server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = await run("inspect", "--redis-url", redis_server.url, "--port", str(port))
    assert result.code == 1
    assert f"port {port} is in use: choose another with --port" in one_line(result)


@pytest.mark.parametrize(
    ("flags", "environment", "says"),
    [
        (("--redis-url", "redis://localhost", "day.axlog"), {}, "not both"),
        ((), {}, "AGENTEXCHANGE_REDIS_URL"),
        (("--redis-url", "http://localhost"), {}, "redis://"),
        (("--redis-url", "redis://localhost", "--port", "70000"), {}, "--port must be 0 to 65535"),
        (("--redis-url", "redis://localhost"), {TOKEN: "short"}, f"{TOKEN}: a token has at least 16 characters"),
        (("--redis-url", "redis://localhost", "--token-file", "/nowhere/token"), {}, "/nowhere/token: cannot be read"),
        (("--redis-url", "redis://localhost", "--api-key-file", "/nowhere/key"), {}, "/nowhere/key"),
    ],
)
async def test_bad_input_is_one_line(flags: tuple[str, ...], environment: dict[str, str], says: str) -> None:
    result = await run("inspect", *flags, key=None, **environment)
    assert result.code == 2
    assert says in one_line(result)


async def test_a_recording_that_is_none_is_one_line(tmp_path: Path) -> None:
    missing = await run("inspect", str(tmp_path / "none.axlog"), "--port", str(free_port()), key=None)
    assert missing.code == 1
    assert "none.axlog" in one_line(missing)
    (tmp_path / "junk.axlog").write_bytes(b"junk" * 100)
    junk = await run("inspect", str(tmp_path / "junk.axlog"), "--port", str(free_port()), key=None)
    assert junk.code == 1
    assert "junk.axlog" in one_line(junk)

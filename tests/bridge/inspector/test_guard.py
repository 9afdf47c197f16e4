from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from agentexchange_bridge.inspector.guard import COOKIE, LOOPBACK_NAMES, Guard
from agentexchange_bridge.inspector.sign_in import SignIn

if TYPE_CHECKING:
    from collections.abc import MutableMapping

TOKEN = "s3cret-token-of-a-test"


async def pages(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """What is guarded: says where it was asked, and allows too much as NiceGUI's socket does."""
    headers = [(b"access-control-allow-origin", b"*"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


def client(*, token: str | None = None, hosts: frozenset[str] | None = LOOPBACK_NAMES) -> httpx.AsyncClient:
    sign_in = None if token is None else SignIn(SecretStr(token))
    transport = httpx.ASGITransport(Guard(pages, sign_in=sign_in, hosts=hosts))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]"])
async def test_own_names_are_answered(host: str) -> None:
    async with client() as http:
        assert (await http.get("/", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example:8080", "", "[::2]:8080"])
async def test_a_name_made_to_point_here_is_not_answered(host: str) -> None:
    async with client() as http:
        answer = await http.get("/", headers={"host": host})
        assert (answer.status_code, "opened" in answer.text) == (421, False)
        assert "open it by the address" in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1"])
async def test_requests_from_pages_of_others_are_refused(origin: str) -> None:
    async with client() as http:
        answer = await http.get("/_nicegui_ws/socket.io/", headers={"origin": origin})
        assert answer.status_code == 403


async def test_own_pages_may_ask_and_no_other_host_is_allowed_anything() -> None:
    async with client() as http:
        answer = await http.get("/", headers={"origin": "http://127.0.0.1:8080"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/x", "/_nicegui"])
async def test_there_is_nothing_at_other_paths(path: str) -> None:
    async with client() as http:
        assert (await http.get(path)).status_code == 404


async def test_without_a_session_there_is_only_the_form() -> None:
    async with client(token=TOKEN) as http:
        answer = await http.get("/?panel=market&t=%22%3E%3Cscript%3E")
        assert answer.status_code == 401
        assert "<form" in answer.text
        assert "<script" not in answer.text
        for path in ("/_nicegui/x.js", "/_nicegui_ws/socket.io/?EIO=4", "/favicon.ico"):
            assert (await http.get(path)).status_code == 401
        assert (await http.post("/")).status_code == 401


async def test_the_right_token_signs_in_and_leads_to_the_target() -> None:
    async with client(token=TOKEN) as http:
        answer = await http.post("/login", data={"token": TOKEN, "target": "/?panel=market"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/?panel=market")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert (await http.get("/")).text == "/"
        assert (await http.get("/", headers={"cookie": f"{COOKIE}=made-up"})).status_code == 401


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\r\nx: y", "/other", "/?\u00fc"])
async def test_it_leads_to_no_other_place(target: str) -> None:
    async with client(token=TOKEN) as http:
        answer = await http.post("/login", data={"token": TOKEN, "target": target})
        assert answer.headers["location"] == "/"


async def test_guessing_is_answered_with_a_pause() -> None:
    async with client(token=TOKEN) as http:
        codes = [(await http.post("/login", data={"token": f"guess {number}"})).status_code for number in range(6)]
        assert codes == [401] * 5 + [429]
        last = await http.post("/login", data={"token": TOKEN})
        assert last.status_code == 429, "the right one, too: or a pause would tell it"
        assert int(last.headers["retry-after"]) > 0


@pytest.mark.parametrize("body", [b"", b"token", b"x" * 20_000, b"\xff\xfe", b"a=1&" * 50, b"token=" + b"y" * 9000])
async def test_a_form_that_is_none_is_a_wrong_token(body: bytes) -> None:
    async with client(token=TOKEN) as http:
        answer = await http.post("/login", content=body)
        assert answer.status_code == 401


async def test_a_form_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentexchange_bridge.inspector.guard._FORM_S", 0.01)
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    scope = {"type": "http", "method": "POST", "path": "/login", "headers": []}
    await Guard(pages, sign_in=SignIn(SecretStr(TOKEN)), hosts=None)(scope, receive, send)
    assert sent[0]["status"] == 408


async def test_a_link_from_elsewhere_is_asked_for_again_by_a_page_of_ours() -> None:
    async with client(token=TOKEN) as http:
        answer = await http.get("/?panel=gaps", headers={"sec-fetch-site": "cross-site"})
        assert (answer.status_code, 'http-equiv="refresh"' in answer.text) == (200, True)


async def test_a_socket_without_a_session_is_closed_before_it_opens() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/_nicegui_ws/socket.io/", "headers": [(b"host", b"localhost")]}
    await Guard(pages, sign_in=SignIn(SecretStr(TOKEN)), hosts=None)(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_target_without_end_is_refused() -> None:
    async with client() as http:
        assert (await http.get("/?t=" + "x" * 3000)).status_code == 414

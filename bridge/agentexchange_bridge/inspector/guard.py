"""What stands before the pages: which hosts and origins are answered, who is signed in, and the headers of each answer.

An ASGI application around another one, for HTTP and WebSocket alike.
"""

from __future__ import annotations

import asyncio
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from .login import login_page
from .sign_in import SESSION_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from typing import Any, TypeAlias

    from .sign_in import SignIn

    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
    Headers: TypeAlias = list[tuple[bytes, bytes]]

__all__ = ["COOKIE", "LOOPBACK_NAMES", "Guard"]

COOKIE: Final = "agentexchange_inspector"
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_MAX_FORM: Final = 8192  # bytes
_FORM_S: Final = 10.0  # to send it
_MAX_PATH: Final = 2048  # characters, query included
_PATHS: Final = ("/_nicegui/", "/_nicegui_ws/")

# NiceGUI builds its pages with inline scripts and compiles Vue templates in the browser: without 'unsafe-inline' and
# 'unsafe-eval' it shows nothing. Nothing may be loaded from, sent to or framed by another host.
_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_DROPPED: Final = frozenset({b"access-control-allow-origin", b"access-control-allow-credentials"}) | {
    name for name, _ in _HEADERS
}


class Guard:
    """Lets a request through to ``app`` that is meant for this server and comes from its own pages.

    Args:
        app: the pages.
        sign_in: asks for its token; None: everybody who reaches the port may look.
        hosts: names that a request may be for; None: any. On loopback this stops a page of another site whose name
            was made to point here (DNS rebinding).
    """

    def __init__(self, app: App, *, sign_in: SignIn | None, hosts: frozenset[str] | None) -> None:
        self.app = app
        self._sign_in = sign_in
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on, one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request = _Request(scope)
        safe_send = _with_headers(send)
        if problem := self._problem(request):
            await _refuse(scope, safe_send, problem)
        elif scope["type"] == "http" and request.path == "/login":
            await self._login(request, receive, safe_send)
        elif self._sign_in is not None and not self._sign_in.is_open(request.cookie):
            await self._ask(request, safe_send)
        elif request.is_page:
            await self.app(scope, receive, safe_send)
        else:
            await _answer(safe_send, 404, b"there is only /\n")

    def _problem(self, request: _Request) -> tuple[int, bytes] | None:
        """Status and sentence for a request that is not answered; None for a good one."""
        if self._hosts is not None and request.host_name not in self._hosts:
            return 421, b"this server is not called that: open it by the address that it printed at its start\n"
        if request.origin is not None and request.origin_address != request.host:
            return 403, b"requests from pages of other sites are not answered\n"
        if len(request.target) > _MAX_PATH:
            return 414, b"too long\n"
        return None

    async def _ask(self, request: _Request, send: Send) -> None:
        if request.scope["type"] == "websocket" or not (request.method == "GET" and request.path == "/"):
            await _refuse(request.scope, send, (401, b"sign in first\n"))
        elif request.site == "cross-site" and not request.cookie:
            # A link in a chat comes without the strict cookie; asked for again by a page of ours, it comes with it.
            await _answer(send, 200, b'<!doctype html><meta http-equiv="refresh" content="0"><title>One moment</title>')
        else:
            await _answer(send, 401, login_page(target=request.target))

    async def _login(self, request: _Request, receive: Receive, send: Send) -> None:
        if self._sign_in is None or request.method != "POST":
            await _answer(send, 303, b"", [(b"location", b"/")])
            return
        try:
            async with asyncio.timeout(_FORM_S):
                form = await _form(receive)
        except TimeoutError:
            await _answer(send, 408, b"too slow\n")
            return
        target = _local(form.get("target", "/"))
        if wait_s := self._sign_in.attempts.wait_s(request.address):
            page = login_page(target=target, problem=f"Too many attempts: try again in {wait_s} s.")
            await _answer(send, 429, page, [(b"retry-after", str(wait_s).encode())])
        elif session := self._sign_in.open(form.get("token", ""), request.address):
            await _answer(send, 303, b"", [(b"location", target.encode()), (b"set-cookie", _cookie(session, request))])
        else:
            await _answer(send, 401, login_page(target=target, problem="That is not the token."))


class _Request:
    """What the guard looks at."""

    def __init__(self, scope: Scope) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self.scope = scope
        self.method: str = scope.get("method", "")
        self.path: str = scope["path"]
        self.address: str = (scope.get("client") or ("", 0))[0]
        self.host = headers.get(b"host", "").lower()
        self.host_name = _host_name(self.host)
        self.origin = headers.get(b"origin")
        self.origin_address = urlsplit(self.origin or "").netloc.lower()
        self.site = headers.get(b"sec-fetch-site", "")
        self.cookie = _read_cookie(headers.get(b"cookie", ""))
        query = scope.get("query_string", b"").decode("latin-1")
        self.target = f"{self.path}?{query}" if query else self.path

    @property
    def is_page(self) -> bool:
        """Whether there is anything at this path."""
        return self.path in {"/", "/favicon.ico"} or self.path.startswith(_PATHS)


def _host_name(host: str) -> str:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    return name.removeprefix("[").removesuffix("]")


def _read_cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _cookie(session: str, request: _Request) -> bytes:
    secure = "; Secure" if request.scope.get("scheme") == "https" else ""
    return f"{COOKIE}={session}; Max-Age={SESSION_S}; Path=/; HttpOnly; SameSite=Strict{secure}".encode()


def _local(target: str) -> str:
    """A target on this server: only the page itself, with its query."""
    ascii_only = target.isascii() and target.isprintable() and len(target) <= _MAX_PATH
    return target if ascii_only and (target == "/" or target.startswith("/?")) else "/"


async def _form(receive: Receive) -> dict[str, str]:
    """The fields of a small form; empty where it is too large or no form."""
    body = b""
    more = True
    while more and len(body) <= _MAX_FORM:
        message = await receive()
        if message["type"] != "http.request":
            return {}
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > _MAX_FORM:
        return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    except ValueError:  # more of them
        return {}
    return {name: values[0] for name, values in fields.items()}


def _with_headers(send: Send) -> Send:
    async def safe(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start"}:
            own: Headers = [pair for pair in message.get("headers", ()) if pair[0].lower() not in _DROPPED]
            message["headers"] = [*own, *_HEADERS]
        await send(message)

    return safe


async def _refuse(scope: Scope, send: Send, problem: tuple[int, bytes]) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before it is accepted: HTTP 403
    else:
        await _answer(send, *problem)


async def _answer(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    content_type = b"text/html; charset=utf-8" if body.startswith(b"<") else b"text/plain; charset=utf-8"
    start: Headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})

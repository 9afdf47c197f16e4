"""The platform's REST, as far as it tells what became of an account: asked after a blind span, over HTTP.

No part of the protocol notes describes it. What is assumed: HTTP GET, JSON, the key in ``X-API-Key`` (and, where one
is given, the secret in ``X-API-Secret``), the paths below, newest orders first, pages by ``limit`` and ``offset``.
Lists may be bare or under ``orders``, single things bare or under their name, and either inside ``data``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import httpx
from pydantic_core import from_json

from agentexchange._urls import address, is_loopback
from agentexchange_schemas import FrameError
from agentexchange_schemas._text import to_datetime
from agentexchange_schemas.upstream import EventFrame, parse

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import SecretStr

__all__ = ["OrderPage", "RestClient", "RestError", "RestOptions", "RestUrl", "rest_url"]

# The whole of the assumption about addresses
OPEN_ORDERS: Final = "/api/v1/trade/orders/open"
ORDERS: Final = "/api/v1/trade/orders"
ORDER: Final = "/api/v1/trade/order/"
PORTFOLIO: Final = "/api/v1/account/portfolio"

OPEN_PAGE: Final = 200
PAGE: Final = 500
MAX_OPEN_PAGES: Final = 50
MAX_PAGES: Final = 4

_ALIASES: Final = {
    "id": "order_id",
    "executed_qty": "executed_quantity",
    "filled_quantity": "executed_quantity",
    "filled_qty": "executed_quantity",
}
_AMOUNTS: Final = ("total_equity", "available_cash", "realized_pnl")
_MAX_URL: Final = 2048
_MAX_WORDS: Final = 200
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404


class RestError(Exception):
    """There is no answer that can be used; the message says why, without a secret. ``status`` is HTTP's, if any."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RestUrl:
    """Where REST is answered; ``path`` comes before every path above."""

    secure: bool
    host: str
    port: int
    path: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where no proxy may come between."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{address(self.host, self.port)}{self.path}"


def rest_url(text: str) -> RestUrl:
    """Read the address of the platform's REST.

    Raises:
        ValueError: not an http or https URL; the message never repeats it, since it may hold secrets.
    """
    if len(text) > _MAX_URL or not text.isprintable() or " " in text:
        raise ValueError(f"must be a URL of at most {_MAX_URL} characters without spaces")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError("has a malformed host or port") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must have no user, password, ?query or #fragment: the platform knows you by the API key")
    secure = parts.scheme == "https"
    return RestUrl(secure, host, port or (443 if secure else 80), parts.path.rstrip("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RestOptions:
    """Limits of one request.

    Attributes:
        timeout_s: from the first byte sent to the last one received.
        connect_timeout_s: for connecting, TLS included.
        max_body_bytes: a larger answer is none.
        ssl_context: for https; None verifies against the system's certificates.
    """

    timeout_s: float = 10.0
    connect_timeout_s: float = 5.0
    max_body_bytes: int = 4 * 1024 * 1024
    ssl_context: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class OrderPage:
    """Orders of an answer: the events' fields, and what is wrong with the answer, in words."""

    orders: tuple[dict[str, Any], ...]
    gaps: tuple[str, ...] = ()


class RestClient:
    """Asks as one account. Every method raises `RestError` where there is no answer that can be used.

    Connections are kept open between the requests of one look, and closed by `close`.
    """

    def __init__(
        self, url: RestUrl, key: SecretStr, secret: SecretStr | None = None, *, options: RestOptions | None = None
    ) -> None:
        self._url = url
        self._secrets = (key,) if secret is None else (key, secret)
        self._options = options or RestOptions()
        self._http: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"<RestClient {self._url}>"

    async def open_orders(self) -> OrderPage:
        """Every open order."""
        return await self._orders(OPEN_ORDERS, OPEN_PAGE, MAX_OPEN_PAGES, since=None)

    async def newest_orders(self, since: datetime) -> OrderPage:
        """Orders of every state, back to those that were placed before ``since``."""
        return await self._orders(ORDERS, PAGE, MAX_PAGES, since=since)

    async def order(self, order_id: str) -> dict[str, Any] | None:
        """One order; None where the platform knows none of that id."""
        try:
            answer = await self._get(ORDER + quote(order_id, safe=""))
        except RestError as exc:
            if exc.status == _NOT_FOUND:
                return None
            raise
        return _event("orders", _renamed(_one_of(answer, "order")))

    async def portfolio(self) -> dict[str, Any]:
        """The portfolio as it is now."""
        fields = _event("portfolio", _one_of(await self._get(PORTFOLIO), "portfolio"))
        if all(fields.get(name) is None for name in _AMOUNTS):
            raise RestError("the answer holds no portfolio")
        return fields

    async def close(self) -> None:
        """Let the connections go; the next request opens new ones."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    # Pages

    async def _orders(self, path: str, size: int, most: int, *, since: datetime | None) -> OrderPage:
        found: dict[str, dict[str, Any]] = {}
        unreadable, is_whole = 0, False
        for number in range(most):
            page = _list_of(await self._get(path, limit=size, offset=number * size))
            before = len(found)
            orders = [_readable(raw) for raw in page]
            unreadable += orders.count(None)
            found.update({fields["order_id"]: fields for fields in orders if fields is not None})
            is_whole = len(page) < size or len(found) == before or _reaches(orders, since)
            if is_whole:
                break
        gaps = [f"{unreadable} of the platform's orders are unreadable"] if unreadable else []
        if not is_whole:
            gaps.append(f"the platform has more than the {most * size} orders that were looked at")
        return OrderPage(tuple(found.values()), tuple(gaps))

    # HTTP

    async def _get(self, path: str, **query: int) -> Any:
        try:
            async with asyncio.timeout(self._options.timeout_s):
                status, body = await self._fetch(f"{self._url}{path}", query)
        except TimeoutError:
            raise RestError(f"no answer within {self._options.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            # no cause: it holds the request with its headers, and the key with them
            raise RestError(self._in_words(exc)) from None
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            raise RestError(f"the key or its secret is refused (HTTP {status})", status=status)
        if status != _OK:
            raise RestError(f"HTTP {status}", status=status)
        return _decoded(body)

    async def _fetch(self, url: str, query: dict[str, int]) -> tuple[int, bytes]:
        body = bytearray()
        async with self._client().stream("GET", url, params=query) as response:
            if response.status_code != _OK:
                return response.status_code, b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._options.max_body_bytes:
                    raise RestError(f"the answer is larger than {self._options.max_body_bytes} bytes")
        return _OK, bytes(body)

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            names = ("X-API-Key", "X-API-Secret")
            headers = {name: secret.get_secret_value() for name, secret in zip(names, self._secrets, strict=False)}
            # read as it comes: what unpacks to more than it weighs is not asked for
            headers |= {"Accept": "application/json", "Accept-Encoding": "identity"}
            context = self._options.ssl_context or (ssl.create_default_context() if self._url.secure else False)
            self._http = httpx.AsyncClient(
                headers=headers,
                verify=context,
                timeout=httpx.Timeout(self._options.timeout_s, connect=self._options.connect_timeout_s),
                follow_redirects=False,
                trust_env=not self._url.is_loopback,
            )
        return self._http

    def _in_words(self, exc: Exception) -> str:
        words = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
        for secret in self._secrets:
            words = words.replace(secret.get_secret_value(), "***")
        return words[:_MAX_WORDS]


# Reading an answer


def _decoded(body: bytes) -> Any:
    """The JSON, with numbers as the very text that was sent: no float touches them."""
    try:
        from_json(body, allow_inf_nan=False)  # bounds the nesting, which the other reader does not
        return json.loads(body, parse_float=str, parse_int=str)
    except ValueError:
        raise RestError("the answer is not JSON") from None


def _list_of(answer: Any) -> list[Any]:
    inner = _unwrapped(answer)
    found = inner.get("orders") if isinstance(inner, dict) else inner
    if not isinstance(found, list):
        raise RestError("the answer holds no list of orders")
    return found


def _one_of(answer: Any, name: str) -> dict[str, Any]:
    inner = _unwrapped(answer)
    if isinstance(inner, dict) and isinstance(inner.get(name), dict):
        inner = inner[name]
    if not isinstance(inner, dict):
        raise RestError(f"the answer holds no {name}")
    return inner


def _unwrapped(answer: Any) -> Any:
    return answer["data"] if isinstance(answer, dict) and isinstance(answer.get("data"), dict | list) else answer


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    """As events name it; a name that is there already wins."""
    named = {name: value for name, value in fields.items() if name not in _ALIASES}
    return {_ALIASES[name]: value for name, value in fields.items() if name in _ALIASES} | named


def _event(channel: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Read as if it had been pushed: the same fields, the same checks.

    Raises:
        RestError: it could not have been.
    """
    try:
        frame = parse(json.dumps({"channel": channel, "data": fields}).encode())
    except FrameError as exc:
        raise RestError(f"the answer is unreadable: {exc}"[:_MAX_WORDS]) from None
    assert isinstance(frame, EventFrame)  # noqa: S101 - what has such a channel is one, or an error
    return frame.fields


def _readable(raw: Any) -> dict[str, Any] | None:
    try:
        return _event("orders", _renamed(raw)) if isinstance(raw, dict) else None
    except RestError:
        return None


def _reaches(orders: list[dict[str, Any] | None], since: datetime | None) -> bool:
    """Whether a page of newest orders ends with one that was placed before ``since``."""
    last = orders[-1] if orders else None
    created = None if last is None or since is None else to_datetime(str(last.get("created_at")))
    return created is not None and since is not None and created < since

"""The platform's REST answers about an account, on the port of the WebSocket: just what is asked after a blind span."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from http.client import responses as HTTP_PHRASES  # noqa: N812  # a constant
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Response

from agentexchange.testing._frames import json_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.http11 import Request

    from agentexchange.testing._door import Door
    from agentexchange.testing._ledger import Ledger
    from agentexchange.testing._observe import Observations

__all__ = ["Books", "RestDesk", "is_rest"]

_PREFIX = "/api/"
_OPEN_ORDERS = "/api/v1/trade/orders/open"
_ORDERS = "/api/v1/trade/orders"
_ORDER = "/api/v1/trade/order/"
_PORTFOLIO = "/api/v1/account/portfolio"

_MOST_OPEN, _MOST, _USUAL = 200, 500, 100
_ORDER_FIELDS = ("order_id", "status", "symbol", "side", "type", "quantity", "price", "executed_price")
"""As they are pushed. ``executed_quantity`` has another name here, and when an order was cancelled is not said."""


class _Refused(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status)
        self.status = status
        self.body = {"error": {"code": code, "message": message}}


def is_rest(path: str) -> bool:
    """Whether a request is none for a WebSocket."""
    return path.startswith(_PREFIX)


class Books(Protocol):
    """What an exchange knows of its accounts."""

    def ledger(self, account: str) -> Ledger:
        """The orders of an account."""

    def portfolio_fields(self, account: str) -> dict[str, Any] | None:
        """The portfolio of an account as it is now; None where it has none."""


class RestDesk:
    """Answers requests.

    Attributes:
        refusal: status of every answer, None to answer in truth.
        delay: seconds that an answer takes.
        body: what every answer holds instead of the truth, if anything.
    """

    def __init__(self, *, books: Books, door: Door, seen: Observations, api_secret: str | None) -> None:
        self.refusal: int | None = None
        self.delay = 0.0
        self.body: bytes | None = None
        self._books = books
        self._door = door
        self._seen = seen
        self._secret = api_secret
        self._hurry = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        """The answer to one request."""
        self._seen.rest_requests += 1
        self._seen.changed()
        if self.delay:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.delay):
                    await self._hurry.wait()
        try:
            body = json_bytes(self._told(request))
        except _Refused as refused:
            return _response(refused.status, json_bytes(refused.body))
        return _response(HTTPStatus.OK, body if self.body is None else self.body)

    def hurry(self) -> None:
        """Answer what waits, and answer at once from now on."""
        self.delay = 0.0
        self._hurry.set()
        self._hurry = asyncio.Event()

    def _told(self, request: Request) -> Any:
        if self.refusal is not None:
            raise _Refused(self.refusal, "REFUSED", "the exchange was told to refuse")
        key = request.headers.get("X-API-Key", "")
        if not self._door.admits(key):
            raise _Refused(401, "INVALID_API_KEY", "Invalid API key.")
        if self._secret is not None and request.headers.get("X-API-Secret") != self._secret:
            raise _Refused(401, "INVALID_API_SECRET", "Invalid API secret.")
        url = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        account = self._door.account_of(key)
        ledger = self._books.ledger(account)
        if url.path == _OPEN_ORDERS:
            return _page(ledger.newest(is_open=True), query, most=_MOST_OPEN)
        if url.path == _ORDERS:
            return _page(ledger.newest(), query, most=_MOST)
        if url.path == _PORTFOLIO:
            return _portfolio(self._books.portfolio_fields(account))
        if url.path.startswith(_ORDER):
            return _one(ledger, unquote(url.path.removeprefix(_ORDER)))
        raise _Refused(404, "NOT_FOUND", "Not found.")


def _portfolio(fields: dict[str, Any] | None) -> dict[str, Any]:
    if fields is None:
        raise _Refused(404, "PORTFOLIO_NOT_FOUND", "Portfolio not found.")
    return fields


def _page(orders: list[dict[str, Any]], query: Mapping[str, str], *, most: int) -> dict[str, Any]:
    limit, offset = _number(query, "limit", _USUAL), _number(query, "offset", 0)
    if not 1 <= limit <= most:
        raise _Refused(422, "VALIDATION_ERROR", f"limit must be 1 to {most}")
    page = [_detail(fields) for fields in orders[offset : offset + limit]]
    return {"orders": page, "total": len(page), "limit": limit, "offset": offset}


def _number(query: Mapping[str, str], name: str, usual: int) -> int:
    text = query.get(name, str(usual))
    if not text.isdecimal():
        raise _Refused(422, "VALIDATION_ERROR", f"{name} must be a number")
    return int(text)


def _one(ledger: Ledger, order_id: str) -> dict[str, Any]:
    fields = ledger.order(order_id)
    if fields is None:
        raise _Refused(404, "ORDER_NOT_FOUND", "Order not found.")
    return _detail(fields)


def _detail(fields: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: fields.get(name) for name in _ORDER_FIELDS}
    more = {name: fields.get(name) for name in ("fee", "created_at", "filled_at")}
    return {**told, "executed_qty": fields.get("executed_quantity"), "slippage_pct": None, **more}


def _response(status: int, body: bytes) -> Response:
    headers = Headers([
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ])  # fmt: skip
    return Response(status, HTTP_PHRASES.get(status, "Refused"), headers, body)

"""From a URL to a socket and the commands that open a session on it."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ._errors import LinkClosedError, NotRedisError
from ._pack import pack

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange._urls import RedisUrl

__all__ = ["SETNAME", "handshake_of", "open_link", "tls_context"]

SETNAME: Final = "name the connection"

_P = TypeVar("_P", bound=asyncio.Protocol)


def handshake_of(url: RedisUrl, name: str) -> list[tuple[str, bytes]]:
    """The opening commands as (what it is for, packed): they are sent in one write, after which PING must answer."""
    steps = []
    if url.password is not None:
        secret = url.password.get_secret_value()
        credentials = (url.username, secret) if url.username else (secret,)
        steps.append(("log in", pack("AUTH", *credentials)))
    if url.db:
        steps.append((f"select database {url.db}", pack("SELECT", url.db)))
    steps.append((SETNAME, pack("CLIENT", "SETNAME", name)))
    steps.append(("ping", pack("PING")))
    return steps


def tls_context(url: RedisUrl) -> ssl.SSLContext | None:
    """The verified TLS context of a ``rediss://`` URL; None for the other schemes.

    Raises:
        NotRedisError: a certificate or key file cannot be read.
    """
    if url.scheme != "rediss":
        return None
    try:
        context = ssl.create_default_context(cafile=url.ssl_ca_certs)
        if url.ssl_certfile:
            context.load_cert_chain(url.ssl_certfile, url.ssl_keyfile)
    except (OSError, ssl.SSLError) as exc:
        raise NotRedisError(f"TLS files of {url} cannot be used: {exc}") from exc
    context.check_hostname = url.ssl_check_hostname
    return context


async def open_link(url: RedisUrl, factory: Callable[[], _P]) -> _P:
    """Connect a protocol to the server of ``url``; no deadline of its own.

    Raises:
        NotRedisError: the certificate cannot be trusted, or TLS is not spoken there.
        LinkClosedError: every other failure.
    """
    loop = asyncio.get_running_loop()
    try:
        if url.scheme == "unix":
            _, protocol = await loop.create_unix_connection(factory, url.path)
            return protocol
        tls: dict[str, Any] = {"ssl": tls_context(url)}
        _, protocol = await loop.create_connection(factory, url.host, url.port, **tls)
    except ssl.SSLError as exc:
        raise NotRedisError(f"no trusted TLS with {url}: {_tls_fault(exc)}") from exc
    except OSError as exc:
        raise LinkClosedError(f"cannot connect to {url}: {exc}") from exc
    return protocol


def _tls_fault(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return exc.verify_message or "the certificate cannot be verified"
    return exc.reason or str(exc)

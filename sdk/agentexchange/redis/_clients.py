"""The ordinary redis-py clients of a URL, for occasional commands: bounded waits, bounded retries, bounded pools."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from agentexchange.errors import ConnectionError as PublicConnectionError

from ._errors import ReplyError, final_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentexchange._urls import RedisUrl

__all__ = ["async_client", "public_errors", "sync_client"]

_MAX_CONNECTIONS: Final = 16
_RETRIES: Final = 1  # for a pooled connection that died unseen; redis-py's endless retries overflow at failure 1,024
_TIMEOUT_S: Final = 5.0


def sync_client(url: RedisUrl, *, name: str | None = None, timeout_s: float = _TIMEOUT_S) -> redis.Redis:
    """A thread-safe client. A seventeenth thread waits ``timeout_s`` for a connection.

    With a ``name``, connections are named, which the user's rules must allow (``+client|setname``).
    """
    kind: Any = redis.Connection
    if url.scheme != "redis":
        kind = redis.SSLConnection if url.secure else redis.UnixDomainSocketConnection
    pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
        max_connections=_MAX_CONNECTIONS,
        timeout=timeout_s,
        connection_class=kind,
        retry=Retry(NoBackoff(), _RETRIES),
        **_options(url, name, timeout_s),
    )
    return redis.Redis.from_pool(pool)


def async_client(url: RedisUrl, *, name: str | None = None, timeout_s: float = _TIMEOUT_S) -> redis.asyncio.Redis:
    """A client for one event loop. A seventeenth task waits ``timeout_s`` for a connection. ``name``: as above."""
    kind: Any = redis.asyncio.Connection
    if url.scheme != "redis":
        kind = redis.asyncio.SSLConnection if url.secure else redis.asyncio.UnixDomainSocketConnection
    pool = redis.asyncio.BlockingConnectionPool(
        max_connections=_MAX_CONNECTIONS,
        timeout=timeout_s,
        connection_class=kind,
        retry=AsyncRetry(NoBackoff(), _RETRIES),
        **_options(url, name, timeout_s),
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def public_errors(url: RedisUrl) -> Iterator[None]:
    """Raise what redis-py raises as `agentexchange.ConnectionError`."""
    try:
        yield
    except (redis.AuthenticationError, redis.ResponseError) as exc:
        raise final_error(ReplyError(_reply_text(exc)), url) from exc
    except (redis.RedisError, OSError) as exc:
        raise PublicConnectionError(f"Redis at {url} does not answer: {exc}") from exc


def _reply_text(exc: redis.RedisError) -> str:
    """The error reply as Redis sent it: redis-py cuts the first word off some, and makes a class of it."""
    text = str(exc)
    if isinstance(exc, redis.exceptions.NoPermissionError):
        return f"NOPERM {text}"
    if isinstance(exc, redis.AuthenticationError):
        return f"{'NOAUTH' if 'required' in text else 'WRONGPASS'} {text}"
    return text


def _options(url: RedisUrl, name: str | None, timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "db": url.db,
        "username": url.username,
        "password": url.password.get_secret_value() if url.password else None,
        "client_name": name,
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
    }
    if url.path is not None:
        return options | {"path": url.path}
    options |= {"host": url.host, "port": url.port}
    if url.secure:
        names = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
        options |= {"ssl_cert_reqs": "required"} | {name: getattr(url, name) for name in names}
    return options

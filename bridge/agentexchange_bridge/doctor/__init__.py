"""The examination behind ``agentexchange doctor``: every finding with its fix. Reads, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange.redis import RedisLinkError, RespStream, StreamOptions
from agentexchange_schemas import account_scope

from ._result import Finding, Level, fail
from ._rights import check_rights
from ._scopes import check_scopes, read_layout
from ._server import check_server
from ._upstream import check_upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pydantic import SecretStr

    from agentexchange._urls import RedisUrl, UpstreamUrl

__all__ = ["Finding", "Level", "examine"]

_OPTIONS: Final = StreamOptions(open_timeout_s=5.0, reply_timeout_s=5.0, idle_probe_s=None)


async def examine(
    *, redis: RedisUrl | None, upstream: UpstreamUrl | None, api_key: SecretStr | None
) -> AsyncIterator[Finding]:
    """Check what is given, in order, and yield each finding as soon as it is known. Raises nothing of the network."""
    if redis is not None:
        async for finding in _examine_redis(redis, api_key):
            yield finding
    if upstream is not None:
        yield await check_upstream(upstream, api_key)


async def _examine_redis(url: RedisUrl, api_key: SecretStr | None) -> AsyncIterator[Finding]:
    try:
        stream = await RespStream.connect(url, name="agentexchange-doctor", options=_OPTIONS)
    except RedisLinkError as exc:
        yield fail("redis", str(exc), "correct --redis-url (user, password, port, TLS), or start the server")
        return
    account = account_scope(api_key.get_secret_value()) if api_key else None
    try:
        async for finding in check_server(stream):
            yield finding
        layout, finding = await read_layout(stream, url.prefix)
        yield finding
        async for finding in check_rights(stream, layout, layout.market_scopes[0]):
            yield finding
        async for finding in check_scopes(stream, layout, account):
            yield finding
    except RedisLinkError as exc:
        yield fail("redis", str(exc), "look at the server's log; as another user if it says NOPERM")
    finally:
        stream.close()

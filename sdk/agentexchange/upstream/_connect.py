"""Opening one WebSocket connection, with a logger that cannot print the address."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from pydantic import SecretStr

    from agentexchange._urls import UpstreamUrl

    from ._options import FeedOptions

__all__ = ["open_connection"]


_MAX_QUEUE: Final = 16
"""Frames that may wait for the session before the socket is read again; one read brings many more at once."""


_MAX_UNSENT_BYTES: Final = 1024 * 1024
"""Answers to pings that a server may leave unread: the library answers each, and waits for nobody."""


class _Connection(ClientConnection):
    """Cut off where the server makes it write, and does not read."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self.transport.abort()


class _QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """Drops DEBUG and INFO whatever the levels are set to: there the library logs the request line, key included."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        return level >= logging.WARNING and super().isEnabledFor(level)


_logger: Final = _QuietLogger(logging.getLogger("agentexchange.upstream.websockets"))


async def open_connection(url: UpstreamUrl, api_key: SecretStr | None, options: FeedOptions) -> ClientConnection:
    """Connect and shake hands, with a key or only to see who answers; raises what websockets raises.

    Its exceptions are read by `_verdict`.
    """
    tls: dict[str, Any] = {"ssl": options.ssl_context} if url.secure and options.ssl_context else {}
    return await connect(
        str(url) if api_key is None else url.with_key(api_key),
        create_connection=_Connection,
        compression="deflate" if options.compression else None,
        # a proxy of the environment is for the way out of this machine
        proxy=None if url.is_loopback else True,
        open_timeout=options.open_timeout_s,
        close_timeout=options.close_timeout_s,
        # the platform's own heartbeat tells liveness: the library's would end sessions by a second rule
        ping_interval=None,
        max_size=options.max_frame_bytes,
        # the session takes whatever has come; only while this process has no time left does the socket wait for it,
        # so that frames do not pile up in memory
        max_queue=_MAX_QUEUE,
        logger=_logger,
        **tls,
    )

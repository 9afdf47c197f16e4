"""Forming candles of the charts that are looked at: they are in no log, so their channels are subscribed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange.redis import RespStream, StreamOptions, pack
from agentexchange_schemas import EnvelopeError, Topic
from agentexchange_schemas.envelope import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange._urls import RedisUrl
    from agentexchange_schemas import Layout

__all__ = ["Forming"]

_NAME: Final = "agentexchange-inspector-candles"
_MESSAGE: Final = b"message"


class Forming:
    """Subscribes what it is told to, on a connection that is opened at first use.

    Args:
        url: the server.
        layout: the names.
        take: called with topic and fields of each candle that comes.
        options: limits of the connection.
    """

    def __init__(
        self,
        url: RedisUrl,
        layout: Layout,
        *,
        take: Callable[[str, dict[str, Any]], None],
        options: StreamOptions,
    ) -> None:
        self._url = url
        self._layout = layout
        self._take = take
        self._options = options
        self._stream: RespStream | None = None
        self._channels: set[str] = set()

    async def keep(self, topics: set[str]) -> None:
        """Be subscribed to these and to no others; again, where the connection was lost.

        Raises:
            RedisLinkError: the connection cannot be opened.
        """
        if self._stream is not None and self._stream.is_closed:
            self._stream, self._channels = None, set()
        wanted = {self._channel(topic) for topic in topics}
        if wanted == self._channels:
            return
        if self._stream is None:
            self._stream = await RespStream.connect(
                self._url, name=_NAME, on_replies=self._heard, options=self._options
            )
        for command, channels in (
            ("UNSUBSCRIBE", self._channels - wanted),
            ("SUBSCRIBE", wanted - self._channels),
        ):
            if channels:
                self._stream.write(pack(command, *channels))
        self._channels = wanted

    def close(self) -> None:
        """End the connection. Idempotent."""
        if self._stream is not None:
            self._stream.close()

    def _channel(self, topic: str) -> str:
        symbol = Topic.parse(topic).symbol or ""
        return self._layout.channel(self._layout.market_scope(symbol), topic)

    def _heard(self, replies: list[Any]) -> None:
        for reply in replies:
            if not isinstance(reply, list) or reply[0] != _MESSAGE:
                continue
            try:
                envelope = decode(reply[2])
            except EnvelopeError:
                continue
            self._take(envelope.topic, envelope.data)

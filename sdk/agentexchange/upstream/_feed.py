"""UpstreamFeed: one session at a time, kept up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._options import FeedOptions
from ._stats import FeedStats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from agentexchange._urls import UpstreamUrl
    from agentexchange_schemas import Topic

    from ._auth import AuthJudge, AuthPolicy
    from ._options import FeedSink

__all__ = ["UpstreamFeed"]


class UpstreamFeed:
    """Connects, subscribes, reads, answers pings, reconnects."""

    def __init__(
        self,
        url: UpstreamUrl,
        api_key: SecretStr,
        *,
        sink: FeedSink,
        topics: Iterable[Topic] = (),
        auth: AuthPolicy | AuthJudge,
        options: FeedOptions | None = None,
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._sink = sink
        self._wanted = dict.fromkeys(topics)
        self._auth = auth
        self._options = options or FeedOptions()
        self.stats = FeedStats()

    async def run(self) -> None:
        """Return after `stop`; raise AuthenticationError or ConnectionError only when final."""
        raise NotImplementedError

    def subscribe(self, topic: Topic) -> None:
        """Want ``topic``, on the live session and on every later one."""
        raise NotImplementedError

    def unsubscribe(self, topic: Topic) -> None:
        """Want ``topic`` no more."""
        raise NotImplementedError

    def stop(self) -> None:
        """End a backoff wait and the session at once."""
        raise NotImplementedError

"""A client's options, checked, and the transport that each of its runs gets: by its URL, and by whether it replays."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from agentexchange_schemas import account_scope

from ._acked.choice import acked_transport
from ._direct import DirectTransport
from ._extras import redis_backed
from ._urls import FileUrl, RedisUrl, UpstreamUrl
from .candles import CandleSource
from .errors import UsageError
from .replay import FileSource, ReplayControl
from .replay._options import ReplayOptions
from .replay._transport import ReplayTransport
from .upstream import AuthJudge, AuthPolicy, FeedOptions, PoolOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import SecretStr

    from agentexchange_schemas import Topic

    from ._clock import Clock
    from ._dispatch import Dispatcher
    from ._options import ConnectionOptions
    from ._transport import Transport
    from .replay import Moment, ReplayProgress, Source

__all__ = ["Transports"]


class Transports:
    """Makes the transport of each run.

    Args:
        url: where to.
        api_key: the key; None for a recording.
        dispatcher: whose handlers.
        topics: what is wanted whenever a run begins.
        clock: the client's.
        stop: ends the run under way.
        options: the client's.

    Raises:
        ValueError: an option of groups or positions that does not go with the others.
        MissingExtraError: a Redis URL, and redis is not installed.
    """

    def __init__(
        self,
        url: UpstreamUrl | RedisUrl | FileUrl,
        api_key: SecretStr | None,
        *,
        dispatcher: Dispatcher,
        topics: Iterable[Topic],
        clock: Clock,
        stop: Callable[[], None],
        options: ConnectionOptions,
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._dispatcher = dispatcher
        self._topics = topics
        self._clock = clock
        self._stop = stop
        self._options = FeedOptions(
            open_timeout_s=options.open_timeout,
            stale_after_s=options.stale_after,
            compression=options.compression,
            ssl_context=options.ssl_context,
        )
        self._pool = PoolOptions(max_sessions=options.max_sessions, fold_from=options.ticker_all_from)
        self._candles = CandleSource(options.candles)
        self._judge = AuthJudge(AuthPolicy.STRICT)
        self._acked = acked_transport(url, options)
        self._shared = self._acked
        if isinstance(url, RedisUrl) and self._acked is None:
            self._shared = _shared(options)
        self._replay: tuple[ReplayOptions, ReplayControl] | None = None
        if isinstance(url, FileUrl):
            self.replay()

    def __call__(self) -> Transport:
        """The transport of one run."""
        if self._replay is not None:
            return self._replaying(*self._replay)
        assert self._api_key is not None  # noqa: S101 - only a recording needs none
        topics = tuple(self._topics)
        if isinstance(self._url, UpstreamUrl):
            return DirectTransport(
                self._url,
                self._api_key,
                dispatcher=self._dispatcher,
                topics=topics,
                auth=self._judge,
                options=self._options,
                pool=self._pool,
                candles=self._candles,
            )
        assert self._shared is not None  # noqa: S101 - made with the URL
        return self._shared(self._url, self._api_key, dispatcher=self._dispatcher, topics=topics)

    def replay(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        speed: float | None = None,
        on_progress: Callable[[ReplayProgress], object] | None = None,
        progress_bar: bool | None = None,
    ) -> ReplayControl:
        """Make each transport from now on a replay. See `AgentExchangeWS.replay`."""
        self._check_replay()
        in_url = self._url if isinstance(self._url, FileUrl) else FileUrl("")
        options = ReplayOptions(
            start=in_url.start if start is None else start,
            end=in_url.end if end is None else end,
            speed=in_url.speed if speed is None else speed,
            on_progress=on_progress,
            progress_bar=progress_bar,
        )
        control = ReplayControl(speed=options.speed, stop=self._stop, is_handler=self._is_handler)
        self._replay = (options, control)
        return control

    def _check_replay(self) -> None:
        if isinstance(self._url, UpstreamUrl):
            raise UsageError("the platform keeps no log: replay a recording (file://) or the logs of Redis (redis://)")
        if self._acked is not None:
            raise UsageError("group= and resume= go on where they stopped, and replay nothing: leave them out")

    def _is_handler(self) -> bool:
        return self._dispatcher.owns(asyncio.current_task())

    def _replaying(self, options: ReplayOptions, control: ReplayControl) -> Transport:
        own = None if self._api_key is None else account_scope(self._api_key.get_secret_value())
        source: Source
        if isinstance(self._url, FileUrl):
            source, named = FileSource(*self._url.files()), self._url.account
        else:
            make = redis_backed("replay._redis", "RedisSource")
            source, named = make(self._url, accounts=[own], is_replayed=True), None
        return ReplayTransport(
            source,
            dispatcher=self._dispatcher,
            topics=self._topics,
            clock=self._clock,
            control=control,
            options=options,
            named=named,
            own=own,
        )


def _shared(options: ConnectionOptions) -> Callable[..., Transport]:
    shared = redis_backed("_shared.options", "SharedOptions")(
        recover_limit=options.recover_limit, client_name=options.client_name
    )
    return partial(redis_backed("_shared.transport", "SharedTransport"), options=shared)

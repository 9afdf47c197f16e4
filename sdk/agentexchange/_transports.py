"""A client's options, checked, and the transport that each of its runs gets: by its URL, and by whether it replays."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from agentexchange_schemas import account_scope
from agentexchange_schemas.layout import checked_name

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
    import ssl
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from pydantic import SecretStr

    from agentexchange_schemas import Topic

    from ._clock import Clock
    from ._dispatch import Dispatcher
    from ._transport import Transport
    from .replay import Moment, ReplayProgress, Source

__all__ = ["CandlesName", "Transports", "check_positive"]

CandlesName: TypeAlias = Literal["auto", "upstream", "build"]


class Transports:
    """Makes the transport of each run.

    Args (beside options of `AgentExchangeWS`):
        url: where to.
        api_key: the key; None for a recording.
        dispatcher: whose handlers.
        topics: what is wanted whenever a run begins.
        clock: the client's.
        stop: ends the run under way.

    Raises:
        ValueError: an option out of range.
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
        open_timeout: float,
        stale_after: float,
        compression: bool,
        ssl_context: ssl.SSLContext | None,
        max_sessions: int,
        ticker_all_from: int | None,
        candles: CandlesName,
        recover_limit: int,
        group: str | None,
        resume: str | None,
        start: str | datetime,
        claim_after: float,
        max_attempts: int,
        consumer: str | None,
        client_name: str | None,
    ) -> None:
        check_positive(open_timeout=open_timeout, stale_after=stale_after, recover_limit=recover_limit)
        if client_name is not None:
            checked_name(client_name, "client_name")
        self._url = url
        self._api_key = api_key
        self._dispatcher = dispatcher
        self._topics = topics
        self._clock = clock
        self._stop = stop
        self._options = FeedOptions(
            open_timeout_s=open_timeout, stale_after_s=stale_after, compression=compression, ssl_context=ssl_context
        )
        self._pool = _pool_options(max_sessions, ticker_all_from)
        self._candles = _candle_source(candles)
        self._judge = AuthJudge(AuthPolicy.STRICT)
        self._acked = acked_transport(
            url,
            group=group,
            resume=resume,
            start=start,
            claim_after=claim_after,
            max_attempts=max_attempts,
            consumer=consumer,
            client_name=client_name,
        )
        self._shared = self._acked
        if isinstance(url, RedisUrl) and self._acked is None:
            self._shared = _shared(recover_limit=recover_limit, client_name=client_name)
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
            source, named = redis_backed("replay._redis", "RedisSource")(self._url, accounts=[own]), None
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


def check_positive(**options: float) -> None:
    """Options that must be more than 0.

    Raises:
        ValueError: one is not; names it.
    """
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} must be more than 0, not {value!r}")


def _shared(*, recover_limit: int, client_name: str | None) -> Callable[..., Transport]:
    options = redis_backed("_shared.options", "SharedOptions")(recover_limit=recover_limit, client_name=client_name)
    return partial(redis_backed("_shared.transport", "SharedTransport"), options=options)


def _candle_source(name: str) -> CandleSource:
    try:
        return CandleSource(name)
    except ValueError:
        raise ValueError(f"candles must be one of {', '.join(CandleSource)}, not {name!r}") from None


def _pool_options(max_sessions: int, ticker_all_from: int | None) -> PoolOptions:
    check_positive(max_sessions=max_sessions)
    if ticker_all_from is not None:
        check_positive(ticker_all_from=ticker_all_from)
    return PoolOptions(max_sessions=max_sessions, fold_from=ticker_all_from)

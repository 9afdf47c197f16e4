"""AgentExchangeWS: the client, straight to the platform, shared through Redis, or replaying a recording."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, TypeVar

from agentexchange_schemas import Topic

from ._clock import Clock
from ._dispatch import DEFAULT_MAX_QUEUE, Dispatcher, HandlerStats
from ._freshness import freshness_of
from ._handlers import Handler
from ._lifecycle import DRAIN_TIMEOUT_S, Lifecycle
from ._options import CandlesName, ConnectionOptions, check_positive
from ._policy import HandlerOptions
from ._scope import TaskScope
from ._transports import Transports
from ._urls import FileUrl, api_key_secret, parse_base_url
from .errors import UsageError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from pydantic import SecretStr

    from .freshness import Freshness
    from .replay import Moment, ReplayControl, ReplayProgress

__all__ = ["AgentExchangeWS", "ClientStats"]

_log: Final = logging.getLogger("agentexchange")
DEFAULT_URL: Final = "ws://localhost:8000"

_Function = TypeVar("_Function", bound="Callable[..., Any]")


PolicyName: TypeAlias = Literal["conflate", "wait", "drop_oldest"]
RecoverName: TypeAlias = Literal["all", "latest"]


@dataclass(frozen=True, slots=True)
class ClientStats:
    """What a client counts.

    Attributes:
        handlers: in the order of registration, status handlers last.
        transport: of the present connection, or the last one: the names differ by the kind of `base_url`.
    """

    handlers: list[HandlerStats]
    transport: dict[str, int | float]


class AgentExchangeWS:
    """Delivers prices, candles, order updates and portfolio snapshots to your handlers, and reconnects by itself.

    A handler takes the event (a dict, or the model its parameter is annotated with) and, if it has a second
    parameter, an `EventMeta`. Async handlers run on the event loop, sync ones on a thread of their own, each in
    order. One that raises is logged and stops nothing; ``SystemExit`` and ``KeyboardInterrupt`` end the program as
    they do anywhere. Handlers may be added while connected, too, and every method may be called from any thread.

    Args:
        api_key: the platform's key, ``ak_live_...``. A recording needs none.
        base_url: ``ws://`` or ``wss://`` (also ``http(s)://``) for the platform itself, ``redis://``, ``rediss://`` or
            ``unix://`` for a feed shared through Redis, ``file:///data/day.axlog?speed=1`` to replay a recording.
        open_timeout: seconds for opening one connection to the platform.
        stale_after: seconds without any message after which the platform's connection is replaced.
        compression: whether to offer compression to the platform, which slows it down.
        max_sessions: connections to the platform at most; one takes 10 topics.
        ticker_all_from: with handlers for more symbols than this, ``ticker:all`` is taken instead of each symbol, and
            so it is where they do not fit into ``max_sessions``. Handlers notice nothing. None: never.
        ssl_context: for ``wss://``; by default certificates are verified against the system's.
        candles: where candles come from, straight from the platform: ``"auto"`` takes the platform's where it pushes
            them in time and builds them from its ticks where it does not, ``"upstream"`` takes the platform's only,
            ``"build"`` always builds them. On a Redis URL the bridge decides.
        max_queue: events that may wait for one handler before tickers and portfolios are conflated to the newest.
        recover_limit: entries of the log that are read at most to hand out missed ticks, on a Redis URL; beyond it a
            gap is told and the newest value follows. Orders and closed candles are always read again whole.
        group: name of a group of workers on a Redis URL: each event goes to one of them, and is acknowledged when its
            handler has returned. All members must have the same handlers' topics.
        resume: name of a position kept in Redis, on a Redis URL: this program goes on where it stopped. One holder at a
            time.
        start: where a new group or position begins: ``"now"``, ``"earliest"`` (all that the log holds) or a datetime
            with its timezone. One that exists goes on where it stands.
        claim_after: seconds after which the events of a member that is dead or stopped go to another one.
        max_attempts: how often an event is handed to failing handlers before a group moves it to its dead letters, or
            a resumed program goes on without it.
        consumer: what this member of the group is called in Redis and in dead letters, by default ``client_name``; a
            random ending is added.
        client_name: what this program is called where ``agentexchange interest`` lists who wants what, on a Redis URL;
            by default host and process id. Programs may share a name.

    Attributes:
        clock: the time that handlers live in: now, or in a replay when the event in hand was received.

    Raises:
        ValueError: a missing or malformed key, a URL of another scheme, an option out of range.
        MissingExtraError: a Redis URL, and redis is not installed.
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        base_url: str = DEFAULT_URL,
        *,
        open_timeout: float = 10.0,
        stale_after: float = 40.0,
        compression: bool = False,
        max_sessions: int = 10,
        ticker_all_from: int | None = 100,
        ssl_context: ssl.SSLContext | None = None,
        candles: CandlesName = "auto",
        max_queue: int = DEFAULT_MAX_QUEUE,
        recover_limit: int = 100_000,
        group: str | None = None,
        resume: str | None = None,
        start: str | datetime = "now",
        claim_after: float = 30.0,
        max_attempts: int = 5,
        consumer: str | None = None,
        client_name: str | None = None,
    ) -> None:
        check_positive(max_queue=max_queue)
        self._url = parse_base_url(base_url)
        self._topics: dict[Topic, None] = {}
        self._dispatcher = Dispatcher(max_queue=max_queue)
        self.clock = Clock()
        self._transports = Transports(
            self._url,
            None if api_key is None and isinstance(self._url, FileUrl) else api_key_secret(api_key),
            dispatcher=self._dispatcher,
            topics=self._topics,
            clock=self.clock,
            stop=self.stop,
            options=ConnectionOptions(
                open_timeout=open_timeout,
                stale_after=stale_after,
                compression=compression,
                ssl_context=ssl_context,
                max_sessions=max_sessions,
                ticker_all_from=ticker_all_from,
                candles=candles,
                recover_limit=recover_limit,
                group=group,
                resume=resume,
                start=start,
                claim_after=claim_after,
                max_attempts=max_attempts,
                consumer=consumer,
                client_name=client_name,
            ),
        )
        self._life = Lifecycle(self._dispatcher, self._transports)
        self._scope: TaskScope | None = None

    def __repr__(self) -> str:
        return f"<AgentExchangeWS {self._url} api_key='***' {self._life.phase.value}>"

    # Handlers

    def on_ticker(
        self,
        symbol: str,
        *,
        policy: PolicyName | None = None,
        max_queue: int | None = None,
        recover: RecoverName = "all",
    ) -> Callable[[_Function], _Function]:
        """Decorate a handler for the prices of ``symbol``, or of every pair for ``"all"``.

        The event: ``symbol``, ``price``, ``timestamp``, and what else the platform sends; model `Ticker`.

        Args:
            symbol: such as ``BTCUSDT``, or ``all``.
            policy: what happens while the handler is too slow: ``conflate`` (usual for prices and portfolios) keeps
                the newest of each topic, ``wait`` (usual for orders and candles) keeps all, ``drop_oldest`` loses the
                oldest beyond ``max_queue``.
            max_queue: events that may wait for this handler, instead of the client's ``max_queue``.
            recover: ``latest`` to go on with the newest value after an interruption of a shared feed, instead of having
                what was missed first.

        Raises:
            ValueError: not a symbol, or an option that is not among the choices.
        """
        return self._decorator(Topic.ticker(symbol), policy=policy, max_queue=max_queue, recover=recover)

    def on_candles(
        self,
        symbol: str,
        interval: str,
        *,
        closed_only: bool = True,
        policy: PolicyName | None = None,
        max_queue: int | None = None,
        recover: RecoverName = "all",
    ) -> Callable[[_Function], _Function]:
        """Decorate a handler for candles, when they close; with ``closed_only=False`` for forming ones, too.

        The event: ``symbol``, ``interval``, ``open``, ``high``, ``low``, ``close``, ``volume``, ``open_time``; model
        `Candle`. Intervals: 1m, 5m, 15m, 1h, 4h, 1d. ``policy``, ``max_queue`` and ``recover`` as for `on_ticker`.

        Raises:
            ValueError: not a symbol, not an interval, or an option that is not among the choices.
        """
        return self._decorator(
            Topic.candles(symbol, interval),
            closed_only=closed_only,
            policy=policy,
            max_queue=max_queue,
            recover=recover,
        )

    def on_order_update(
        self, *, policy: PolicyName | None = None, max_queue: int | None = None, recover: RecoverName = "all"
    ) -> Callable[[_Function], _Function]:
        """Decorate a handler for changes of your orders.

        The event: ``order_id``, ``symbol``, ``side``, ``status``, ``executed_price``, ``executed_quantity``; model
        `OrderUpdate`. ``policy``, ``max_queue`` and ``recover`` as for `on_ticker`.

        Raises:
            ValueError: an option that is not among the choices.
        """
        return self._decorator(Topic.orders(), policy=policy, max_queue=max_queue, recover=recover)

    def on_portfolio(
        self, *, policy: PolicyName | None = None, max_queue: int | None = None, recover: RecoverName = "all"
    ) -> Callable[[_Function], _Function]:
        """Decorate a handler for portfolio snapshots.

        The event: ``total_equity``, ``available_cash``, ``unrealized_pnl``, ``roi_pct``; model `Portfolio`. ``policy``,
        ``max_queue`` and ``recover`` as for `on_ticker`.

        Raises:
            ValueError: an option that is not among the choices.
        """
        return self._decorator(Topic.portfolio(), policy=policy, max_queue=max_queue, recover=recover)

    def on_status(self) -> Callable[[_Function], _Function]:
        """Decorate a handler for statements about the feed itself: it gets a `FeedStatus`.

        One that is added while connected gets the present state first, one for each scope.
        """
        return self._decorator(None)

    # Subscriptions

    def subscribe(self, topic: str | Topic, handler: Callable[..., Any] | None = None) -> None:
        """Subscribe ``"ticker:SOLUSDT"``, ``"ticker:all"``, ``"candles:BTCUSDT:1m"``, ``"orders"`` or ``"portfolio"``.

        With ``handler``, as its decorator would. Without, events go to the handlers that the topic has already (after
        an `unsubscribe`), and ticks to the handlers for ``"all"``. Takes effect on the live connection.

        Raises:
            ValueError: not a topic.
            TypeError: not a handler.
        """
        wanted = _topic(topic)
        if handler is None:
            self._life.apply(lambda: self._want(wanted))
        else:
            self._add(Handler.of(handler, wanted))

    def unsubscribe(self, topic: str | Topic) -> None:
        """End a subscription; its handlers stay, and get nothing until it is subscribed again. Idempotent.

        Raises:
            ValueError: not a topic.
        """
        unwanted = _topic(topic)
        self._life.apply(lambda: self._unwant(unwanted))

    def stats(self) -> ClientStats:
        """Counters of each handler and of the connection, as they are now."""
        return ClientStats(handlers=self._dispatcher.stats(), transport=self._life.stats())

    def freshness(self, topic: str | Topic) -> Freshness:
        """How fresh ``topic`` is now: its state, since when, and the times of its last event. Costs microseconds.

        A topic that is not subscribed has the state of the feed it would come from, and no times.

        Raises:
            ValueError: not a topic.
        """
        asked = _topic(topic)
        return freshness_of(asked, self._dispatcher, self._life.outlook(asked), self.clock)

    # Replay

    def replay(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        *,
        speed: float | None = None,
        on_progress: Callable[[ReplayProgress], object] | None = None,
        progress_bar: bool | None = None,
    ) -> ReplayControl:
        """Make each `connect` from now on a replay of what was recorded, with the same handlers.

        Events come from the logs of a Redis URL, or from the recording of a ``file://`` URL, which is replayed in any
        case. The replay ends by itself, and `connect` returns.

        Args:
            start: the first moment: a datetime, ISO text, "10m ago", the id of a log entry, or an event such as
                ``ticker:BTCUSDT@123``. None: what the URL says, else the beginning.
            end: the first moment no longer wanted. None: what the URL says, else the end.
            speed: recorded seconds per real second; 0: as fast as handlers take it. None: what the URL says, else 1.
            on_progress: called on the event loop, at most five times a second and at the end.
            progress_bar: whether to show one on stderr; None: if that is a terminal.

        Returns:
            The handle that pauses, steps, seeks and tells how far it is.

        Raises:
            UsageError: straight from the platform, which keeps no log, or with ``group=`` or ``resume=``.
            ValueError: not a moment, or not a speed.
        """
        return self._transports.replay(start, end, speed=speed, on_progress=on_progress, progress_bar=progress_bar)

    # Life

    async def connect(self) -> None:
        """Connect and deliver, reconnecting for as long as it takes, until `disconnect` or `stop`.

        Cancelling it ends it cleanly. It may be called again when it has returned.

        Raises:
            AuthenticationError: the platform refuses the key.
            ConnectionError: the connection fails in a way that retrying cannot mend.
            RecordingError: a recording is foreign, of a later version, or damaged; what comes before was delivered.
            OSError: a recording cannot be read.
            UsageError: it is running already, or a recording of several accounts is replayed and none is named.
        """
        await self._life.run()

    def run_forever(self) -> None:
        """Run `connect` in the calling thread with an event loop of its own, until `stop` or Ctrl-C.

        Raises:
            AuthenticationError: as `connect` does; so do ConnectionError and UsageError.
            UsageError: called in a thread that runs an event loop: await `connect` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise UsageError("an event loop runs in this thread: await connect() there instead of run_forever()")
        try:
            asyncio.run(self.connect())
        except KeyboardInterrupt:
            return  # all is closed: the user asked for the end, not for a traceback

    async def disconnect(self, *, drain: bool = False, timeout: float = DRAIN_TIMEOUT_S) -> None:  # noqa: ASYNC109 - as stop
        """End the connection, a wait between attempts included, and wait until it is closed.

        What waits in the handlers' queues is dropped, and a call under way has a second to return. With ``drain``, what
        waits is delivered: orders, candles and all else that is not conflated within ``timeout`` seconds, prices and
        portfolios within one. From a handler it returns at once, as the connection waits for the handler. Without a
        connection it does what `stop` does.

        Raises:
            ValueError: ``timeout`` is not more than 0.
        """
        self.stop(drain=drain, timeout=timeout)
        await self._life.stopped()

    def stop(self, *, drain: bool = False, timeout: float = DRAIN_TIMEOUT_S) -> None:
        """End the connection soon, without waiting for it; before the first `connect`, end that as it starts.

        ``drain`` and ``timeout`` as for `disconnect`.

        Raises:
            ValueError: ``timeout`` is not more than 0.
        """
        check_positive(timeout=timeout)
        self._life.stop(drain_s=timeout if drain else None)

    async def __aenter__(self) -> Self:
        """Run `connect` in a task until the block is left; its error ends the block and is raised from it.

        A block that is left without an exception drains, as ``disconnect(drain=True)`` does.
        """
        if self._scope is not None:
            raise UsageError("this client is used in an async with block already")
        self._scope = TaskScope(self.connect())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.leave(partial(self.stop, drain=kind is None), kind)

    # Within

    def _decorator(self, topic: Topic | None, **options: Any) -> Callable[[_Function], _Function]:
        checked = HandlerOptions(**options)

        def register(function: _Function) -> _Function:
            self._add(Handler.of(function, topic, checked))
            return function

        return register

    def _add(self, handler: Handler) -> None:
        self._life.apply(lambda: self._added(handler))

    def _added(self, handler: Handler) -> None:
        if handler.topic is not None and self._life.transport is not None:
            self._life.transport.subscribe(handler.topic)  # first, as it may refuse
        self._dispatcher.add(handler)
        if handler.topic is not None:
            self._want(handler.topic)

    def _want(self, topic: Topic) -> None:
        if self._life.transport is not None:
            self._life.transport.subscribe(topic)
        self._topics[topic] = None
        self._dispatcher.open(topic)
        if not self._dispatcher.reaches(topic):
            _log.warning("%s is subscribed, but has no handler: its events go nowhere", topic)

    def _unwant(self, topic: Topic) -> None:
        if self._life.transport is not None:
            self._life.transport.unsubscribe(topic)
        self._topics.pop(topic, None)
        self._dispatcher.close(topic)


def _topic(topic: str | Topic) -> Topic:
    return topic if isinstance(topic, Topic) else Topic.parse(topic)

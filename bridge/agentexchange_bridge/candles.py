"""ScopeCandles: the candles of one market scope, between the pipeline and the scope's writer, while it is owned."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange._tasks import next_turn
from agentexchange.candles import BuilderOptions, CandleDesk, CandleStateError
from agentexchange.redis import RedisLinkError, ReplyError
from agentexchange_schemas import EnvelopeError

from .history import read_history

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from structlog.typing import FilteringBoundLogger

    from agentexchange.candles import BuiltCandle, CandleSource, DeskHistory, DeskStats
    from agentexchange.redis import RespStream
    from agentexchange_schemas import FeedStatus, Layout, Topic

    from .writer import ScopeWriter

__all__ = ["ScopeCandles"]

POLL_S: Final = 0.25
"""Between two looks at which candles are due."""

_OPTIONS: Final = BuilderOptions(catch_up_ms=300_000)
_STATE_KEPT_US: Final = 60_000_000  # after a grant: what is wanted a moment later continues from the state, too
_MAX_EARLY: Final = 1_000  # candles of upstream that wait for the history
_BACKOFF_CAP_S: Final = 2.0


class ScopeCandles:
    """Holds a `CandleDesk`, a new one for each grant, and hands what it gives to the writer.

    Nothing is published before the history of what is wanted was read: the candle log of the span under way and the
    state that the last owner left. What is wanted later gets its history where the log has one.

    Args:
        scope: a market scope.
        mode: where candles may come from.
        writer: of the scope.
        connect: opens a connection to Redis, for reading the history.
        stats: counts on over all desks.
        has_settled: whether ticks of a topic come to this scope from now on.
        on_change: called when `symbols` has changed.
        wall: µs since the Unix epoch, the clock that the writer stamps by.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        scope: str,
        *,
        mode: CandleSource,
        writer: ScopeWriter,
        layout: Layout,
        connect: Callable[[], Awaitable[RespStream]],
        stats: DeskStats,
        has_settled: Callable[[Topic], bool],
        on_change: Callable[[], None],
        wall: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]],
        log: FilteringBoundLogger,
    ) -> None:
        self.scope = scope
        self._mode = mode
        self._writer = writer
        self._outbox = writer.outbox
        self._layout = layout
        self._connect = connect
        self._stats = stats
        self._has_settled = has_settled
        self._on_change = on_change
        self._wall = wall
        self._sleep = sleep
        self._log = log.bind(scope=scope)
        self._target: dict[Topic, None] = {}
        self._wanted: dict[Topic, None] = {}
        self._busy = asyncio.Event()
        self._begin(owned=False)

    @property
    def is_restored(self) -> bool:
        """Whether candles go out: the scope is this worker's, and the history of what is wanted was read."""
        return self._is_owned and not (self._is_new or self._lacking)

    # The hot path

    def takes(self, symbol: str) -> bool:
        """Whether ticks of ``symbol`` are to be given to `tick`, rather than to the writer."""
        return symbol in self._desk.symbols

    def tick(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a tick of a symbol whose candles are wanted, for the writer and for them."""
        self._writer.tick(topic, fields)
        outbox = self._outbox
        self._desk.tick(fields["symbol"], fields["price"], fields.get("quantity"), outbox.tick_ms, outbox.last_us)

    # From the pipeline

    def candle(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a candle of upstream's."""
        if self.is_restored:
            self._publish(self._desk.candle(topic, fields, self._wall()))
        elif len(self._early) < _MAX_EARLY:
            self._early.append((topic, fields))

    def status(self, status: FeedStatus) -> bool:
        """Take what the feed says; returns whether clients are to hear it."""
        return self._desk.status(status)

    def blind(self, since_us: int) -> None:
        """There is no feed since then."""
        self._desk.blind(since_us)

    # Ownership, and what is wanted

    def want(self, topics: Iterable[Topic]) -> None:
        """Give candles of these topics, and of no others, from the next look on."""
        self._target = dict.fromkeys(topics)
        self._look()

    def granted(self) -> None:
        """The scope is this worker's from now on."""
        self._begin(owned=True)

    def lost(self) -> None:
        """It is no longer: what is under way is the next owner's."""
        self._begin(owned=False)

    def state(self) -> bytes | None:
        """What the writer is to save of the candles under way; None where there is nothing, or not yet."""
        return self._desk.state(self._wall()) if self.is_restored else None

    def finish(self) -> None:
        """Publish what is due, and what waits for a better source: the end is near. `run` is to have ended."""
        if self.is_restored:
            self._publish(self._desk.poll(self._wall()))
            self._publish(self._desk.flush())

    def _begin(self, *, owned: bool) -> None:
        self._is_owned = self._is_new = owned
        self._desk = CandleDesk(self._mode, options=_OPTIONS, stats=self._stats)
        self._wanted = {}
        self._lacking: set[str] = set()
        self._state: bytes | None = None
        self._granted_us = self._wall()
        self._early: list[tuple[str, dict[str, Any]]] = []
        if owned:
            self._follow()
        self._on_change()
        self._look()

    def _look(self) -> None:
        """Let `run` look, while there is anything to look at."""
        if self._is_owned and (self._is_new or self._target or self._wanted):
            self._busy.set()
        else:
            self._busy.clear()

    def _follow(self) -> None:
        """Bring the desk to what is wanted. Whose history is not known yet, lacks it."""
        if self._wanted.keys() == self._target.keys():
            return
        now_us = self._wall()
        for topic in self._wanted.keys() - self._target.keys():
            self._desk.unwant(topic, now_us)
        new = [topic for topic in self._target if topic not in self._wanted]
        for topic in new:
            self._desk.want(topic, now_us)
        self._lacking.update(topic.symbol for topic in new if topic.symbol is not None)
        self._lacking.intersection_update(self._desk.symbols)
        self._wanted = dict(self._target)
        self._on_change()

    # The clock

    async def run(self) -> None:
        """Look at the clock until cancelled."""
        delays = backoff(first=POLL_S, cap=_BACKOFF_CAP_S)
        while True:
            await self._busy.wait()
            try:
                await self._turn()
                delays = backoff(first=POLL_S, cap=_BACKOFF_CAP_S)
                pause_s = POLL_S
            except RedisLinkError as exc:
                self._log.warning("the history of candles cannot be read; trying again", error=str(exc))
                pause_s = next(delays)
            await next_turn(self._sleep, pause_s)

    async def _turn(self) -> None:
        if not self._is_owned:
            return
        self._follow()
        if not self.is_restored:
            await self._restore(self._desk)
        if self.is_restored:
            now_us = self._wall()
            self._desk.settle(self._has_settled, now_us)
            self._publish(self._desk.poll(now_us))
        self._look()

    async def _restore(self, desk: CandleDesk) -> None:
        """Read what the lacking symbols continue from; of no effect where the scope is lost meanwhile."""
        history = desk.history()
        topics = {str(topic) for topic in self._wanted if self._has_history(topic)}
        if self._is_new or topics:
            await self._read(topics, history)
        if desk is not self._desk:
            return
        now_us = self._wall()
        state = self._state if now_us < self._granted_us + _STATE_KEPT_US else None
        try:
            desk.restore(history, state, now_us)
        except CandleStateError as exc:
            self._log.warning("the saved candles cannot be read; continuing without", error=str(exc))
            self._state = None
            desk.restore(history, None, now_us)
        self._is_new = False
        self._lacking = set()
        early, self._early = self._early, []
        for topic, fields in early:
            try:
                self.candle(topic, fields)
            except EnvelopeError:
                self._outbox.lose(topic)

    async def _read(self, topics: set[str], history: DeskHistory) -> None:
        stream = await self._connect()
        try:
            if self._is_new:
                self._state = await self._saved(stream)
            if topics:
                log = self._layout.candle_log(self.scope)
                await read_history(stream, log, topics, take=lambda fields: history.add(fields, self._wall()))
        finally:
            stream.close()

    async def _saved(self, stream: RespStream) -> bytes | None:
        try:
            found: bytes | None = await stream.command("GET", self._layout.candle_state(self.scope))
        except ReplyError as exc:
            if exc.code != "WRONGTYPE":
                raise
            self._log.warning("the key of the saved candles holds something else", error=str(exc))
            return None
        return found

    def _has_history(self, topic: Topic) -> bool:
        """Whether the log may have what a lacking symbol continues from."""
        names = (str(topic), f"candles:{topic.symbol}:1m")
        return topic.symbol in self._lacking and any(map(self._outbox.has_written, names))

    def _publish(self, candles: Iterable[BuiltCandle]) -> None:
        for topic, fields in candles:
            self._writer.candle(topic, fields)

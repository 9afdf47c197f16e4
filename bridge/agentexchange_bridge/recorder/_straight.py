"""Recording straight from the platform: what a bridge would have written to its logs, written to a file instead."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from agentexchange._direct import DirectTransport
from agentexchange._tasks import end
from agentexchange.candles import CandleSource
from agentexchange.recording import Lane
from agentexchange.upstream import AuthJudge, AuthPolicy, FeedOptions, PoolOptions
from agentexchange_schemas import EnvelopeError, Kind, Topic, account_scope
from agentexchange_schemas.envelope import STATUS_TOPIC, encode
from agentexchange_schemas.events import event_time_ms
from agentexchange_schemas.frames import frame_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import SecretStr

    from agentexchange._urls import UpstreamUrl
    from agentexchange.recording import RotatingWriter
    from agentexchange_schemas import Envelope, FeedStatus

__all__ = ["StraightRecorder", "StraightSink"]

_MARKET: Final = "m0"
_TICK_S: Final = 0.25  # between two looks at which blocks are due


class StraightSink:
    """Takes events and states in the order of the sessions, and gives them the metadata that a bridge would.

    Each run is a log of its own: a new log id, an epoch of its beginning, seqs from 1. So nobody takes the time between
    two runs for recorded.

    Args:
        writer: where to.
        account: the scope of private events.
        topics: what was asked for: the scopes that are told of the feed's states.
        wall: µs since the Unix epoch.

    Attributes:
        arrivals: the newest event of each topic: when it came, and its fields.
        too_large: events that no envelope holds, and were left out.
        failed: raises why the recording cannot be written (any more).
    """

    def __init__(
        self,
        writer: RotatingWriter,
        *,
        account: str,
        topics: Iterable[Topic],
        tell: Callable[[str], None],
        wall: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._writer = writer
        self._account = account
        self._scopes = tuple(dict.fromkeys(account if topic.is_private else _MARKET for topic in topics))
        self._tell = tell
        self._wall = wall
        self._log_id = secrets.token_hex(8)
        self._epoch = wall() // 1_000_000
        self._seqs: dict[tuple[str, str], int] = {}
        self._last_us = max((writer.last_us(lane) or 0 for lane in writer.lanes), default=0)
        self.too_large = 0
        self.arrivals: dict[str, tuple[float, dict[str, Any], Envelope | None]] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event; forming candles are in no log."""
        self.arrivals[topic] = (time.monotonic(), fields, None)
        kind = topic.partition(":")[0]
        if kind == Kind.CANDLES and fields.get("is_closed") is False:
            return
        scope = self._account if kind in (Kind.ORDERS, Kind.PORTFOLIO) else _MARKET
        self._add(scope, "log:candles" if kind == Kind.CANDLES else "log", topic, fields)

    def status(self, status: FeedStatus) -> None:
        """A state of the feed, as a notice in every scope that it is about."""
        scopes = self._scopes
        if status.topic is not None:
            scopes = (self._account if Topic.parse(status.topic).is_private else _MARKET,)
        for scope in scopes:
            self._add(scope, "log", STATUS_TOPIC, status.model_copy(update={"scope": scope}).to_fields())
        if status.topic is None:
            self._tell(f"feed {status.state}{f': {status.message}' if status.message else ''}")

    def _add(self, scope: str, log: str, topic: str, fields: dict[str, Any]) -> None:
        seq = self._seqs.get((scope, topic), 0) + 1
        received_us = max(self._last_us + 1, self._wall())
        upstream_ms = None if topic == STATUS_TOPIC else event_time_ms(fields)
        try:
            raw = encode(topic, self._epoch, seq, upstream_ms, received_us, fields, frame=frame_in(fields))
        except EnvelopeError as exc:
            self.too_large += 1
            if self.too_large == 1:
                self._tell(f"left out, as every later one alike: {exc}")
            return
        self._seqs[scope, topic] = seq
        self._last_us = received_us
        try:
            self._writer.add(Lane(scope, log, self._log_id), [raw])
        except OSError as exc:  # raised later: a session would take it for a fault of its connection
            if not self.failed.done():
                self.failed.set_exception(exc)


class StraightRecorder:
    """Records topics from the platform, over as many sessions as they need, and reconnects for ever.

    Events are recorded with their frames where ``options`` keep these.
    """

    def __init__(
        self,
        url: UpstreamUrl,
        api_key: SecretStr,
        *,
        writer: RotatingWriter,
        topics: Iterable[Topic],
        tell: Callable[[str], None],
        options: FeedOptions | None = None,
    ) -> None:
        wanted = tuple(topics)
        self._writer = writer
        self.sink = StraightSink(writer, account=account_scope(api_key.get_secret_value()), topics=wanted, tell=tell)
        self._transport = DirectTransport(
            url,
            api_key,
            dispatcher=self.sink,
            topics=wanted,
            auth=AuthJudge(AuthPolicy.STRICT),
            options=options or FeedOptions(),
            pool=PoolOptions(),
            candles=CandleSource.AUTO,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Record until ``stop`` is set. The writer is not closed.

        Raises:
            AuthenticationError: the platform refuses the key.
            ConnectionError: there is no platform at the address.
            OSError: the recording cannot be written.
        """
        works = (self._transport.run(), self._tick(), self._fail(), _wait(stop))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._transport.stop()
            await end(tasks)
        for task in done:
            task.result()

    async def _fail(self) -> None:
        await self.sink.failed

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._writer.tick()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()

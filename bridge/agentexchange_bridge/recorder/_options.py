"""What a recorder needs to know, and what it counts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentexchange.recording import TopicChoice
from agentexchange.redis import StreamOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agentexchange._urls import RedisUrl
    from agentexchange.recording import Lane

__all__ = ["LogSink", "RecorderOptions", "RecorderStats"]


class LogSink(Protocol):
    """Takes what is read; a `RotatingWriter` is one."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """The logs of which it has something."""

    def last_us(self, lane: Lane) -> int | None:
        """``r`` of a log's last event, where reading goes on; None where it has none."""

    def add(self, lane: Lane, raws: Sequence[bytes]) -> None:
        """The next events of one log, in its order; maybe none."""

    def tick(self) -> None:
        """Called after each read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderOptions:
    """What is recorded, from where to where.

    Attributes:
        url: the Redis server.
        writer: takes what is read.
        scopes: whose logs; None for every market scope.
        accounts: account scopes beside ``scopes``.
        topics: which topics; notices always.
        start_us: where logs begin that were never recorded; None for their present end.
        tell: is given a sentence about each gap and each outage.
        count: entries of one read of one log.
        block_s: how long a read of quiet logs waits in the server.
        gather_s: pause after a read that came back less than full.
        look_every_s: how often a log's own name is asked for.
        stream: limits of a connection.
        clock: monotonic seconds.
        sleep: `asyncio.sleep` or a test's own.
    """

    url: RedisUrl
    writer: LogSink
    scopes: tuple[str, ...] | None = None
    accounts: tuple[str, ...] = ()
    topics: TopicChoice = field(default_factory=TopicChoice)
    start_us: int | None = None
    tell: Callable[[str], None] = lambda _: None
    count: int = 1000
    block_s: float = 0.25
    gather_s: float = 0.01
    look_every_s: float = 1.0
    stream: StreamOptions = field(default_factory=StreamOptions)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(slots=True)
class RecorderStats:
    """What happened to one recorder.

    Attributes:
        holes: gaps that were told.
        missing: events that are known to be missing in them.
        outages: times that Redis was away.
        is_away: whether it is now.
    """

    holes: int = 0
    missing: int = 0
    outages: int = 0
    is_away: bool = False

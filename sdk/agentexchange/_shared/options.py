"""Times and limits of a shared client, in one place."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agentexchange.redis import StreamOptions
from agentexchange_schemas.layout import checked_name

from .plan import MANY_TICKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["SharedOptions"]


_STREAM: Final = StreamOptions(reply_timeout_s=5.0, idle_probe_s=5.0)  # half dead: noticed within ten seconds


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedOptions:
    """How a shared client behaves; the defaults are right outside tests.

    Attributes:
        stream: limits of each connection.
        silent_after_s: a scope without a heartbeat for so long is looked at: is its lease still held?
        replace_after_s: a subscription without a heartbeat for so long, while the lease is held, is half dead: it is
            replaced.
        watch_every_s: how often that is checked.
        healthy_after_s: a session without a message has proved healthy after so long; the backoff starts anew then.
        log_count: entries of one read of a log.
        log_block_s: how long a read of a quiet log waits in the server.
        log_gather_s: pause after a read that came back less than full, so that events gather: a read costs as much CPU
            as twenty events.
        recover_limit: entries of a log that are read again for missed ticks; what lies beyond is a gap.
        recover_count: entries of one read of a recovery at most; over a slow link it takes fewer.
        recover_spread_s: after a lost connection ticks are read again after a random wait of up to so long, and up to a
            tenth of the time that was missed: a restarted Redis is not read by every client at once.
        check_every_s: topics without an event for so long are compared with the server, if the log went on.
        many_tickers: from so many single tickers on they are read out of the log.
        client_name: what the client is called where its interest is listed; None for host and process id.
        interest_ttl_s: a client that does not renew its interest for so long is forgotten; it renews in a third of it.
        interest_spread_s: after a lost connection it registers after a random wait of up to so long.
        clock: monotonic seconds.
        now: the wall clock, timezone-aware.
        sleep: `asyncio.sleep` or a test's own.
        random: 0 up to 1, for jitter.
    """

    stream: StreamOptions = _STREAM
    silent_after_s: float = 3.0
    replace_after_s: float = 7.0
    watch_every_s: float = 0.5
    healthy_after_s: float = 30.0
    log_count: int = 500
    log_block_s: float = 5.0
    log_gather_s: float = 0.005
    recover_limit: int = 100_000
    recover_count: int = 500
    recover_spread_s: float = 1.0
    check_every_s: float = 2.0
    many_tickers: int = MANY_TICKERS
    client_name: str | None = None
    interest_ttl_s: float = 15.0
    interest_spread_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if self.client_name is not None:
            checked_name(self.client_name, "client_name")

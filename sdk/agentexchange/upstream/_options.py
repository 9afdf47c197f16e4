"""How a feed is to behave, and what it tells."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agentexchange_schemas.upstream import MAX_FRAME_BYTES

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from agentexchange_schemas import FeedStatus, FrameError

__all__ = ["FeedOptions", "FeedSink", "PoolOptions"]


class FeedSink(Protocol):
    """Takes what a feed delivers. Every method is synchronous and must return quickly."""

    def on_event(self, topic: str, fields: dict[str, Any]) -> None:
        """One event, in order, subscribed or not. ``fields`` is a fresh dict that the sink owns. The hot path."""

    def on_status(self, status: FeedStatus) -> None:
        """The feed's state changed (``topic`` None), or one topic's."""

    def on_junk(self, error: FrameError) -> None:
        """A frame was junk; the feed has counted and logged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """Times in seconds.

    Attributes:
        open_timeout_s: for connecting, the TLS and WebSocket handshakes included.
        close_timeout_s: for a clean close, after which the connection is cut.
        answer_timeout_s: an upstream that answers no request for this long is taken to serve what was asked for.
        stale_after_s: without any message for this long, the session is replaced.
        tick_stale_after_s: the same, with ``ticker:all``, without any tick; None: ``stale_after_s``. Where the session
            that replaces it is silent too, it is given twice the time, and so on up to 5 minutes.
        healthy_after_s: a silent session whose requests are all answered is proved healthy after this long.
        compression: whether to offer permessage-deflate. It slows the platform down by a fifth.
        max_frame_bytes: a larger message ends the session.
        keep_frames: whether an event's fields know the frame that they came in, see `FramedFields`.
        ssl_context: for wss; None verifies against the system's certificates.
        clock: seconds, monotonic. wall: seconds since the Unix epoch. sleep and random: for backoff.
    """

    open_timeout_s: float = 10.0
    close_timeout_s: float = 1.0
    answer_timeout_s: float = 5.0
    stale_after_s: float = 40.0
    tick_stale_after_s: float | None = None
    healthy_after_s: float = 30.0
    compression: bool = False
    max_frame_bytes: int = MAX_FRAME_BYTES
    keep_frames: bool = False
    ssl_context: ssl.SSLContext | None = None
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    @property
    def tick_bound_s(self) -> float:
        """``tick_stale_after_s``, or what stands for it."""
        return self.tick_stale_after_s or self.stale_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How a pool spreads topics over sessions.

    Attributes:
        max_sessions: how many there may be.
        subscriptions: that one session is expected to take; fewer are learned from upstream's answers.
        fold_from: with more symbols than this, ``ticker:all`` is taken instead of single tickers, and so it is where
            they do not fit into ``max_sessions``; None: never.
        private: whether to deliver orders and portfolio; upstream sends them to every session, asked or not.
        stagger_s: time between two handshakes.
        proof_s: how long the session that a symbol moves to is given to bring its first tick, before the old one is
            left without that proof.
        max_overlap: ticks of one symbol that may wait in the middle of a move.
    """

    max_sessions: int = 10
    subscriptions: int = 10
    fold_from: int | None = 100
    private: bool = True
    stagger_s: float = 0.05
    proof_s: float = 2.0
    max_overlap: int = 1024

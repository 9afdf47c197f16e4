"""What the live feed knows: kept by one, shown by another."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agentexchange_bridge.inspector.board import Board, Notices
from agentexchange_bridge.inspector.past import EventList, RedisHistory

from ._look import Look
from ._reader import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector._link import Link
    from agentexchange_bridge.inspector.views import ClientRow
    from agentexchange_schemas import Layout, TopicState

__all__ = ["LiveOptions", "LiveState", "wall_us"]

_RECENT: Final = 40_000  # events that are at hand, for all viewers


def wall_us() -> int:
    """This machine's time, µs since the Unix epoch."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """Times and limits.

    Attributes:
        look_every_s: between two looks at leases, statuses and logs.
        read: how logs are read.
        wall: this machine's time, µs since the Unix epoch.
        clock: monotonic seconds.
        sleep: waits for seconds.
    """

    look_every_s: float = 1.0
    read: ReadOptions = field(default_factory=ReadOptions)
    wall: Callable[[], int] = wall_us
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class LiveState:
    """Everything of one layout; another layout replaces it, and only what is recent and told stays.

    Args:
        link: the connection for questions.
        layout: the names.
        accounts: account scopes that may be shown.
        options: times and limits.

    Attributes:
        scopes: what may be shown.
        history: the past of these.
        keys: the log's key of each lane.
        board: the newest of everything.
        notices: what was told of the feed.
        events: the list of them.
        look: what the installation says of itself.
        clients: who listens.
        away: the state of everything while Redis is away; None while it is there.
        ahead_us: how far this machine's clock is ahead of the bridge's that writes the market, as far as that is known.
    """

    def __init__(self, link: Link, layout: Layout, accounts: Sequence[str], options: LiveOptions) -> None:
        self._link = link
        self._accounts = tuple(accounts)
        self._wall = options.wall
        self.notices = Notices()
        self.events = EventList(most=_RECENT)
        self.clients: tuple[ClientRow, ...] = ()
        self.away: TopicState | None = None
        self.ahead_us = 0
        self.board = Board()
        self.install(layout)

    def install(self, layout: Layout) -> None:
        """Begin with an empty board for this layout."""
        self.layout = layout
        self.scopes = (*layout.market_scopes, *self._accounts)
        self.history = RedisHistory(self._link, layout, self.scopes, wall=self.now_us)
        self.keys: dict[Lane, str] = {lane: self.history.key(lane) for lane in self.history.lanes}
        self.board = Board(self.scopes, version=self.board.version, notices=self.notices)
        self.look = Look()

    def now_us(self) -> int:
        """Now, by the clock that gave the events their times."""
        return self._wall() - self.ahead_us

    @property
    def accounts(self) -> tuple[str, ...]:
        """The account scopes among `scopes`."""
        return self._accounts

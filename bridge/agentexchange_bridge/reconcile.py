"""Orders and portfolio of one account on their way from the feed to the writer, and what a blind span did to them.

Events are judged as they come, without a wait. Reading what was handed out last (Redis) and asking the platform (REST)
is the work of one task, `Reconciler.run`; what it finds goes the way of every other event.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agentexchange.redis import RedisLinkError
from agentexchange.truth import AccountTruth, Span
from agentexchange_schemas import EnvelopeError, FeedState

from .notices import from_us
from .outbox import wall_us
from .rest import RestError
from .snapshot import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from structlog.typing import FilteringBoundLogger

    from agentexchange_schemas import FeedStatus

    from .last_known import LastKnown
    from .rest import RestClient
    from .writer import ScopeWriter

__all__ = ["ReconcileOptions", "Reconciler"]

_AWAY: Final = frozenset((FeedState.BLIND, FeedState.AUTH_FAILED))
_NOT_READ: Final = "the orders known before could not be read from Redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileOptions:
    """How often it is tried again, and with which clock.

    Attributes:
        ask_again_s: pauses between tries to ask the platform; after the last one it is given up until the next span.
        look_s: how long one try may take as a whole.
        read_again_s: pauses between tries to read from Redis.
        sleep: waits so many seconds.
        wall: µs since the Unix epoch.
    """

    ask_again_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
    look_s: float = 60.0
    read_again_s: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    wall: Callable[[], int] = wall_us


class Reconciler:
    """The truth of one account scope.

    Args:
        last_known: what was handed out before.
        rest: whom to ask after a blind span; None where nobody can be asked.

    Attributes:
        writer: the scope's; set before anything else happens.
        rest: may be replaced at any time.
    """

    writer: ScopeWriter

    def __init__(
        self,
        last_known: LastKnown,
        *,
        rest: RestClient | None,
        log: FilteringBoundLogger,
        options: ReconcileOptions | None = None,
    ) -> None:
        self.rest = rest
        self._last_known = last_known
        self._log = log
        self._options = options or ReconcileOptions()
        self._truth = AccountTruth()
        self._turn = 0  # counts ownerships: what was begun under another one is let go
        self._takeovers = 0
        self._is_read = True
        self._owed: Span | None = None
        self._unasked: Span | None = None
        self._due = asyncio.Event()

    # In the feed's way

    def order(self, topic: str, fields: dict[str, Any]) -> None:
        """Take an order update."""
        told = self._truth.order(fields)
        if told is not None:
            self.writer.order(topic, told)

    def portfolio(self, topic: str, fields: dict[str, Any]) -> None:
        """Take a portfolio snapshot."""
        told, status = self._truth.portfolio(fields)
        if told is not None:
            self.writer.portfolio(topic, told)
        if status is not None:
            self.writer.status(status)

    def told(self, notices: Iterable[FeedStatus]) -> None:
        """The scope was told these: they say when a blind span begins and ends."""
        for status in notices:
            if status.topic is not None:
                continue
            if status.state in _AWAY:
                self._truth.blind(status.since)
            elif status.state is FeedState.LIVE:
                self._sees(status.until or from_us(self._options.wall()))

    def granted(self) -> None:
        """The scope is this worker's; what others handed out meanwhile is read."""
        if self.writer.stats.takeovers != self._takeovers:
            self._forget()
            self._takeovers = self.writer.stats.takeovers
            self._is_read = False
            self._due.set()
        blind_since: datetime | None = self.writer.outbox.narrator.blind_since
        if blind_since is not None:
            self._truth.blind(blind_since)

    def lost(self) -> None:
        """The scope is another's."""
        self._forget()

    def _sees(self, until: datetime) -> None:
        span = self._truth.seeing(until)
        if span is not None:
            self._owed = span.joined(self._owed)
            self._due.set()

    def _forget(self) -> None:
        self._turn += 1
        self._truth.clear()
        self._owed = self._unasked = None
        self._is_read = True

    # The task

    async def run(self) -> None:
        """Read what is to be read and ask what is to be asked, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if not self._is_read:
                await self._read()
            if self._owed is not None:
                await self._settle()

    async def _read(self) -> None:
        turn = self._turn
        for pause_s in (*self._options.read_again_s, None):
            try:
                orders, portfolio = await self._last_known.load()
            except RedisLinkError as exc:
                fault = str(exc)
            else:
                if turn == self._turn:
                    self._truth.restore(orders, portfolio)
                    self._is_read = True
                return
            if pause_s is not None:
                await self._options.sleep(pause_s)
        self._log.warning(_NOT_READ, error=fault)

    async def _settle(self) -> None:
        """Say what is known of the span that is over: from the platform's answer, or that there is none."""
        turn, span = self._turn, self._take_owed()
        rest = self.rest
        if rest is None:
            self._tell([self._truth.unanswered(span, None if self._is_read else _NOT_READ)])
            return
        try:
            is_told = False
            for pause_s in (*self._options.ask_again_s, None):
                fault = await self._ask(rest, span, turn)
                if fault is None or turn != self._turn:
                    return
                if not is_told:
                    self._tell([self._truth.unanswered(span, fault)])
                    is_told = True
                if pause_s is not None:
                    await self._options.sleep(pause_s)
                    span = span if self._owed is None else span.joined(self._take_owed())
        finally:
            await rest.close()
        self._log.warning("the platform could not be asked; it will be after the next blind span", error=fault)
        self._unasked = span

    def _take_owed(self) -> Span:
        """The span to settle, with the one before it that nobody could be asked about."""
        assert self._owed is not None  # noqa: S101 - called only then
        span = self._owed.joined(self._unasked)
        self._owed = self._unasked = None
        return span

    async def _ask(self, rest: RestClient, span: Span, turn: int) -> str | None:
        """One try: None where the answer was handed out, or else why there is none."""
        self._truth.asking()
        try:
            async with asyncio.timeout(self._options.look_s):
                snapshot = await take_snapshot(rest, self._truth, span, self._last_known)
        except (RestError, RedisLinkError, TimeoutError) as exc:
            fault = str(exc) or f"not all was answered within {self._options.look_s:g} s"
            if turn == self._turn:
                self._truth.not_asking()
                self.writer.stats.rest_failures += 1
            self._log.info("the platform could not be asked", error=fault)
            return fault
        if turn == self._turn:
            findings = self._truth.answered(span, snapshot)
            self._hand_out(findings.events)
            self._tell(findings.statuses)
            self._log.info("the platform was asked what happened in a blind span", changes=len(findings.events))
        return None

    def _hand_out(self, events: Iterable[tuple[str, dict[str, Any]]]) -> None:
        writer = self.writer
        for topic, fields in events:
            try:
                (writer.order if topic == "orders" else writer.portfolio)(topic, fields)
                writer.stats.reconciled += 1
            except EnvelopeError as exc:
                writer.outbox.lose(topic)
                self._log.warning("what the platform answered cannot be written", topic=topic, error=str(exc))

    def _tell(self, statuses: Iterable[FeedStatus]) -> None:
        for status in statuses:
            self._log.info("after a blind span", cause=status.cause, message=status.message)
            self.writer.status(status)

"""The shared transport: a client fed by Redis instead of by the platform."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange._names import Identity
from agentexchange._transport import Outlook
from agentexchange.redis import RedisLinkError, Verdict, final_error, judge
from agentexchange_schemas import Layout, account_scope

from .clock import ClockCheck
from .commands import id_of
from .inbox import Inbox
from .interest import InterestKeeper
from .options import SharedOptions
from .plan import Plan
from .scope import concerns
from .session import SharedSession

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from pydantic import SecretStr

    from agentexchange._dispatch import Dispatcher
    from agentexchange._urls import RedisUrl
    from agentexchange_schemas import Topic

__all__ = ["SharedTransport"]

_log = logging.getLogger("agentexchange.shared")
_COUNTED: Final = (
    *("events", "recovered", "duplicates", "gaps", "missing", "recoveries", "junk", "heartbeats", "notices"),
    "reconnects",
)


class SharedTransport:
    """Delivers the wanted topics out of Redis, and reconnects for ever. See `agentexchange._transport.Transport`."""

    def __init__(
        self,
        url: RedisUrl,
        api_key: SecretStr,
        *,
        dispatcher: Dispatcher,
        topics: Iterable[Topic],
        options: SharedOptions | None = None,
    ) -> None:
        self._url = url
        self._account = account_scope(api_key.get_secret_value())
        self._options = options or SharedOptions()
        self._wanted = set(topics)
        self._inbox = Inbox(dispatcher, self._options)
        self._inbox.is_concerned = lambda topic: concerns(topic, self._wanted)
        self._clock = ClockCheck(self._options)
        self._layout = Layout(url.prefix)
        identity = Identity.of(self._options.client_name)
        self._interest = InterestKeeper(self._layout, self._account, identity, self._wanted, self._options)
        self._cursors: dict[str, bytes] = {}
        self._stopping = asyncio.Event()
        self._session: SharedSession | None = None
        self._has_worked = False

    def stats(self) -> dict[str, int | float]:
        """Counters since the start of this connection's life.

        ``events`` handed on as they came, ``recovered`` handed on from the log, ``duplicates`` kept back, ``gaps`` told
        and the events ``missing`` in them, ``recoveries`` (reads of a log for what was missed), ``junk``,
        ``heartbeats``, ``notices``, ``reconnects``, ``interest_refused`` (writes of what is wanted); ``held`` is how
        many events wait for a read of Redis now; ``clock_difference_ms`` how far this machine's clock is ahead of the
        bridge's, once that is known.
        """
        counts = self._inbox.counts
        counted = {name: counts[name] for name in _COUNTED}
        offset_us = self._inbox.teller.clock_offset_us((*self._layout.market_scopes, self._account))
        difference_s = self._clock.difference_s(offset_us)
        known = {} if difference_s is None else {"clock_difference_ms": round(difference_s * 1000, 3)}
        return {**counted, "interest_refused": self._interest.refused, "held": self._inbox.held, **known}

    def outlook(self, topic: Topic) -> Outlook:
        """Which scopes carry ``topic``, and how far their bridge's clock is away."""
        layout = self._layout if self._session is None else self._session.layout
        scopes = layout.scopes_of(topic, self._account)
        return Outlook(scopes, self._clock.difference_s(self._inbox.teller.clock_offset_us(scopes)))

    def subscribe(self, topic: Topic) -> None:
        """Want ``topic`` from now on. Idempotent."""
        self._wanted.add(topic)
        self._wake()

    def unsubscribe(self, topic: Topic) -> None:
        """Want it no more. Idempotent."""
        self._wanted.discard(topic)
        self._wake()

    def stop(self) -> None:
        """Make `run` return: ends a session or a wait at once. Idempotent."""
        self._stopping.set()

    async def run(self) -> None:
        """Connect, deliver, reconnect, until `stop`.

        Raises:
            AuthenticationError: the bridge says that upstream refuses this client's own key.
            ConnectionError: wrong password, not a Redis server, bad certificate, or a layout this release cannot read.
        """
        delays = self._new_delays()
        while not self._stopping.is_set():
            self._session = SharedSession(
                self._url,
                self._account,
                layout=self._layout,
                wanted=self._wanted,
                inbox=self._inbox,
                interest=self._interest,
                cursors=self._cursors,
                clock=self._clock,
                options=self._options,
            )
            await self._until_stopped(self._serve(self._session))
            self._layout = self._session.layout
            if self._session.is_healthy:
                delays = self._new_delays()
            await self._until_stopped(self._options.sleep(next(delays)))

    async def _serve(self, session: SharedSession) -> None:
        try:
            await session.run()
        except RedisLinkError as fault:
            self._has_worked |= session.is_ready
            if judge(fault, has_worked=self._has_worked) is Verdict.FINAL:
                raise final_error(fault, self._url) from fault
            self._on_lost(session, fault)

    def _on_lost(self, session: SharedSession, fault: RedisLinkError) -> None:
        for scope in Plan.of(session.layout, self._wanted, account=self._account).scopes:
            self._inbox.teller.watch(scope)  # so that a client that has never connected is told too
        _log.warning("Redis is away, reconnecting: %s", fault)
        self._inbox.counts["reconnects"] += 1
        for scope, first_us in self._inbox.unread().items():
            self._cursors[scope] = id_of(first_us - 1)
        self._inbox.disconnected(str(fault))

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Await ``work``, or cut it short at `stop`."""
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if tasks[0] in done:
            tasks[0].result()

    def _new_delays(self) -> Iterator[float]:
        return backoff(random=self._options.random)

    def _wake(self) -> None:
        self._interest.changed()
        if self._session is not None:
            self._session.wake()

"""What groups and durable positions have in common: a client whose events are acknowledged once handled."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from agentexchange._backoff import backoff
from agentexchange._names import Identity
from agentexchange._shared.interest import InterestKeeper
from agentexchange._shared.scope import concerns
from agentexchange._tasks import end
from agentexchange._transport import Outlook
from agentexchange.errors import UsageError
from agentexchange.redis import RedisLinkError, Verdict, final_error, judge
from agentexchange_schemas import FeedStatus, Layout, account_scope

from .places import places_of
from .session import AckedSession
from .status import ScopeStatuses

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from pydantic import SecretStr

    from agentexchange._dispatch import Dispatcher
    from agentexchange._scripts import Script
    from agentexchange._urls import RedisUrl
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Topic

    from .options import AckedOptions
    from .places import Place
    from .work import Work

__all__ = ["AckedLog", "AckedTransport"]

_REPORT_S: Final = 2.0  # for telling Redis what the handlers did last
_log = logging.getLogger("agentexchange.shared")


class AckedLog(Protocol):
    """One log's loop. Outlives connections: `serve` runs on each."""

    counts: dict[str, int]
    work: Work

    async def serve(self, stream: RespStream) -> None:
        """Work until cancelled or until the connection fails."""

    async def leave(self, stream: RespStream, patience_s: float) -> None:
        """Let the handler under way return, and report what was handled."""


_Log = TypeVar("_Log", bound=AckedLog)


class AckedTransport(ABC, Generic[_Log]):
    """Reconnects for ever; what it does with a connection is the subclass's. See `agentexchange._transport.Transport`.

    Its topics are fixed: members of a group handle the same ones, and a position is one of these topics.
    """

    scripts: Iterable[Script]

    def __init__(
        self,
        url: RedisUrl,
        api_key: SecretStr,
        *,
        dispatcher: Dispatcher,
        topics: Iterable[Topic],
        options: AckedOptions,
        label: str | None = None,
    ) -> None:
        self._url = url
        self._identity = Identity.of(label or options.shared.client_name)
        self._secrets = [secret.get_secret_value() for secret in (api_key, url.password) if secret is not None]
        self._account = account_scope(api_key.get_secret_value())
        self._dispatcher = dispatcher
        self._topics = frozenset(topics)
        self._acked_options = options
        self._layout = Layout(url.prefix)
        self._interest = InterestKeeper(self._layout, self._account, self._identity, self._topics, options.shared)
        self._statuses = ScopeStatuses(
            dispatcher.status, lambda topic: concerns(topic, self._topics), self._on_log, options.shared
        )
        self._logs: dict[Place, _Log] = {}
        self._stopping = asyncio.Event()
        self._has_worked = False

    def subscribe(self, topic: Topic) -> None:
        """Nothing changes for a topic it has.

        Raises:
            UsageError: another one.
        """
        if topic not in self._topics:
            raise UsageError(f"{topic}: with group= or resume= the topics are fixed while connected")

    def unsubscribe(self, topic: Topic) -> None:
        """Raise UsageError for a topic it has: its events would be acknowledged unseen."""
        if topic in self._topics:
            raise UsageError(f"{topic}: with group= or resume= the topics are fixed while connected")

    def outlook(self, topic: Topic) -> Outlook:
        """Which scopes carry ``topic``, and how far their bridge's clock is away."""
        scopes = self._layout.scopes_of(topic, self._account)
        return Outlook(scopes, self._statuses.clock_difference_s(scopes))

    def stats(self) -> dict[str, int | float]:
        """Counters since the start, and ``waiting``: what was read, or is held, and is not handled yet."""
        total: Counter[str] = Counter()
        for log in self._logs.values():
            total.update(log.counts)
            total.update(log.work.counts)
            total["waiting"] += len(log.work.waiting)
        return {**total, "interest_refused": self._interest.refused}

    def stop(self) -> None:
        """Make `run` return when the handlers have. Idempotent."""
        self._stopping.set()

    async def run(self) -> None:
        """Connect, deliver, reconnect, until `stop`.

        Raises:
            AuthenticationError: the bridge says that upstream refuses this client's own key.
            ConnectionError: what retrying cannot mend, or what the subclass refuses.
        """
        try:
            await self._serve_for_ever()
        finally:
            await asyncio.gather(*(log.work.abandon() for log in self._logs.values()))

    # What a connection is used for: see `Party`

    @abstractmethod
    async def join(self, stream: RespStream, layout: Layout, places: Iterable[Place]) -> None: ...

    @abstractmethod
    async def keep(self, stream: RespStream) -> None: ...

    async def serve(self, stream: RespStream, place: Place) -> None:
        """Read one log."""
        await self._logs[place].serve(stream)

    async def leave(self, stream: RespStream) -> None:
        """Let the handlers under way return, and report what they did; what waits is given up."""
        patience_s = self._dispatcher.patience_s
        await asyncio.gather(*(log.leave(stream, patience_s) for log in self._logs.values()))

    # What the subclass knows

    @abstractmethod
    def _new_log(self, place: Place) -> _Log: ...

    @abstractmethod
    def _on_log(self, scope: str, name: bytes | None) -> None:
        """A look found the name of a scope's log; None: a wiped one, that no bridge has begun anew."""

    # Within

    def _open_logs(self, places: Iterable[Place]) -> None:
        """These logs are read from now on; one that was read before goes on as it is."""
        self._logs = {place: self._logs.get(place) or self._new_log(place) for place in places}

    async def _serve_for_ever(self) -> None:
        delays = self._new_delays()
        while not self._stopping.is_set():
            session = AckedSession(
                self._url,
                self._account,
                layout=self._layout,
                topics=self._topics,
                party=self,
                statuses=self._statuses,
                interest=self._interest,
                options=self._acked_options,
            )
            await self._serve(session)
            self._layout = session.layout
            if session.is_healthy:
                delays = self._new_delays()
            if not self._stopping.is_set():
                await self._until_stopped(self._acked_options.shared.sleep(next(delays)))

    async def _serve(self, session: AckedSession) -> None:
        running = asyncio.create_task(session.run(), name="agentexchange:session")
        stopper = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((running, stopper), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not running.done() and session.is_ready:
                session.leave()
                await asyncio.wait((running,), timeout=self._dispatcher.patience_s + _REPORT_S)
            await end((running, stopper))
        if not running.cancelled() and (fault := running.exception()) is not None:
            self._on_fault(session, fault)

    def _on_fault(self, session: AckedSession, fault: BaseException) -> None:
        if not isinstance(fault, RedisLinkError):
            raise fault
        self._has_worked |= session.is_ready
        if judge(fault, has_worked=self._has_worked) is Verdict.FINAL:
            raise final_error(fault, self._url) from fault
        if not self._stopping.is_set():
            _log.warning("Redis is away, reconnecting: %s", fault)
            places = places_of(session.layout, self._topics, self._account)
            self._statuses.lost(str(fault), sorted({place.scope for place in places}))

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(tasks)

    def _new_delays(self) -> Iterator[float]:
        return backoff(random=self._acked_options.shared.random)

    def _mask(self, text: str) -> str:
        """Take secrets out of an error that will be stored."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _tell(self, scope: str, **what: Any) -> None:
        """Tell the status handlers, with the scope's state."""
        now = self._acked_options.shared.now()
        what = {"since": now, "until": now} | what
        self._dispatcher.status(FeedStatus(scope=scope, state=self._statuses.state(scope), **what))

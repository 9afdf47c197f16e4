"""UpstreamFeed: one session at a time, kept up."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from websockets.exceptions import InvalidProxy

from agentexchange._backoff import backoff
from agentexchange._tasks import end
from agentexchange.errors import AuthenticationError, ConnectionError  # noqa: A004 - the documented name
from agentexchange_schemas import Cause
from agentexchange_schemas.upstream import parse

from ._auth import AuthJudge, AuthPolicy
from ._connect import open_connection
from ._frames import FrameKeeper
from ._options import FeedOptions
from ._session import Session
from ._stats import FeedStats
from ._subscriptions import Subscriptions
from ._verdict import Outcome, SessionFault, SessionRenewed, Verdict, verdict
from ._voice import Voice

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from pydantic import SecretStr
    from websockets.asyncio.client import ClientConnection

    from agentexchange._urls import UpstreamUrl
    from agentexchange_schemas import FrameError, Topic
    from agentexchange_schemas.upstream import Refusal

    from ._options import FeedSink
    from ._subscriptions import Answer

__all__ = ["UpstreamFeed"]

_log: Final = logging.getLogger("agentexchange.upstream")
_MAX_JUNK_KINDS: Final = 64
_MIN_KEY_PART: Final = 4  # characters at the end of a sample that are taken for the key's beginning
_MAX_TICK_LIMIT_S: Final = 300.0
_MAX_DOUBLINGS: Final = 16
_T = TypeVar("_T")


class UpstreamFeed:
    """Connects, subscribes, reads, answers pings, reconnects: 1 s, 2 s … 60 s, from 1 s after a healthy session.

    Every method is called on the event loop's thread. ``auth`` says when a refused key is final; pass one `AuthJudge`
    to several feeds to let them share what is known of the key. ``stats`` may be read at any time. ``on_answer`` is
    called when `has_settled` may have become true of a topic.
    """

    number = 0
    """Which of several feeds with one `AuthJudge` this is."""

    def __init__(
        self,
        url: UpstreamUrl,
        api_key: SecretStr,
        *,
        sink: FeedSink,
        topics: Iterable[Topic] = (),
        auth: AuthPolicy | AuthJudge,
        options: FeedOptions | None = None,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._url = url
        self._api_key = api_key
        self._sink = sink
        self._judge = AuthJudge(auth) if isinstance(auth, AuthPolicy) else auth
        self._options = options or FeedOptions()
        self._on_answer = on_answer
        self._parse = FrameKeeper(api_key).parse if self._options.keep_frames else parse
        self.stats = FeedStats()
        self._voice = Voice(sink.on_status, self.stats, self._options)
        self._subscriptions = Subscriptions(topics)
        self._session: Session | None = None
        self._mute_sessions = 0
        self._errors_told: set[str] = set()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Keep one session up until `stop`. Called once.

        Raises:
            AuthenticationError: the key is refused, and the policy calls that final.
            ConnectionError: no session was ever open, and retrying cannot mend the fault.
        """
        self._voice.connecting()
        delays = self._delays()
        while not self._stopped.is_set():
            fault = await self._until_stopped(self._one_session())
            if fault is None:
                return
            if isinstance(fault, SessionRenewed):
                continue
            if self._session is not None and self._session.is_proved:
                delays = self._delays()
            delay = self._judged(fault, next(delays))
            self._session = None
            await self._until_stopped(self._sleep(delay))

    def subscribe(self, topic: Topic, *, optional: bool = False) -> None:  # noqa: ARG002 - one session shares out nothing
        """Want ``topic``, on the live session and on every later one. Idempotent; asks again for a refused one."""
        self._subscriptions.want(topic)
        self._ask()

    def unsubscribe(self, topic: Topic) -> None:
        """Want ``topic`` no more. Idempotent."""
        self._subscriptions.unwant(topic)
        self._ask()

    def has_settled(self, topic: Topic) -> bool:
        """Whether the present session is past upstream's answer for ``topic``: what it serves comes from here on."""
        session = None if self._stopped.is_set() else self._session
        return session is not None and session.has_settled(topic)

    def holds(self, topic: Topic) -> bool:
        """Whether upstream has acknowledged ``topic`` itself on the present session."""
        return self._session is not None and self._subscriptions.holds(topic)

    def silent_s(self) -> float | None:
        """How long ago the present session was last heard; None where there is none."""
        return None if self._session is None else self._options.clock() - self._session.last_heard_at

    def renew(self, message: str) -> None:
        """Replace the present session at once; no-op where there is none.

        Nothing that it received is delivered after this call. That is told as blind, since the last that was heard.

        Args:
            message: why, for people.
        """
        session, self._session = self._session, None
        if session is None:
            return
        session.give_up(SessionRenewed(message))
        _log.warning("%s: the session is replaced: %s", self._url, message)
        self._voice.blind(session.last_heard_at, cause=Cause.UPSTREAM_LOST, message=message)

    def stop(self) -> None:
        """Make `run` return: ends a backoff wait at once, and the session with a clean close that has a deadline."""
        self._stopped.set()

    # What a session finds out

    def heard(self) -> None:
        """The key is good."""
        self._judge.worked()

    def flowing(self) -> None:
        """What should flow does, unless ticks are missed."""
        if self._mute_sessions:
            self._voice.still_stale()
        else:
            self._voice.live()
        self._on_answer()

    def ticked(self) -> None:
        """Ticks flow."""
        if self._mute_sessions:
            self._mute_sessions = 0
            self._voice.live()

    def answered(self, answer: Answer) -> None:
        """A topic was accepted, refused or left."""
        if not answer.subscribed:
            if answer.refusal is not None:
                self.refused(answer.refusal)
            return
        if answer.refusal is None:
            self._voice.accepted(answer.topic)
        else:
            self.stats.refused_topics += 1
            self._voice.refused(answer.topic, self._masked(answer.refusal))
        self._on_answer()

    def refused(self, refusal: Refusal) -> None:
        """An error that answers no request for a topic: logged once a code, since a platform may repeat itself."""
        if refusal.code not in self._errors_told and len(self._errors_told) < _MAX_JUNK_KINDS:
            self._errors_told.add(refusal.code)
            _log.warning(
                "upstream reports an error (others of the code are not logged): %s: %s", *self._masked(refusal)
            )

    def tick_limit_s(self) -> float:
        """Longer with each session in a row that had no tick: a market that is really quiet is left in peace."""
        bound = self._options.tick_bound_s
        return min(bound * 2.0 ** min(self._mute_sessions, _MAX_DOUBLINGS), max(bound, _MAX_TICK_LIMIT_S))

    def silent(self, since: float) -> None:
        """Ticks stopped though the connection is up."""
        self._mute_sessions += 1
        self._voice.stale(since)

    def junk(self, error: FrameError) -> None:
        """Count a junk frame, and log the first of its kind."""
        counts = self.stats.junk
        kind = error.kind if error.kind in counts or len(counts) < _MAX_JUNK_KINDS else "other"
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] == 1:
            _log.warning("upstream sent junk (%s), counted from now on; the first: %s", kind, self._sample(error))
        self._sink.on_junk(error)

    # One attempt

    async def _one_session(self) -> Exception:
        try:
            connection = await open_connection(self._url, self._api_key, self._options)
        except Exception as exc:  # noqa: BLE001 - judged by `verdict`; what that does not know is raised again
            return exc
        self.stats.reconnects += self.stats.sessions > 0
        self.stats.sessions += 1
        self._session = self._new_session(connection)
        return await self._session.run()

    def _new_session(self, connection: ClientConnection) -> Session:
        return Session(
            connection,
            self._subscriptions,
            sink=self._sink,
            owner=self,
            stats=self.stats,
            options=self._options,
            parse=self._parse,
        )

    def _was_ever_open(self) -> bool:
        return self.stats.sessions > 0

    def _judged(self, fault: Exception, delay: float) -> float:
        """Seconds until the next attempt; raises what is final."""
        found = verdict(fault)
        if found is None:
            raise fault
        message = self._mask(found.message)
        if found.outcome is Outcome.FINAL and not self._was_ever_open():
            raise ConnectionError(
                f"{self._url}: {message}", code=found.code, status_code=found.status_code
            ) from self._harmless(fault)
        self._tell_loss(fault, found, message)
        if found.outcome is Outcome.AUTH:
            delay = self._after_refusal(found, message, delay)
        _log.warning("%s: %s; next attempt in %.1f s", self._url, message, delay)
        return delay

    def _tell_loss(self, fault: Exception, found: Verdict, message: str) -> None:
        if self._session is None:
            return
        cause = Cause.UPSTREAM_SILENT if isinstance(fault, SessionFault) else Cause.UPSTREAM_LOST
        if found.outcome is Outcome.AUTH:
            cause = Cause.UPSTREAM_REFUSED
        self._voice.blind(self._session.last_heard_at, cause=cause, message=message)

    def _after_refusal(self, found: Verdict, message: str, delay: float) -> float:
        judged = self._judge.refused(self._options.clock(), self.number)
        if judged.told:
            self._voice.auth_failed(message)
        if judged.final:
            raise AuthenticationError(message, code=found.code, status_code=found.status_code)
        return delay if judged.delay_s is None else judged.delay_s

    # Helpers

    def _delays(self) -> Iterator[float]:
        return backoff(random=self._options.random)

    async def _sleep(self, delay: float) -> None:
        await self._options.sleep(delay)

    async def _until_stopped(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Run ``work``; None where `stop` came first."""
        tasks = [asyncio.create_task(work), asyncio.create_task(self._stopped.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return None if self._stopped.is_set() else tasks[0].result()
        finally:
            await end(tasks)

    def _ask(self) -> None:
        if self._session is not None:
            self._session.ask()

    def _harmless(self, fault: Exception) -> Exception | None:
        """The fault as a cause, unless it or what it comes from would print the key, or a proxy's password."""
        if isinstance(fault, InvalidProxy):
            return None
        printed = "".join(traceback.format_exception(fault))
        key = self._api_key.get_secret_value()
        return None if key in printed or quote(key, safe="") in printed else fault

    def _masked(self, refusal: Refusal) -> Refusal:
        return refusal._replace(code=self._mask(refusal.code), message=self._mask(refusal.message))

    def _mask(self, text: str) -> str:
        """Upstream's words without the key, should it repeat it."""
        return text.replace(self._api_key.get_secret_value(), "***")

    def _sample(self, error: FrameError) -> str:
        """The first bytes of a junk frame without the key, also where the sample ends in the middle of it."""
        key = self._api_key.get_secret_value().encode()
        sample = error.sample.replace(key, b"***")
        ends = (length for length in range(len(key), _MIN_KEY_PART - 1, -1) if sample.endswith(key[:length]))
        if cut := next(ends, 0):
            sample = sample[:-cut] + b"***"
        return repr(sample)[2:-1]

"""One log's events on their way through the handlers: one after another, each until it is handled or given up.

It knows nothing of Redis and outlives connections to it: a handler may take minutes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from agentexchange._backoff import backoff
from agentexchange._dispatch import HandlersEnded
from agentexchange._tasks import end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from agentexchange_schemas import Envelope

    from .options import AckedOptions

__all__ = ["Entry", "Work", "is_entry_id", "order_of"]

is_entry_id = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}").fullmatch
"""Whether bytes are a stream entry id."""

_log: Final = logging.getLogger("agentexchange.handlers")
_MAX_HISTORY: Final = 20  # attempts of one event that are told
_MAX_ERROR: Final = 500  # characters of one attempt's error
_SLICE: Final = 64  # events between two chances for other tasks


class Entry:
    """One event that this client holds.

    Attributes:
        stream: name of the stream it was read from.
        id: its entry id there.
        raw: the envelope.
        envelope: the same, decoded.
        attempts: how often it was handed to a handler somewhere, the present or coming attempt included.
        source: what the handlers are told: ``live``, ``recovered``, or ``redelivered`` where somebody may have handled
            it before.
        is_loose: whether Redis has forgotten that it is pending: it is handled all the same.
        history: earlier attempts: when, by whom, what happened.
        not_before: when the next attempt is due, by the clock of the options.
    """

    __slots__ = (
        "attempts",
        "delays",
        "envelope",
        "history",
        "id",
        "is_begun",
        "is_loose",
        "not_before",
        "raw",
        "source",
        "stream",
    )

    def __init__(
        self, stream: str, entry_id: bytes, raw: bytes, envelope: Envelope, *, attempts: int = 1, source: str = "live"
    ) -> None:
        self.stream = stream
        self.id = entry_id
        self.raw = raw
        self.envelope = envelope
        self.attempts = attempts
        self.source = "redelivered" if attempts > 1 else source
        self.is_begun = False
        self.is_loose = False
        self.history: list[dict[str, Any]] = []
        self.not_before = 0.0
        self.delays: Iterator[float] | None = None

    @property
    def begun(self) -> int:
        """How many attempts were begun."""
        return self.attempts if self.is_begun else self.attempts - 1

    def note(self, at: str, member: str, error: str) -> None:
        """Remember what an attempt came to."""
        self.history = [*self.history, {"at": at, "member": member, "error": error}][-_MAX_HISTORY:]


class Work:
    """What waits, in order, and the task that hands it to the handlers.

    Args:
        call: `Dispatcher.call`.
        scope: whose events these are.
        options: attempts and pauses.
        may_begin: whether this client's right to handle the events is sure enough to begin another one.
        member: who this is, for the history.
        mask: takes secrets out of error texts.

    Attributes:
        waiting: what has not been handled, the present one at its head.
        handled: what is to be acknowledged.
        given_up: what failed too often.
        retries: entries whose number of attempts has grown.
        counts: ``handled``, ``failed``, ``redelivered``.
    """

    def __init__(
        self,
        call: Callable[..., Awaitable[None]],
        scope: str,
        *,
        options: AckedOptions,
        may_begin: Callable[[], bool],
        member: str,
        mask: Callable[[str], str],
    ) -> None:
        self._call = call
        self._scope = scope
        self._options = options
        self._clock = options.shared.clock
        self._may_begin = may_begin
        self._member = member
        self._mask = mask
        self._task: asyncio.Task[None] | None = None
        self._has_ended = False  # the handlers: the client is about to stop
        self.waiting: deque[Entry] = deque()
        self.handled: list[Entry] = []
        self.given_up: list[Entry] = []
        self.retries: list[Entry] = []
        self.counts = {"handled": 0, "failed": 0, "redelivered": 0}
        self.current: Entry | None = None
        self.current_since = 0.0

    def add(self, entries: Iterable[Entry]) -> None:
        """Queue entries that follow all others."""
        self.waiting.extend(entries)

    def merge(self, entries: Iterable[Entry]) -> None:
        """Queue entries in their place by id; the one under way stays first."""
        held = [entry for entry in self.waiting if entry is not self.current]
        first = [self.current] if self.current is not None else []
        self.waiting = deque([*first, *sorted([*held, *entries], key=lambda entry: order_of(entry.id))])

    def drop(self, entries: Iterable[Entry]) -> None:
        """Take entries out that were not begun."""
        unwanted = set(map(id, entries))
        self.waiting = deque(entry for entry in self.waiting if id(entry) not in unwanted)

    async def progress(self, timeout_s: float) -> bool:
        """Work for so long, or until nothing waits (True); cancelling it does not interrupt a handler.

        Raises:
            Exception: what handlers cannot raise, such as a fault in the dispatcher.
        """
        if self._has_ended:
            await asyncio.sleep(timeout_s)
        elif self._task is None and self.waiting:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"agentexchange:work:{self._scope}")
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=timeout_s)
            if self._task.done():
                task, self._task = self._task, None
                task.result()
        return self._task is None and not self.waiting

    async def wind_down(self, patience_s: float, tick: Callable[[], Awaitable[None]]) -> None:
        """Begin nothing more, and let the handler return that is under way: after ``patience_s`` it is cancelled.

        Meanwhile ``tick`` is called again and again.
        """
        self._may_begin = _never
        until = self._clock() + patience_s
        while self._task is not None and not self._task.done() and (left := until - self._clock()) > 0:
            await asyncio.wait((self._task,), timeout=min(self._options.tick_s, left))
            await tick()
        await self.abandon()

    async def abandon(self) -> None:
        """Cancel the handler that is under way."""
        self._may_begin = _never
        if self._task is not None:
            await end((self._task,))

    # Within

    async def _run(self) -> None:
        done = 0
        while self.waiting and self._may_begin():
            entry = self.waiting[0]
            pause = entry.not_before - self._clock()
            if pause > 0:
                await self._options.shared.sleep(pause)
                continue
            await self._handle(entry)
            done += 1
            if done % _SLICE == 0:
                await asyncio.sleep(0)

    async def _handle(self, entry: Entry) -> None:
        envelope = entry.envelope
        if entry.attempts > self._options.max_attempts:
            self._give_up(entry, f"delivered {entry.attempts - 1} times, and no member got it done")
            return
        self.current, self.current_since, entry.is_begun = entry, self._clock(), True
        try:
            await self._call(envelope.topic, envelope.data, envelope, entry.source, self._scope)
        except HandlersEnded:
            self._may_begin, self._has_ended = _never, True
        except Exception as exc:  # noqa: BLE001 - whatever a handler raises is its event's failure
            self._on_failure(entry, exc)
        else:
            self.waiting.popleft()
            self.handled.append(entry)
            self.counts["handled"] += 1
            self.counts["redelivered"] += entry.source == "redelivered"
        finally:
            self.current = None

    def _on_failure(self, entry: Entry, exc: Exception) -> None:
        cause = exc.__cause__ or exc
        error = self._mask(f"{type(cause).__name__}: {cause}")[:_MAX_ERROR]
        most = self._options.max_attempts
        self.counts["failed"] += 1
        if entry.attempts >= most:
            self._give_up(entry, error)
            return
        entry.note(self.now(), self._member, error)
        if entry.delays is None:
            shared = self._options.shared
            entry.delays = backoff(self._options.retry_first_s, cap=self._options.retry_cap_s, random=shared.random)
        pause = next(entry.delays)
        entry.not_before = self._clock() + pause
        told = self._mask(str(exc))
        _log.warning("attempt %d of %d failed, the next in %.1f s: %s", entry.attempts, most, pause, told)
        entry.attempts += 1
        entry.source, entry.is_begun = "redelivered", False
        self.retries.append(entry)

    def _give_up(self, entry: Entry, error: str) -> None:
        entry.note(self.now(), self._member, error)
        self.waiting.popleft()
        self.given_up.append(entry)

    def now(self) -> str:
        """The wall clock, for the history."""
        return self._options.shared.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def order_of(entry_id: bytes) -> tuple[int, int]:
    """A stream entry id as what it is sorted by."""
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


def _never() -> bool:
    return False

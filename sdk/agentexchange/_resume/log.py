"""One log's loop of a durable position: read on from it, let the handlers work, save it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from agentexchange._acked.work import Entry, Work, is_entry_id, order_of
from agentexchange._shared.commands import START
from agentexchange._shared.read import utc_of
from agentexchange.redis import ReplyError, pack
from agentexchange_schemas import Cause, EnvelopeError
from agentexchange_schemas.envelope import decode, received_us_of
from agentexchange_schemas.layout import LOG_ID_FIELD, count_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from agentexchange._acked.options import ResumeOptions
    from agentexchange._acked.places import Place
    from agentexchange.redis import RespStream
    from agentexchange_schemas import Envelope

    from .hold import Hold

__all__ = ["ResumeLog"]

_log: Final = logging.getLogger("agentexchange.shared")


class ResumeLog:
    """Outlives connections: `serve` runs on each.

    Attributes:
        counts: what happened, by name.
    """

    def __init__(
        self,
        place: Place,
        hold: Hold,
        call: Callable[..., Awaitable[None]],
        *,
        options: ResumeOptions,
        tell: Callable[..., None],
        mask: Callable[[str], str],
    ) -> None:
        self._place = place
        self._hold = hold
        self._options = options
        self._tell = tell
        self._clock = options.shared.clock
        self._cursor: bytes | None = None
        self._position = b""
        self._log_name = b""
        self._generation = 0
        self._epoch = 0
        self._seqs: dict[str, int] = {}
        self._dirty: dict[str, str | bytes | int] = {}
        self._saved_at = float("-inf")
        self._targets: dict[str, int] = {}
        self._end = START
        self.counts = dict.fromkeys(("unwanted", "junk", "duplicates", "given_up", "gaps", "missing", "saves"), 0)
        self.work = Work(
            call,
            place.scope,
            options=options,
            may_begin=lambda: hold.is_sure,
            member=hold.who,
            mask=mask,
        )

    async def serve(self, stream: RespStream) -> None:
        """Work until cancelled or until the connection fails."""
        if self._cursor is None:
            await self._load(stream)
        await self._aim(stream)
        while True:
            await self._work_off(stream)
            await self._read(stream)

    async def leave(self, stream: RespStream, patience_s: float) -> None:
        """Let the handler under way return, and save what was handled."""
        await self.work.wind_down(patience_s, lambda: self._keep(stream))
        self._collect()
        await self._save(stream)

    def learn(self, name: bytes) -> None:
        """The scope's log has this name: another one is begun from its first entry on."""
        if not self._log_name:
            self._log_name = name
        if name == self._log_name:
            return
        since = utc_of(received_us_of((self._cursor or START).decode()))
        self._log_name, self._cursor, self._position, self._epoch = name, START, b"", 0
        self._generation += 1
        self._seqs.clear()
        self._dirty.clear()
        self._targets.clear()
        self.counts["gaps"] += 1
        message = f"{self._place.log} was replaced by another log: what followed in the old one is lost"
        self._tell(self._place.scope, cause=Cause.LOG_REPLACED, since=since, message=message)

    # Where it begins

    async def _load(self, stream: RespStream) -> None:
        place, layout = self._place, self._hold.layout
        saved = _hash(await stream.command("HGETALL", layout.position(place.scope, self._options.name)))
        name = await stream.command("HGET", layout.seq(place.scope), LOG_ID_FIELD)
        if not is_entry_id(saved.get(place.name, b"")):  # there is none, or nothing that this program wrote
            await self._begin(stream, name)
            return
        self._cursor = self._position = saved[place.name]
        self._log_name = saved.get(LOG_ID_FIELD, b"")
        self._epoch = count_of(saved.get(f"{place.name}:epoch"))
        self._seqs = {topic: count_of(seq) for topic, seq in saved.items() if place.wants(topic)}
        if name is not None:
            self.learn(name)

    async def _begin(self, stream: RespStream, name: bytes | None) -> None:
        """A new name."""
        self._log_name = name or b""
        start, counters = self._options.start, await self._counters(stream)
        if start == "now":
            self._cursor = await self._last_id(stream)
            self._seqs = counters
        else:
            self._cursor = START if isinstance(start, str) else _before(start)
        self._dirty |= {self._place.name: self._cursor, **self._seqs}
        self._position = self._cursor

    async def _aim(self, stream: RespStream) -> None:
        """How far every topic has got: what is not read by the log's present end has been trimmed."""
        self._targets = await self._counters(stream)
        self._end = await self._last_id(stream)

    async def _counters(self, stream: RespStream) -> dict[str, int]:
        place = self._place
        found = _hash(await stream.command("HGETALL", self._hold.layout.seq(place.scope)))
        known = {topic: count_of(seq) for topic, seq in found.items() if place.wants(topic)}
        return {topic: 0 for topic in place.topics if topic != "ticker:all"} | known

    async def _last_id(self, stream: RespStream) -> bytes:
        found = await stream.command("XREVRANGE", self._place.log, "+", "-", "COUNT", 1)
        return found[0][0] if found else START

    # Reading

    async def _read(self, stream: RespStream) -> None:
        shared, generation = self._options.shared, self._generation
        assert self._cursor is not None  # noqa: S101 - `serve` has loaded it
        block_s = min(shared.log_block_s, self._options.hold_s / 4, self._save_due_s() if self._dirty else 60.0)
        packed = pack(
            *("XREAD", "COUNT", self._options.prefetch, "BLOCK", max(1, int(block_s * 1000))),
            *("STREAMS", self._place.log, self._cursor),
        )
        reply = (await stream.send(packed, timeout_s=block_s + shared.stream.reply_timeout_s))[0]
        if isinstance(reply, ReplyError):
            raise reply
        entries = reply[0][1] if reply else []
        if generation == self._generation:
            await self._take(stream, entries)
        if 0 < len(entries) < self._options.prefetch:
            await self._work_off(stream)
            await shared.sleep(shared.log_gather_s)

    async def _take(self, stream: RespStream, entries: list[Any]) -> None:
        decoded = [(entry[0], entry[1][1], self._decoded(entry)) for entry in entries]
        epoch = max((envelope.epoch for *_, envelope in decoded if envelope is not None), default=0)
        if epoch > self._epoch:  # another writer: perhaps of another log
            generation = self._generation  # before asking: a look at the scope may find out meanwhile
            name = await stream.command("HGET", self._hold.layout.seq(self._place.scope), LOG_ID_FIELD)
            if name is not None:
                self.learn(name)
            if generation != self._generation:
                return
        self.work.add(
            self._entry(entry_id, raw, envelope)
            for entry_id, raw, envelope in decoded
            if envelope is not None and self._is_next(envelope)
        )
        self._epoch = max(epoch, self._epoch)
        if entries:
            self._cursor = entries[-1][0]
        if self._targets and (not entries or order_of(self._cursor or START) >= order_of(self._end)):
            self._tell_trimmed_tails()

    def _entry(self, entry_id: bytes, raw: bytes, envelope: Envelope) -> Entry:
        source = "recovered" if order_of(entry_id) <= order_of(self._end) else "live"
        return Entry(str(self._generation), entry_id, raw, envelope, source=source)

    def _decoded(self, entry: Any) -> Envelope | None:
        try:
            envelope = decode(entry[1][1])
        except EnvelopeError as exc:
            self.counts["junk"] += 1
            _log.warning("unreadable entry %s in %s: %s", entry[0].decode(), self._place.log, exc)
            return None
        if self._place.wants(envelope.topic):
            return envelope
        self.counts["unwanted"] += 1
        return None

    def _is_next(self, envelope: Envelope) -> bool:
        """Whether to hand it on; tells what is missing before it."""
        topic, seq = envelope.topic, envelope.seq or 0
        known = self._seqs.get(topic)
        if known is not None and seq <= known and envelope.epoch <= self._epoch:
            self.counts["duplicates"] += 1
            return False
        self._seqs[topic] = seq
        if known is not None and seq <= known:
            self._tell_gap(
                topic, until=utc_of(envelope.received_us), cause=Cause.LOG_REPLACED, message="numbers count anew"
            )
        elif known is not None and seq > known + 1:
            self._tell_missing(topic, known + 1, seq - 1, until=utc_of(envelope.received_us))
        return True

    # Gaps

    def _tell_trimmed_tails(self) -> None:
        """Topics whose last events are gone, and that have been quiet since."""
        targets, self._targets = self._targets, {}
        for topic, target in targets.items():
            known = self._seqs.get(topic)
            if known is not None and target > known:
                self._tell_missing(topic, known + 1, target)
                self._seqs[topic] = self._dirty[topic] = target

    def _tell_missing(self, topic: str, first: int, last: int, **what: Any) -> None:
        count = last - first + 1
        self.counts["missing"] += count
        message = f"{topic}: the log no longer holds {count} events after the position {self._options.name}"
        self._tell_gap(
            topic, cause=Cause.TRIMMED, first_missing=first, last_missing=last, count=count, message=message, **what
        )

    def _tell_gap(self, topic: str, **what: Any) -> None:
        self.counts["gaps"] += 1
        since = utc_of(received_us_of((self._cursor or START).decode()))
        self._tell(self._place.scope, topic=topic, since=since, **what)

    # Working and saving

    async def _work_off(self, stream: RespStream) -> None:
        while not await self.work.progress(self._options.tick_s):
            await self._keep(stream)
        await self._keep(stream)

    async def _keep(self, stream: RespStream) -> None:
        """Keep the hold, and the position behind the handlers."""
        if not self._hold.is_sure:
            await self._hold.renew(stream)
        self._collect()
        if self._save_due_s() <= 0:
            await self._save(stream)

    def _collect(self) -> None:
        """The position follows what the handlers have done with, in order; all that was read when nothing waits."""
        work = self.work
        done = [entry for entry in (*work.handled, *work.given_up) if entry.stream == str(self._generation)]
        self.counts["given_up"] += len(work.given_up)
        for entry in work.given_up:
            _log.error("%s is given up: %s", entry.envelope.topic, entry.history[-1]["error"])
        work.handled.clear()
        work.given_up.clear()
        position = max((entry.id for entry in done), key=order_of, default=self._position)
        if not work.waiting and self._cursor is not None:
            position = self._cursor
        for entry in done:
            self._dirty[entry.envelope.topic] = max(
                entry.envelope.seq or 0, int(self._dirty.get(entry.envelope.topic, 0))
            )
        if position and position != self._position:
            self._position = self._dirty[self._place.name] = position

    def _save_due_s(self) -> float:
        return self._saved_at + self._options.tick_s - self._clock()

    async def _save(self, stream: RespStream) -> None:
        """Nothing is saved before the log has a name: then no bridge has written it."""
        if not self._dirty or not self._log_name:
            return
        dirty, self._dirty = self._dirty, {}
        self._saved_at = self._clock()
        try:
            fields = dirty | {f"{self._place.name}:epoch": self._epoch}
            await self._hold.save(stream, self._place.scope, self._log_name, fields)
        except BaseException:  # also when the connection's end cancels it: saving twice does no harm
            self._dirty = dirty | self._dirty
            raise
        self.counts["saves"] += 1


def _before(start: datetime) -> bytes:
    return f"{max(1, int(start.timestamp() * 1000)) - 1}-999".encode()


def _hash(reply: list[bytes]) -> dict[str, bytes]:
    return {name.decode(errors="replace"): value for name, value in zip(reply[::2], reply[1::2], strict=True)}

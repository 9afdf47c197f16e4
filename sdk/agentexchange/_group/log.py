"""One log's loop in a member of a group: take over, read, let the handlers work, acknowledge, renew."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final

from agentexchange._acked.work import Entry, Work, order_of
from agentexchange._shared.read import utc_of
from agentexchange.redis import ReplyError
from agentexchange_schemas import Cause, EnvelopeError
from agentexchange_schemas.envelope import decode
from agentexchange_schemas.layout import count_of

from .claims import Claims, Raw, is_nogroup
from .pace import Prefetch
from .remembered import Remembered
from .trim import find_holes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from agentexchange._acked.places import Place
    from agentexchange.redis import RespStream

    from .member import Member

__all__ = ["GroupLog"]

_log: Final = logging.getLogger("agentexchange.shared")
_FRESH: Final = 0.5  # share of claim_after after which nothing is begun without a renewal
_RENEW: Final = 0.3
_LOOK: Final = 0.05  # share of claim_after between two looks for what others left


class GroupLog:
    """Outlives connections: `serve` runs on each.

    Attributes:
        counts: what happened, by name.
    """

    def __init__(self, place: Place, member: Member, call: Callable[..., Awaitable[None]]) -> None:
        self._place = place
        self._member = member
        self._options = member.options
        self._clock = member.options.shared.clock
        self._good_until = self._renew_at = self._take_at = self._renewed_at = float("-inf")
        self._prefetch = Prefetch(member.options.max_prefetch, member.options.prefetch_s)
        self._remembered = Remembered()
        self._unwanted: list[Raw] = []
        self._seqs: dict[str, int] = {}
        self._last_id = b"0-0"
        self._has_joined = self._is_replaced = False
        self._log_name = member.log_name(place.scope)
        self.counts = dict.fromkeys(
            ("acknowledged", "unwanted", "junk", "taken_over", "dead", "lost_claims", "given_back", "gaps", "missing"),
            0,
        )
        self.work = Work(
            call,
            place.scope,
            options=member.options,
            may_begin=lambda: self._clock() < self._good_until,
            member=member.consumer,
            mask=member.mask,
        )

    async def serve(self, stream: RespStream) -> None:
        """Work until cancelled or until the connection fails."""
        claims = Claims(stream, self._member, self._place.log)
        await self._join(claims, stream)
        while True:
            try:
                await self._turn(claims, stream)
            except ReplyError as fault:
                if not is_nogroup(fault):
                    raise
                await self._rejoin(claims)

    async def leave(self, stream: RespStream, patience_s: float) -> None:
        """Let the handler under way return, report what was handled and give back the rest."""
        claims = Claims(stream, self._member, self._place.log)
        try:
            await self.work.wind_down(patience_s, lambda: self._tick(claims))
            await self._flush(claims)
            for name in claims.streams:
                await claims.release(name, [entry for entry in self.work.waiting if entry.stream == name])
        except ReplyError as fault:
            if not is_nogroup(fault):
                raise
        self.counts["given_back"] += len(self.work.waiting)

    def learn(self, name: bytes) -> bool:
        """The scope's log has this name: whether it is another one than before, and the caller has to tell so."""
        if not self._log_name:
            self._log_name = name
        if name == self._log_name:
            return False
        self._renew_log(name)
        self._is_replaced = True
        self.counts["gaps"] += 1
        return True

    # Joining

    async def _join(self, claims: Claims, stream: RespStream) -> None:
        if self._has_joined:
            try:
                await self._reconcile(claims)
            except ReplyError as fault:
                if not is_nogroup(fault):
                    raise
                await self._rejoin(claims)
        elif await claims.create(_start_id(self._options.start)):
            await self._mark_start(stream)
        self._note_progress(await claims.last_delivered())
        self._has_joined = True
        await self._tell_holes(stream)

    async def _mark_start(self, stream: RespStream) -> None:
        """A new group that begins now is owed everything from now on, also what is trimmed before anybody reads it."""
        if self._options.start != "now" or not self._place.topics:
            return
        topics = sorted(self._place.topics)
        found = await stream.command("HMGET", self._member.layout.seq(self._place.scope), *topics)
        self._seqs |= {topic: count_of(seq) for topic, seq in zip(topics, found, strict=True) if topic != "ticker:all"}

    async def _rejoin(self, claims: Claims) -> None:
        """The group has vanished. What is held is handled; a new group begins where this member knows to have been."""
        name = await claims.log_name(self._member.layout.seq(self._place.scope)) or b""
        is_same_log = bool(name) and name == self._log_name
        if not is_same_log:
            self._renew_log(name)
        for entry in self.work.waiting:
            entry.is_loose = True
        was_told, self._is_replaced = self._is_replaced, False
        start = self._last_id.decode()
        if not await claims.create(start) or was_told:
            return
        what = "was removed" if is_same_log else "has vanished with the log"
        self.counts["gaps"] += 1
        self._member.tell(
            self._place.scope,
            cause=Cause.LOG_REPLACED,
            message=f"the group {self._member.group} on {self._place.log} {what}, and was made anew at {start}: "
            "what other members held unhandled is lost",
        )

    def _renew_log(self, name: bytes) -> None:
        self._log_name, self._last_id = name, b"0-0"
        self._seqs.clear()
        for entry in self.work.waiting:
            entry.is_loose = True

    async def _reconcile(self, claims: Claims) -> None:
        """After a lost connection: report what was handled, and agree with Redis on what is held."""
        await self._flush(claims)
        for name in claims.streams:
            held = await self._renew_stream(claims, name)
            known = self._held()
            found = await claims.fetch(name, [pair for pair in held if (name, pair[0]) not in known])
            known |= self._held()  # the handlers went on meanwhile
            missing = [raw for raw in found if (name, raw.id) not in known]
            gone = [raw.id for raw in missing if raw.raw is None]
            if gone:
                await self._acknowledge(claims, name, gone)
                self._tell_trimmed(gone)
            self.work.merge(self._accept(raw for raw in missing if raw.raw is not None))

    def _held(self) -> set[tuple[str, bytes]]:
        work = self.work
        return {(entry.stream, entry.id) for entry in (*work.waiting, *work.handled, *work.given_up)}

    # One turn

    async def _turn(self, claims: Claims, stream: RespStream) -> None:
        await self._work_off(claims)
        wanted = self._prefetch.count
        if await self._take_over(claims):
            return
        read = await self._read(claims, stream)
        if 0 < read < wanted:
            await self._work_off(claims)
            await self._options.shared.sleep(self._options.shared.log_gather_s)

    async def _work_off(self, claims: Claims) -> None:
        """Let the handlers have what is held, and report it."""
        since, before = self._clock(), self.work.counts["handled"]
        while not await self.work.progress(self._options.tick_s):
            await self._tick(claims)
        self._prefetch.took(self.work.counts["handled"] - before, self._clock() - since)
        await self._flush(claims)

    async def _tick(self, claims: Claims) -> None:
        """While handlers work."""
        await self._flush(claims)
        now = self._clock()
        if now >= self._renew_at or now >= self._good_until or self.work.retries:
            await self._renew(claims)

    async def _read(self, claims: Claims, stream: RespStream) -> int:
        """How many entries came."""
        shared, now = self._options.shared, self._clock()
        block_s = max(0.001, min(shared.log_block_s, self._take_at - now, self._options.claim_after_s * _LOOK))
        found, first = await claims.read(
            self._prefetch.count, max(1, int(block_s * 1000)), block_s + shared.stream.reply_timeout_s
        )
        self._renewed(now)
        entries = list(self._accept(found))
        logged = [raw for raw in found if raw.stream == self._place.log]
        if logged:
            self._is_replaced = False
            self._note_progress(logged[-1].id)
            if first is None or order_of(first) >= order_of(logged[0].id):
                await self._tell_holes(stream)
            self._seqs |= {e.envelope.topic: e.envelope.seq or 0 for e in entries if e.stream == self._place.log}
        self.work.add(entries)
        return len(found)

    async def _take_over(self, claims: Claims) -> bool:
        """Whether anything was: then there may be more."""
        now = self._clock()
        if now < self._take_at:
            return False
        for name in claims.streams:
            taken, trimmed = await claims.take(name, self._options.claim_after_s, self._prefetch.count)
            if trimmed:
                self._tell_trimmed(trimmed)
            if taken:
                self._renewed(now)
                self.counts["taken_over"] += len(taken)
                self.work.merge(self._accept(taken))
            if taken or trimmed:
                return True
        self._note_progress(await claims.last_delivered())
        shared = self._options.shared
        self._take_at = now + self._options.claim_after_s * _LOOK * (1 - 0.2 * shared.random())
        return False

    def _note_progress(self, entry_id: bytes) -> None:
        """Remember how far the group has read, to begin there should it be removed."""
        self._last_id = max(self._last_id, entry_id, key=order_of)

    def _accept(self, found: Iterable[Raw]) -> list[Entry]:
        """What the handlers are to get; the rest will be acknowledged unseen."""
        entries = []
        for raw in found:
            entry = None if (raw.stream, raw.id) in self._remembered else self._entry(raw)
            if entry is None:
                self._unwanted.append(raw)
            else:
                entries.append(entry)
        return entries

    def _entry(self, raw: Raw) -> Entry | None:
        try:
            envelope = decode(raw.raw or b"")
        except EnvelopeError as exc:
            self.counts["junk"] += 1
            _log.warning("unreadable entry %s in %s: %s", raw.id.decode(), raw.stream, exc)
            return None
        if not self._place.wants(envelope.topic):
            self.counts["unwanted"] += 1
            return None
        entry = Entry(raw.stream, raw.id, raw.raw or b"", envelope, attempts=raw.attempts)
        if raw.history is not None:
            entry.history, entry.source = _history(raw.history), "redelivered"
        if raw.owner is not None and raw.attempts > 1:
            entry.note(self.work.now(), raw.owner, "the member went away before it had acknowledged the event")
        return entry

    # Reporting

    async def _flush(self, claims: Claims) -> None:
        """Acknowledge what was handled, bury what was given up."""
        handled, self.work.handled = self.work.handled, []
        unwanted, self._unwanted = self._unwanted, []
        try:
            done: list[Entry | Raw] = [*handled, *unwanted]
            for name in claims.streams:
                ids = [item.id for item in done if item.stream == name]
                if ids or (name == self._place.log and self._seqs):
                    await self._acknowledge(claims, name, ids)
            while self.work.given_up:
                await self._bury(claims, self.work.given_up[0])
                self.work.given_up.pop(0)
        except BaseException:  # also when the connection's end cancels it: acknowledging twice does no harm
            self.work.handled[:0] = handled
            self._unwanted[:0] = unwanted
            raise
        finally:
            self._remembered.add((entry.stream, entry.id) for entry in handled)

    async def _acknowledge(self, claims: Claims, name: str, ids: list[bytes]) -> None:
        seqs = self._seqs if name == self._place.log else {}
        self.counts["acknowledged"] += await claims.acknowledge(
            name,
            ids,
            marks=self._member.layout.marks(self._place.scope, self._member.group),
            log_name=self._log_name,
            seqs=seqs,
        )
        if seqs:
            self._seqs = {}

    async def _bury(self, claims: Claims, entry: Entry) -> None:
        member, place = self._member, self._place
        dead = member.layout.dead(place.scope, member.group)
        if await claims.bury(entry, dead=dead, name=place.name, most=self._options.max_dead):
            self.counts["dead"] += 1
            _log.error("%s went to the dead letters of %s: %s", entry.envelope.topic, member.group, entry.history[-1])

    # Claims

    def _renewed(self, asked_at: float) -> None:
        self._good_until = asked_at + self._options.claim_after_s * _FRESH
        self._renew_at = asked_at + self._options.claim_after_s * _RENEW

    async def _renew(self, claims: Claims) -> None:
        asked_at, previous = self._clock(), self._renewed_at
        self._renewed_at = asked_at
        for name in claims.streams:
            if any(entry.stream == name for entry in self.work.waiting):
                await self._renew_stream(claims, name)
        self.work.retries.clear()
        self._renewed(asked_at)
        if self.work.current is not None and self.work.current_since < previous:
            await self._give_back(claims)

    async def _renew_stream(self, claims: Claims, name: str) -> list[tuple[bytes, int]]:
        """Renew, and drop what another member has taken over meanwhile."""
        attempts = [(entry.id, entry.attempts) for entry in self.work.retries if entry.stream == name]
        held, gone = await claims.renew(name, attempts)
        own = {entry_id for entry_id, _ in held}
        lost = []
        for entry in self.work.waiting:
            if entry.stream == name and entry.id not in own and not entry.is_loose:
                entry.is_loose = entry.id in gone
                if not entry.is_loose and entry is not self.work.current:
                    lost.append(entry)
        if lost:
            self.work.drop(lost)
            self.counts["lost_claims"] += len(lost)
        return held

    async def _give_back(self, claims: Claims) -> None:
        """A handler takes long: what waits behind it is for others."""
        surplus = [entry for entry in self.work.waiting if entry is not self.work.current and not entry.is_loose]
        self.work.drop(surplus)
        for name in claims.streams:
            entries = [entry for entry in surplus if entry.stream == name]
            if entries:
                await claims.release(name, entries)
                self.counts["given_back"] += len(entries)

    # Gaps

    async def _tell_holes(self, stream: RespStream) -> None:
        """Tell what the log lost before it was delivered to the group."""
        member, place = self._member, self._place
        for hole in await find_holes(stream, place, member.layout, member.group, self._log_name):
            self._seqs[hole.topic] = max(hole.last, self._seqs.get(hole.topic, 0))
            self._tell_gap(
                topic=hole.topic,
                first_missing=hole.first,
                last_missing=hole.last,
                count=hole.last - hole.first + 1,
                message=f"{hole.topic}: the log was trimmed before the group {member.group} had read it",
            )

    def _tell_trimmed(self, ids: list[bytes]) -> None:
        self._tell_gap(
            since=_time_of(ids[0]),
            until=_time_of(ids[-1]),
            count=len(ids),
            message=f"{self._place.log} was trimmed before the group {self._member.group} had acknowledged these",
        )

    def _tell_gap(self, **what: Any) -> None:
        self.counts["gaps"] += 1
        self.counts["missing"] += what["count"]
        self._member.tell(self._place.scope, cause=Cause.TRIMMED, **what)


def _start_id(start: str | datetime) -> str:
    if isinstance(start, str):
        return "$" if start == "now" else "0"
    return f"{max(0, int(start.timestamp() * 1000))}-0"


def _time_of(entry_id: bytes) -> datetime:
    return utc_of(order_of(entry_id)[0] * 1000)


def _history(raw: bytes) -> list[dict[str, Any]]:
    """What a dead letter that is tried once more went through; nothing that others wrote there can do harm."""
    try:
        found = json.loads(raw)
    except ValueError:
        return []
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []

"""One log as a member of a group sees it: what Redis is asked and told, over one connection at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange._scripts import ACK, BURY, RELEASE, RENEW, TAKE
from agentexchange.redis import ReplyError, RespStream, pack
from agentexchange_schemas.layout import LOG_FIELD, LOG_ID_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentexchange._acked.work import Entry

    from .member import Member

__all__ = ["Claims", "Raw", "is_nogroup"]

MAX_HELD: Final = 2000  # entries that are asked for as one's own; a member holds 500
_BUSY: Final = "BUSYGROUP"


class Raw(NamedTuple):
    """An entry as read: its envelope's bytes (None where there is none), earlier deliveries, who held it last."""

    stream: str
    id: bytes
    raw: bytes | None
    attempts: int = 1
    history: bytes | None = None
    owner: str | None = None


def is_nogroup(fault: ReplyError) -> bool:
    """Whether the group or the log has vanished."""
    return "NOGROUP" in fault.message or fault.code == "UNBLOCKED"


class Claims:
    """Commands of one member on one log and on the retries beside it. All raise what `RespStream` raises."""

    def __init__(self, stream: RespStream, member: Member, log: str) -> None:
        self._stream = stream
        self._group = member.group
        self._consumer = member.consumer
        self._retries = member.layout.retry(log, member.group)
        self._log = log
        self.streams = (log, self._retries)

    async def create(self, log_at: str) -> bool:
        """Make the group where it is missing; ``log_at``: after which entry it begins. Whether it was made."""
        made = await self._create(self._log, log_at)
        await self._create(self._retries, "0")
        return made

    async def _create(self, stream: str, at: str) -> bool:
        try:
            await self._stream.command("XGROUP", "CREATE", stream, self._group, at, "MKSTREAM")
        except ReplyError as fault:
            if fault.code == _BUSY:
                return False
            raise
        return True

    async def last_delivered(self) -> bytes:
        """How far the group has read the log."""
        for info in await self._stream.command("XINFO", "GROUPS", self._log):
            known = dict(zip(info[::2], info[1::2], strict=True))
            if known.get(b"name") == self._group.encode():
                found: bytes = known[b"last-delivered-id"]
                return found
        return b"0-0"

    async def log_name(self, seq: str) -> bytes | None:
        """The log's name now."""
        found: bytes | None = await self._stream.command("HGET", seq, LOG_ID_FIELD)
        return found

    async def read(self, count: int, block_ms: int, timeout_s: float) -> tuple[list[Raw], bytes | None]:
        """New entries, and the id of the log's first one then."""
        packed = pack(
            *("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", count, "BLOCK", block_ms),
            *("STREAMS", *self.streams, ">", ">"),
        ) + pack("XRANGE", self._log, "-", "+", "COUNT", 1)
        reply, first = await self._stream.send(packed, replies=2, timeout_s=timeout_s)
        for answer in (reply, first):
            if isinstance(answer, ReplyError):
                raise answer
        entries = [_raw(key.decode(), entry) for key, found in reply or () for entry in found]
        return entries, first[0][0] if first else None

    async def fetch(self, stream: str, held: Sequence[tuple[bytes, int]]) -> list[Raw]:
        """Entries that are the member's own, as (id, deliveries)."""
        if not held:
            return []
        packed = b"".join(pack("XRANGE", stream, entry_id, entry_id) for entry_id, _ in held)
        replies = await self._stream.send(packed, replies=len(held))
        found = []
        for (entry_id, attempts), reply in zip(held, replies, strict=True):
            if isinstance(reply, ReplyError):
                raise reply
            entry = reply[0] if reply else (entry_id, None)
            found.append(_raw(stream, entry)._replace(attempts=attempts))
        return found

    async def take(self, stream: str, idle_s: float, most: int) -> tuple[list[Raw], list[bytes]]:
        """What nobody has renewed for so long; and ids that the log no longer holds."""
        reply = await TAKE.run(self._stream, [stream], self._group, self._consumer, max(1, int(idle_s * 1000)), most)
        taken = [
            _raw(stream, entry)._replace(attempts=entry[2], owner=entry[3].decode(errors="replace"))
            for entry in reply[0]
        ]
        return taken, reply[1]

    async def renew(
        self, stream: str, attempts: Iterable[tuple[bytes, int]] = ()
    ) -> tuple[list[tuple[bytes, int]], set[bytes]]:
        """Renew what the member holds: (id, deliveries) of each, and ids that Redis has forgotten with the log."""
        noted = [part for pair in attempts for part in pair]
        reply = await RENEW.run(self._stream, [stream], self._group, self._consumer, MAX_HELD, *noted)
        return [(entry_id, count) for entry_id, count in reply[0]], set(reply[1])

    async def acknowledge(
        self, stream: str, ids: Sequence[bytes], *, marks: str, log_name: bytes, seqs: Mapping[str, int]
    ) -> int:
        """Acknowledge, and note how far the group has got; how many were pending."""
        deletes = int(stream == self._retries)
        pairs = [part for pair in seqs.items() for part in pair]
        reply: int = await ACK.run(
            self._stream, [stream, marks], self._group, log_name, deletes, len(ids), *ids, *pairs
        )
        return reply

    async def bury(self, entry: Entry, *, dead: str, name: str, most: int) -> bool:
        """Move an entry to the dead letters; False where another member has it by now."""
        fields: dict[str, str | bytes | int] = {
            LOG_FIELD: entry.raw,
            "topic": entry.envelope.topic,
            "error": entry.history[-1]["error"],
            "attempts": entry.attempts if entry.is_begun else entry.attempts - 1,
            "history": json.dumps(entry.history, ensure_ascii=False),
            "id": entry.id,
            "log": name,
        }
        flags = (int(entry.is_loose), int(entry.stream == self._retries))
        values = [part for pair in fields.items() for part in pair]
        keys = [entry.stream, dead]
        return (
            await BURY.run(self._stream, keys, self._group, self._consumer, entry.id, *flags, most, *values) is not None
        )

    async def release(self, stream: str, entries: Iterable[Entry]) -> None:
        """Give entries back; a consumer that holds nothing then is deleted."""
        pairs = [part for entry in entries for part in (entry.id, entry.begun)]
        await RELEASE.run(self._stream, [stream], self._group, self._consumer, *pairs)


def _raw(stream: str, entry: Any) -> Raw:
    entry_id, fields = entry[0], entry[1]
    values = dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {}
    return Raw(stream, entry_id, values.get(b"e"), history=values.get(b"history"))

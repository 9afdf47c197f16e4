"""The one command connection of a shared client: what it asks Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange.freshness import time_us
from agentexchange.redis import ReplyError, RespStream, pack
from agentexchange_schemas import Layout
from agentexchange_schemas.envelope import log_id
from agentexchange_schemas.layout import LOG_ID_FIELD, RECEIVED_FIELD, count_of

from .read import envelope_of, epoch_of, layout_of, offset_of, pairs, report_of, states_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agentexchange_schemas import Envelope, FeedStatus, TopicState

    from .flow import Flow

__all__ = ["START", "Commands", "Marks", "ScopeLook", "id_of", "place_of"]

_CHUNK: Final = 500  # keys of one MGET
START: Final = b"0-0"
"""Before every entry of a log."""


def id_of(place_us: int) -> bytes:
    """The entry id at a place, given in microseconds as envelopes are received."""
    return log_id(place_us).encode()


def place_of(entry_id: bytes) -> int:
    """The place of an entry id, those of foreign writers included."""
    ms, _, rest = entry_id.partition(b"-")
    return int(ms) * 1000 + min(int(rest), 999)


class Marks(NamedTuple):
    """How far a log has got.

    Attributes:
        log_id: the name of the scope's log; None where nothing was ever written, or all was wiped.
        epoch: the newest one of the scope.
        end_us: the place of the log's last entry.
        is_whole: whether the log still has the entry that was asked for.
        seqs: the last seq of each topic that was asked for.
        received_us: the newest received time in the scope; 0 where nothing names it.
    """

    log_id: bytes | None
    epoch: int
    end_us: int
    is_whole: bool
    seqs: dict[str, int]
    received_us: int = 0


class ScopeLook(NamedTuple):
    """What a look at a scope found.

    Attributes:
        report: its status, if its lease is held.
        log_id: the name of its log, if it has one.
        epoch: the newest under which anybody may have written it.
        topics: those of its topics that have a state of their own, if its lease is held.
        clock_offset_us: how far Redis's clock is ahead of the bridge's, if the bridge says so.
    """

    report: FeedStatus | None
    log_id: bytes | None
    epoch: int
    topics: Mapping[str, TopicState]
    clock_offset_us: int | None

    @classmethod
    def of(cls, scope: str, epochs: list[Any], fields: Mapping[str, str], log_id: bytes | None) -> ScopeLook:
        """Read the answers; ``epochs`` are the lease and the counter."""
        report = report_of(scope, epochs[0], fields)
        topics = {} if report is None else states_of(report, fields).topics
        return cls(report, log_id, epoch_of(*epochs), topics, offset_of(fields.get("clock_offset_us")))


class Commands:
    """Typed reads over a `RespStream`.

    Every method raises `ReplyError` where the server refuses, and `LinkClosedError` where the connection goes.
    """

    def __init__(self, stream: RespStream, prefix: str) -> None:
        self._stream = stream
        self._prefix = prefix

    async def layout(self) -> Layout | None:
        """The installation's layout, None where no bridge has been here.

        Raises:
            ConnectionError: a layout that this client does not read.
        """
        meta = await self._stream.command("HGETALL", Layout(self._prefix).meta)
        return layout_of(pairs(meta), self._prefix)

    async def look(self, layout: Layout, scopes: Sequence[str]) -> list[ScopeLook]:
        """Look at each scope; one round trip."""
        packed = [
            pack("MGET", layout.lease(scope), layout.epoch(scope))
            + pack("HGETALL", layout.status(scope))
            + pack("HGET", layout.seq(scope), LOG_ID_FIELD)
            for scope in scopes
        ]
        replies = await self._ask(packed, 3 * len(scopes))
        found = zip(scopes, replies[::3], replies[1::3], replies[2::3], strict=True)
        return [ScopeLook.of(scope, epochs, pairs(fields), log_id) for scope, epochs, fields, log_id in found]

    async def time_us(self) -> int | None:
        """The server's time, µs since the Unix epoch; None where it does not tell that to this user."""
        try:
            return time_us(await self._stream.command("TIME"))
        except ReplyError:
            return None

    async def latest(self, layout: Layout, flows: Sequence[Flow]) -> list[Envelope | None]:
        """The newest envelope of each topic of one scope, None where there is none."""
        keys = [layout.latest(flow.scope, flow.topic) for flow in flows]
        packed = [pack("MGET", *keys[at : at + _CHUNK]) for at in range(0, len(keys), _CHUNK)]
        values = [value for part in await self._ask(packed, len(packed)) for value in part]
        return [envelope_of(value, flow.topic) for value, flow in zip(values, flows, strict=True)]

    async def tickers(self, layout: Layout, scope: str) -> list[str]:
        """Every ticker topic that the scope has ever written."""
        fields = await self._stream.command("HKEYS", layout.seq(scope))
        return [field.decode(errors="replace") for field in fields if field.startswith(b"ticker:")]

    async def log_ends(self, layout: Layout, scopes: Iterable[str]) -> dict[str, bytes]:
        """The last entry id of each scope's log of ticks; of an empty one, the id before every other."""
        names = list(scopes)
        replies = await self._ask(
            [pack("XREVRANGE", layout.log(scope), "+", "-", "COUNT", 1) for scope in names], len(names)
        )
        return {scope: reply[0][0] if reply else START for scope, reply in zip(names, replies, strict=True)}

    async def marks(self, layout: Layout, scope: str, log: str, topics: Sequence[str], newest_us: int = 0) -> Marks:
        """How far a log, and these topics in it, have got; one round trip.

        The end is asked for before the seqs: no topic has an event up to that place that its seq does not count.
        """
        newest = id_of(newest_us)
        packed = [
            pack("MGET", layout.lease(scope), layout.epoch(scope)),
            pack("XREVRANGE", log, "+", "-", "COUNT", 1),
            pack("XRANGE", log, newest, newest),
            pack("HMGET", layout.seq(scope), LOG_ID_FIELD, RECEIVED_FIELD, *topics),
        ]
        epochs, end, found, (log_id_, received, *seqs) = await self._ask(packed, len(packed))
        end_us = place_of(end[0][0]) if end else 0
        return Marks(
            log_id=log_id_,
            epoch=epoch_of(*epochs),
            end_us=end_us,
            is_whole=bool(found),
            seqs={topic: count_of(seq) for topic, seq in zip(topics, seqs, strict=True)},
            received_us=max(count_of(received), end_us),
        )

    async def page(self, log: str, after: bytes, count: int) -> list[Any]:
        """The entries of a log behind an id, up to ``count``."""
        page: list[Any] = await self._stream.command("XRANGE", log, b"(" + after, "+", "COUNT", count)
        return page

    async def _ask(self, packed: list[bytes], replies: int) -> list[Any]:
        if not packed:
            return []
        answers = await self._stream.send(b"".join(packed), replies=replies)
        for answer in answers:
            if isinstance(answer, ReplyError):
                raise answer
        return answers

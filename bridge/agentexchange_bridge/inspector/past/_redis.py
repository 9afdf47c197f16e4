"""The logs of Redis as a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentexchange._shared.commands import id_of, place_of
from agentexchange.recording import Lane, received_of
from agentexchange.redis import ReplyError
from agentexchange_schemas import EnvelopeError, Kind
from agentexchange_schemas.layout import LOG_FIELD

from ._history import MAX_US, LaneSpan, Page, Sample, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentexchange_bridge.inspector._link import Link
    from agentexchange_schemas import Layout

__all__ = ["RedisHistory", "lanes_of", "raws_of", "span_of", "span_questions"]

Command = tuple[str | bytes | int, ...]

_FIELD: Final = LOG_FIELD.encode()
_ON_THE_WAY_US: Final = 1_000_000
_KEYS_AT_ONCE: Final = 500
_PAGE: Final = 500
"""Log entries of one answer: as many of the largest envelopes fit into it."""
_ORDERS: Final = str(Kind.ORDERS)
_MAX_ORDERS: Final = 2_000
_SAMPLED: Final = 200  # entries of a stretch
_STRETCHES_AT_ONCE: Final = 20


def lanes_of(layout: Layout, scopes: Sequence[str]) -> tuple[Lane, ...]:
    """The logs of these scopes."""
    logs = [(scope, layout.log(scope)) for scope in scopes]
    logs += [(scope, layout.candle_log(scope)) for scope in scopes if scope.startswith("m")]
    return tuple(Lane(scope, key.removeprefix(layout.base(scope))) for scope, key in logs)


def raws_of(entries: Sequence[Any]) -> list[bytes]:
    """The envelopes of log entries; what a foreign hand has put between them is left out."""
    return [fields[1] for _, fields in entries if fields and fields[0] == _FIELD]


def span_questions(key: str) -> list[Command]:
    """Length, first and last entry of a log: one by one, so that who may only read it learns what can be read."""
    return [("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", 1), ("XREVRANGE", key, "+", "-", "COUNT", 1)]


def span_of(lane: Lane, answers: Sequence[Any], memory: Any = None) -> LaneSpan:
    """What the answers to `span_questions`, and to ``MEMORY USAGE``, say; a refusal is taken for no answer."""
    entries, first, last = (None if isinstance(answer, ReplyError) else answer for answer in answers)
    return LaneSpan(
        lane,
        entries or 0,
        memory if isinstance(memory, int) else None,
        place_of(first[0][0]) if first else None,
        place_of(last[0][0]) if last else None,
    )


class RedisHistory:
    """A `History` of some scopes; asks through ``link``. ``wall`` is this machine's time in µs."""

    def __init__(self, link: Link, layout: Layout, scopes: Sequence[str], *, wall: Callable[[], int]) -> None:
        self._link = link
        self._layout = layout
        self._wall = wall
        self.lanes = lanes_of(layout, scopes)

    def key(self, lane: Lane) -> str:
        """The log's key."""
        return f"{self._layout.base(lane.scope)}{lane.log}"

    def end_us(self) -> int:
        """See `History`: what came in the last second may be on its way."""
        return self._wall() - _ON_THE_WAY_US

    async def spans(self) -> list[LaneSpan]:
        """See `History`."""
        answers = await self._ask([question for lane in self.lanes for question in span_questions(self.key(lane))])
        return [span_of(lane, answers[3 * at : 3 * at + 3]) for at, lane in enumerate(self.lanes)]

    async def back(self, lane: Lane, before_us: int, count: int, *, topic: str | None = None) -> Page:  # noqa: ARG002 - a log has no index
        """See `History`."""
        if before_us <= 0:
            return Page([], None, 0)
        count = min(count, _PAGE)
        until = b"(" + id_of(min(before_us, MAX_US))
        return _page(await self._command("XREVRANGE", self.key(lane), until, "-", "COUNT", count), count)

    async def forth(self, lane: Lane, after_us: int, count: int, *, topic: str | None = None) -> Page:  # noqa: ARG002 - a log has no index
        """See `History`."""
        count = min(count, _PAGE)
        after = b"(" + id_of(min(max(0, after_us), MAX_US))
        return _page(await self._command("XRANGE", self.key(lane), after, "+", "COUNT", count), count)

    async def topics(self, scope: str) -> set[str]:
        """See `History`: those that the scope has ever counted."""
        names = await self._command("HKEYS", self._layout.seq(scope))
        return {name.decode(errors="replace") for name in names}

    async def newest(self, scope: str, topics: list[str], before_us: int) -> list[bytes]:
        """See `History`: latest values that are old enough; of ``orders`` those that are open now."""
        keys = [self._layout.latest(scope, topic) for topic in topics if topic != _ORDERS]
        if _ORDERS in topics:
            open_ones = sorted(await self._command("SMEMBERS", self._layout.latest(scope, _ORDERS)))[:_MAX_ORDERS]
            keys += [self._layout.latest(scope, _ORDERS, name.decode(errors="replace")) for name in open_ones]
        parts = await self._ask([("MGET", *keys[at : at + _KEYS_AT_ONCE]) for at in range(0, len(keys), _KEYS_AT_ONCE)])
        values = [raw for part in parts if not isinstance(part, ReplyError) for raw in part if raw is not None]
        return [raw for raw in values if _is_before(raw, before_us)]

    async def rates(self, lane: Lane, stretches: Sequence[Stretch]) -> list[Sample]:
        """See `History`: counted where a stretch has no more than 200 entries, else by how close its first 200 are."""
        samples: list[Sample] = []
        for at in range(0, len(stretches), _STRETCHES_AT_ONCE):
            part = stretches[at : at + _STRETCHES_AT_ONCE]
            commands = [
                ("XRANGE", self.key(lane), id_of(start), b"(" + id_of(until), "COUNT", _SAMPLED)
                for start, until in part
            ]
            samples += map(_sample, await self._ask(commands), part)
        return samples

    async def _command(self, *command: str | bytes | int) -> Any:
        with self._link.public_errors():
            return await self._link.command(*command)

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        with self._link.public_errors():
            return await self._link.ask(commands)


def _page(entries: list[Any], count: int) -> Page:
    edge_us = place_of(entries[-1][0]) if len(entries) >= count else None
    return Page(raws_of(entries), edge_us, len(entries))


def _sample(reply: Any, stretch: Stretch) -> Sample:
    if not isinstance(reply, list):  # refused
        return Sample(0.0, is_exact=False)
    if len(reply) < _SAMPLED:
        return Sample(len(reply) * 1_000_000 / (stretch.end_us - stretch.start_us), is_exact=True)
    took_us = max(1, place_of(reply[-1][0]) - place_of(reply[0][0]))
    return Sample((len(reply) - 1) * 1_000_000 / took_us, is_exact=False)


def _is_before(raw: bytes, before_us: int) -> bool:
    try:
        return received_of(raw) < before_us
    except EnvelopeError:
        return False

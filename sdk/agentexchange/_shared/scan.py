"""One pass over a log: what topics have missed is handed out in order, before anything newer.

What comes live meanwhile is held for as long as one page is read, since whatever came before the page was asked for
lies in the log already: so it costs no memory to speak of, however much was missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentexchange_schemas import Cause, EnvelopeError
from agentexchange_schemas.envelope import decode

from .commands import START, id_of
from .pick import key_of, pick

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from agentexchange_schemas import Envelope, Layout

    from .commands import Commands, Marks
    from .flow import Flow
    from .inbox import Inbox
    from .options import SharedOptions

__all__ = ["LogName", "Scan", "Tools", "log_of"]

_FIRST_COUNT: Final = 50  # entries of a pass's first page: nothing is known of the link yet
_HAS_LATEST: Final = ("ticker:", "candles:", "portfolio")


class LogName(NamedTuple):
    """One of a scope's logs."""

    scope: str
    is_candles: bool

    def key(self, layout: Layout) -> str:
        """Its key."""
        return layout.candle_log(self.scope) if self.is_candles else layout.log(self.scope)


def log_of(flow: Flow) -> LogName:
    """The log that holds the topic's events."""
    return LogName(flow.scope, flow.topic.startswith("candles:"))


@dataclass(frozen=True, slots=True)
class Tools:
    """What a session lends to whoever reads its logs.

    Attributes:
        commands: asks Redis.
        layout: the names.
        inbox: takes what was read.
        options: limits.
        learn: to be told the name of a scope's log.
        settle: looks at the logs of scopes that came under a new writer.
    """

    commands: Commands
    layout: Layout
    inbox: Inbox
    options: SharedOptions
    learn: Callable[[str, bytes], None]
    settle: Callable[[], Coroutine[Any, Any, None]]

    async def marks(self, name: LogName, flows: Iterable[Flow], *, newest_us: int = 0) -> Marks:
        """How far a log and these topics in it have got; `newest_us`: the place of an entry that it should have."""
        topics = [flow.topic for flow in flows]
        return await self.commands.marks(self.layout, name.scope, name.key(self.layout), topics, newest_us)


class Scan:
    """One pass over a log.

    Args:
        tools: of the session.
        name: the log.
        marks: how far it, and the topics in it, had got.
        again: called with a flow that needs another pass.
    """

    def __init__(self, tools: Tools, name: LogName, marks: Marks, *, again: Callable[[Flow], None]) -> None:
        self._tools = tools
        self._commands = tools.commands
        self._inbox = tools.inbox
        self._options = tools.options
        self._settle = tools.settle
        self._again = again
        self._name = name
        self._log = name.key(tools.layout)
        self._marks = marks

    async def run(self, flows: list[Flow]) -> None:
        """Bring every flow up to date, or leave it behind where its handlers take no more."""
        unwanted = [flow for flow in flows if not self._inbox.recovers(flow)]
        missed = [flow for flow in flows if flow not in unwanted and self._has_missed(flow)]
        busy = {*unwanted, *missed}
        for flow in flows:
            if flow not in busy:
                self._finish(flow)
        await self._skip(unwanted, Cause.DROPPED)
        if missed:
            self._inbox.counts["recoveries"] += 1
            await self._spread(missed)
            await self._read(missed)

    def _has_missed(self, flow: Flow) -> bool:
        """Where the log is not the one that was seen, equal numbers say nothing."""
        return flow.is_replaced or not self._marks.is_whole or self._marks.seqs[flow.topic] != flow.seq

    async def _spread(self, flows: list[Flow]) -> None:
        """After a lost connection other clients read, too. What comes while it waits is read from the log later."""
        ticks = [flow for flow in flows if flow.is_cut and flow.topic.startswith("ticker:")]
        if not ticks:
            return
        missed_s = (self._marks.end_us - min(flow.place_us for flow in ticks)) / 1_000_000
        most = min(self._options.recover_spread_s, missed_s / 10)
        if most > 0:
            for flow in flows:
                flow.held = None
            await self._options.sleep(most * self._options.random())

    async def _read(self, flows: list[Flow]) -> None:
        """Page by page to the log's end."""
        active = {key_of(flow.topic): flow for flow in self._wanting(flows)}
        after, scanned, count = self._start(active.values()), 0, min(_FIRST_COUNT, self._options.recover_count)
        while active:
            if scanned >= self._options.recover_limit and (ticks := [f for f in active.values() if _is_bounded(f)]):
                await self._skip(ticks, Cause.BEYOND_LIMIT)
                active = {key: flow for key, flow in active.items() if flow not in ticks}
                continue
            for flow in active.values():
                flow.hold_anew()
            asked_at = self._options.clock()
            entries = await self._commands.page(self._log, after, count)
            took_s = self._options.clock() - asked_at
            await self._take(entries, active)
            if len(entries) < count:
                await self._end(active.values())
                return
            active = {key: flow for key, flow in active.items() if flow.is_behind and flow.held is not None}
            after, scanned, count = entries[-1][0], scanned + len(entries), self._next_count(count, took_s)
            await self._options.sleep(0)  # the handlers' turn

    def _next_count(self, count: int, took_s: float) -> int:
        """A page must come well before a reply counts as overdue, over a slow link too; and the rest wait behind it."""
        timeout_s = self._options.stream.reply_timeout_s
        if took_s > timeout_s / 5:
            return max(1, count // 2)
        return min(2 * count, self._options.recover_count) if took_s < timeout_s / 20 else count

    def _wanting(self, flows: Iterable[Flow]) -> list[Flow]:
        """Those that are neither blocked nor forgotten."""
        return [flow for flow in flows if flow.is_behind and not self._inbox.is_blocked(flow)]

    def _start(self, flows: Iterable[Flow]) -> bytes:
        place = min((flow.place_us for flow in flows), default=0)
        return id_of(place) if place else START

    async def _take(self, entries: list[Any], wanted: Mapping[bytes, Flow]) -> None:
        """Hand out what is theirs. Before a seq under a new epoch is trusted, the log's name is looked at."""
        for _, flow, raw in pick(entries, wanted):
            if flow.held is None:  # blocked, forgotten, or of another log: since a moment ago
                continue
            try:
                envelope = decode(raw)
            except EnvelopeError as exc:
                self._inbox.teller.junk(exc, flow.topic)
                continue
            if envelope.topic != flow.topic or envelope.seq is None:
                continue
            if envelope.epoch != flow.epoch and self._inbox.is_new_epoch(flow.scope, envelope.epoch):
                await self._settle()
            if flow.held is not None:
                self._inbox.recover(flow, envelope)

    async def _end(self, flows: Iterable[Flow]) -> None:
        """The log was read to its end: what the server counted and was not there is gone."""
        await self._settle()
        gone = [flow for flow in flows if flow.held is not None and self._is_gone(flow)]
        await self._skip(gone, Cause.TRIMMED)
        for flow in flows:
            if flow not in gone:
                self._finish(flow)

    def _is_gone(self, flow: Flow) -> bool:
        counted = self._marks.seqs[flow.topic]
        return counted > 0 if flow.is_replaced else counted > flow.seq

    async def _skip(self, flows: Iterable[Flow], cause: Cause) -> None:
        """Tell what is missing, and go on with the newest value."""
        flows = self._wanting(flows)
        if not flows:
            return
        for flow in flows:
            flow.hold_anew()
        latest = await self._latest(flows)
        if any(value and self._inbox.is_new_epoch(self._name.scope, value.epoch) for value in latest.values()):
            await self._settle()
        for flow in flows:
            if flow.held is not None:
                self._go_on_with(flow, latest.get(flow), cause)
            self._finish(flow)

    def _go_on_with(self, flow: Flow, newest: Envelope | None, cause: Cause) -> None:
        why = Cause.REDIS_LOST if cause is Cause.DROPPED and flow.is_cut else cause
        if newest is not None:
            self._inbox.recover(flow, newest, "latest", why)
        if not flow.is_replaced:
            self._inbox.lose(flow, self._marks.seqs[flow.topic], self._marks.end_us, why)

    async def _latest(self, flows: list[Flow]) -> dict[Flow, Envelope | None]:
        asked = [flow for flow in flows if flow.topic.startswith(_HAS_LATEST)]
        return dict(zip(asked, await self._commands.latest(self._tools.layout, asked), strict=True))

    def _finish(self, flow: Flow) -> None:
        """Go on live, unless its handlers are full; once more where more came than may be held, or from a new log."""
        if flow.is_behind and not self._inbox.is_blocked(flow):
            if flow.held is None:
                self._again(flow)
            else:
                self._inbox.resume(flow)


def _is_bounded(flow: Flow) -> bool:
    """Whether the recovery bound holds for it: for ticks, and for the notices among them."""
    return not flow.scope.startswith("a-") and not flow.topic.startswith("candles:")

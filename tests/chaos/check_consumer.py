"""What each consumer was promised and got: default mode, one incarnation after the other. Pure.

An incarnation is held to account, topic by topic, from the first event it was called with (the latest value or a live
one) to the end of the run; one that was killed, to the last event it was called with: what was under way to a process
when it died is nobody's loss in this mode. Leniencies, no more than these:

- `JOIN_US`: one that lives to the end must have got a first event of each topic this long after it was ready and
  every fault that began in that time was over; else it is `mute`. As long it has to be told that Redis was wiped.
- `RECOVER_LIMIT`: ticks beyond so many entries of the log need not be recovered; a gap that is told will do.
- A gap by ``log_replaced`` names a span instead of seqs: accepted where Redis was killed, or its log replaced.
- Events that Redis forgot when it was killed (an append-only file written every second) were delivered and are not
  in the log: counted as forgotten where Redis was killed, a violation where it was not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Cause

from .findings import Row
from .history import MARKET, scope_of, us
from .numbers import doubled_and_late

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentexchange_schemas import FeedStatus

    from .findings import Findings
    from .history import Call, History, Incarnation, Logged

__all__ = [
    "FORGETFUL",
    "FORGET_US",
    "JOIN_US",
    "Truth",
    "check_consumers",
    "check_order",
    "longest_silence_s",
    "where_of",
]

JOIN_US: Final = us(10.0)
RECOVER_LIMIT: Final = 100_000
"""Entries of the log up to which ticks are recovered (the library's default)."""

FORGETFUL: Final = frozenset({"kill", "lose", "wipe"})
"""Faults of Redis after which it may not have what it acknowledged (a kill: while a sync of its file was under way)."""

FORGET_US: Final = us(5)
"""How long before such a fault upstream may have sent what is forgotten (everysec: 2 s at most, and its way there)."""

ALL: Final = "ticker:all"


class Truth:
    """The log, looked up by topic and number."""

    def __init__(self, history: History) -> None:
        self.by_topic: dict[str, dict[int, Logged]] = {}
        for log in history.logs.values():
            for entry in log.events:
                assert entry.n is not None
                self.by_topic.setdefault(entry.topic, {})[entry.n] = entry
        self._market_us = [entry.r_us for entry in history.logs[MARKET].entries] if MARKET in history.logs else []
        self.sent = {(event.topic, event.n): event.at_us for event in history.sent}
        self.times_us = (history.sent[0].at_us, history.sent[-1].at_us) if history.sent else (0, 0)
        self._forgetful = [fault for fault in history.faults if fault.kind in FORGETFUL and fault.target == "redis"]

    @property
    def may_forget(self) -> bool:
        """Whether Redis may have forgotten anything at all."""
        return bool(self._forgetful)

    def may_be_forgotten(self, topic: str, n: int) -> bool:
        """Whether Redis may have forgotten this event after it had been delivered."""
        at_us = self.sent[topic, n]
        return any(
            fault.kind == "wipe" or fault.start_us - FORGET_US <= at_us <= fault.end_us
            for fault in self._forgetful
            if at_us <= fault.end_us
        )

    def entries_between(self, start_us: int, end_us: int) -> int:
        """How many of the market's entries were received in that time."""
        return bisect_right(self._market_us, end_us) - bisect_left(self._market_us, start_us)

    def topics_of(self, wanted: Iterable[str]) -> list[str]:
        """Concrete topics: the wildcard stands for every ticker in the log."""
        found: dict[str, None] = {}
        for topic in wanted:
            names = [name for name in self.by_topic if name.startswith("ticker:")] if topic == ALL else [topic]
            found.update(dict.fromkeys(names))
        return list(found)


def check_consumers(history: History, truth: Truth, findings: Findings) -> None:
    """Check every incarnation of the default mode."""
    for incarnation in history.incarnations:
        _check_failure(incarnation, findings)
        if incarnation.mode != "default":
            continue
        by_handler: dict[str, list[Call]] = {name: [] for name in incarnation.topics}
        for call in incarnation.calls:
            by_handler.setdefault(call.handler, []).append(call)
        for handler, calls in by_handler.items():
            _Handler(history, truth, incarnation, handler, calls, findings).check()
        _check_gaps(truth, incarnation, findings)
        _check_wipes(history, incarnation, findings)
        _check_notices(history, truth, incarnation, findings)


def longest_silence_s(calls: list[Call], start_us: int, end_us: int) -> float:
    """The longest time between two calls, or between one and the start or end."""
    times = [start_us, *(call.at_us for call in calls if start_us <= call.at_us <= end_us), end_us]
    longest = max((b - a for a, b in pairwise(times)), default=0)
    return round(max(longest, 0) / 1_000_000, 3)


def where_of(incarnation: Incarnation, handler: str = "") -> str:
    """How findings name it."""
    return f"consumer {incarnation.consumer}#{incarnation.number}{' ' + handler if handler else ''}"


class _Handler:
    """One handler of one incarnation."""

    def __init__(
        self,
        history: History,
        truth: Truth,
        incarnation: Incarnation,
        handler: str,
        calls: list[Call],
        findings: Findings,
    ) -> None:
        self._history = history
        self._truth = truth
        self._incarnation = incarnation
        self._calls = calls
        self._findings = findings
        self._wanted = incarnation.topics.get(handler, ())
        self._where = where_of(incarnation, handler)
        self._conflated_left = incarnation.conflated.get(handler, 0)
        self._row = Row(f"{incarnation.consumer}#{incarnation.number}", handler, calls=len(calls))

    def check(self) -> None:
        """Order, doubles, labels and losses of each topic; then the row."""
        row, inc = self._row, self._incarnation
        by_topic: dict[str, list[Call]] = {}
        for call in self._calls:
            by_topic.setdefault(call.topic, []).append(call)
            row.recovered += call.source not in ("live", "latest")
        topics = self._truth.topics_of(self._wanted)
        foreign = [topic for topic in by_topic if topic not in topics and topic not in self._wanted]
        if ALL not in self._wanted:
            self._findings.add("foreign", self._where, "*", foreign, "topics it was not registered for")
        for topic, calls in by_topic.items():
            check_order(calls, topic, self._where, self._row, self._findings)
            self._check_labels(topic, calls)
        for topic in topics:
            self._check_losses(topic, by_topic.get(topic, []))
        start, end = self._truth.times_us
        row.silence_s = longest_silence_s(self._calls, max(start, inc.ready_us), min(end, inc.died_us or end))
        self._findings.rows.append(row)

    def _check_labels(self, topic: str, calls: list[Call]) -> None:
        log = self._truth.by_topic.get(topic, {})
        phantoms: list[str] = []
        unlogged: list[int] = []
        mislabelled: list[str] = []
        for call in calls:
            entry = None if call.n is None else log.get(call.n)
            if call.n is None or (topic, call.n) not in self._truth.sent:
                phantoms.append(str(call.n))
            elif entry is None or (call.seq, call.epoch) != (entry.seq, entry.epoch):
                earlier_life = entry is None or (call.epoch or 0) <= entry.epoch
                if earlier_life and self._truth.may_be_forgotten(topic, call.n):
                    self._row.forgotten += 1  # of an earlier life of the log
                elif entry is None:
                    unlogged.append(call.n)
                else:
                    label = f"{call.n} as seq {call.seq} epoch {call.epoch}, log {entry.seq} epoch {entry.epoch}"
                    mislabelled.append(label)
        self._findings.add("phantom", self._where, topic, phantoms, "called with what was never sent")
        self._findings.add_numbers("unlogged", self._where, topic, unlogged, "called with what is not in the log")
        self._findings.add("mislabelled", self._where, topic, mislabelled)

    def _check_losses(self, topic: str, calls: list[Call]) -> None:
        log = self._truth.by_topic.get(topic, {})
        got = {call.n for call in calls if call.n is not None}
        if not got:
            self._check_mute(topic, log)
            return
        first = next(call.n for call in calls if call.n is not None)
        last = max(got) if self._incarnation.died_us is not None else max(log, default=0)
        missing = [entry for n, entry in sorted(log.items()) if first < n <= last and n not in got]
        undeclared = [entry for entry in missing if not self._is_declared(topic, entry)]
        self._row.declared += len(missing) - len(undeclared)
        self._check_unrecovered(topic, missing)
        lost = undeclared[self._conflate(topic, len(undeclared)) :]
        self._row.lost += len(lost)
        numbers = [entry.n for entry in lost if entry.n is not None]
        self._findings.add_numbers("lost", self._where, topic, numbers, _seqs_of(lost))

    def _check_unrecovered(self, topic: str, missing: list[Logged]) -> None:
        """A gap may be told only of what the log no longer holds, or what lies beyond the recovery bound."""
        told = [entry for entry in missing if any(_names(each.status, topic, entry) for each in self._incarnation.told)]
        if told and (topic == "orders" or not self._is_beyond_bound(told[0], told[-1])):
            numbers = [entry.n for entry in told if entry.n is not None]
            self._findings.add_numbers(
                "unrecovered", self._where, topic, numbers, f"told missing, yet in the log: {_seqs_of(told)}"
            )

    def _is_beyond_bound(self, first: Logged, last: Logged) -> bool:
        if not first.topic.startswith("ticker:"):
            return False
        return self._truth.entries_between(first.r_us, last.r_us) > RECOVER_LIMIT

    def _conflate(self, topic: str, missing: int) -> int:
        """How many of the missing the handler's own queue replaced by newer ones: it counts, and names none."""
        if topic == "orders" or topic.startswith("candles:"):
            return 0
        taken = min(missing, self._conflated_left)
        self._conflated_left -= taken
        self._row.conflated += taken
        return taken

    def _is_declared(self, topic: str, entry: Logged) -> bool:
        return any(_covers(told.status, topic, entry, self._truth) for told in self._incarnation.told)

    def _check_mute(self, topic: str, log: dict[int, Logged]) -> None:
        if self._incarnation.died_us is not None:
            return
        by = _settled_by(self._incarnation.ready_us, self._history)
        late = [n for n, entry in log.items() if entry.r_us >= by]
        self._row.lost += len(late)
        self._findings.add_numbers("mute", self._where, topic, late, "never called, though the log went on")


def _names(status: FeedStatus, topic: str, entry: Logged) -> bool:
    """Whether a gap that was told names this event's seq."""
    first, last = status.first_missing, status.last_missing
    if status.topic != topic or first is None or last is None:
        return False
    return entry.seq is not None and first <= entry.seq <= last


def _covers(status: FeedStatus, topic: str, entry: Logged, truth: Truth) -> bool:
    """Whether a gap that was told holds this event."""
    if status.topic != topic:
        return False
    if status.first_missing is not None:
        return _names(status, topic, entry)
    if status.cause != Cause.LOG_REPLACED or not truth.may_forget or status.until is None:
        return False
    return status.since.timestamp() * 1e6 - 1 <= entry.r_us <= status.until.timestamp() * 1e6 + 1


def _settled_by(since_us: int, history: History) -> int:
    """When what began then must have settled: `JOIN_US` later, and later still with every fault in that time."""
    by = since_us + JOIN_US
    for fault in sorted(history.faults):
        if fault.end_us >= since_us and fault.start_us <= by:
            by = max(by, fault.end_us + JOIN_US)
    return by


def _check_wipes(history: History, incarnation: Incarnation, findings: Findings) -> None:
    """A client that was there before and after Redis was wiped is told that the log is another one."""
    for fault in history.faults:
        by = _settled_by(fault.end_us, history)
        was_there = any(call.at_us < fault.start_us for call in incarnation.calls)
        if fault.kind != "wipe" or not was_there or (incarnation.died_us or history.end_us) < by:
            continue
        told = [each for each in incarnation.told if each.status.cause == Cause.LOG_REPLACED]
        if not any(fault.start_us <= each.at_us <= by for each in told):
            at_s = (history.end_us - fault.start_us) / 1_000_000
            findings.add("unrecognised", where_of(incarnation), "*", [f"wiped {at_s:.1f} s before the end"])


def _seqs_of(entries: list[Logged]) -> str:
    seqs = [entry.seq for entry in entries if entry.seq is not None]
    return f"seq {min(seqs)}..{max(seqs)}, log {entries[0].entry_id}..{entries[-1].entry_id}" if seqs else ""


def _check_failure(incarnation: Incarnation, findings: Findings) -> None:
    if incarnation.failure:
        findings.add("ended", where_of(incarnation), "*", [incarnation.failure], "its client ended by itself")


def _check_gaps(truth: Truth, incarnation: Incarnation, findings: Findings) -> None:
    """A gap that is told must be one: nothing in it may have been delivered, and its count must be its length."""
    got = {(call.topic, call.seq, call.epoch) for call in incarnation.calls}
    for told in incarnation.told:
        status = told.status
        if status.topic is None or status.first_missing is None or status.last_missing is None:
            continue
        length = status.last_missing - status.first_missing + 1
        where = where_of(incarnation)
        if length < 1 or status.count != length:
            text = f"{status.first_missing}..{status.last_missing} with count {status.count}"
            findings.add("false_gap", where, status.topic, [text])
        delivered = [
            entry.n
            for entry in truth.by_topic.get(status.topic, {}).values()
            if entry.seq is not None
            and status.first_missing <= entry.seq <= status.last_missing
            and (status.topic, entry.seq, entry.epoch) in got
        ]
        numbers = [n for n in delivered if n is not None]
        findings.add_numbers("false_gap", where, status.topic, numbers, "told missing, yet delivered")
        findings.figures["gaps_told"] += 1


def _check_notices(history: History, truth: Truth, incarnation: Incarnation, findings: Findings) -> None:
    """Each notice of a blind span or a loss in a log it follows was told to one that lived to the end, and once."""
    if incarnation.died_us is not None or not incarnation.calls:
        return
    told = Counter(_key(each.status) for each in incarnation.told)
    wanted = [topic for topics in incarnation.topics.values() for topic in topics]
    scopes = {MARKET if topic == ALL else scope_of(topic, history.account) for topic in wanted}
    by = _settled_by(incarnation.ready_us, history)
    for scope in sorted(scopes & history.logs.keys()):
        spans = [e for e in history.logs[scope].notices if e.notice and (e.notice.until or e.notice.count is not None)]
        for kind, wrong in (
            ("untold", [e for e in spans if e.r_us >= by and e.notice and not told[_key(e.notice)]]),
            ("told_twice", [e for e in spans if e.notice and told[_key(e.notice)] > 1]),
        ):
            texts = [f"{e.entry_id} {e.notice.cause} {e.notice.message or ''}".strip() for e in wrong if e.notice]
            findings.add(kind, where_of(incarnation), f"status {scope}", texts)


def _key(status: FeedStatus) -> tuple[object, ...]:
    return (status.scope, status.topic, status.state, status.since, status.until, status.cause, status.count)


def check_order(calls: Iterable[Call], topic: str, where: str, row: Row, findings: Findings) -> None:
    """Calls with events of ``topic`` within one life: in order and once."""
    doubled, late = doubled_and_late(call.n for call in calls)
    row.doubled += len(doubled)
    row.out_of_order += len(late)
    findings.add_numbers("doubled", where, topic, doubled)
    findings.add_numbers("out_of_order", where, topic, late)

"""Groups and durable positions: at least once, and doubled only where a death or a long stop explains it. Pure.

Lenient where Redis was killed, or lost its newest writes, within five seconds after an event was handled: its
acknowledgement may be among what was forgotten, and the event comes again, perhaps to another member (counted).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .check_consumer import FORGET_US, FORGETFUL, Truth, check_order, longest_silence_s, where_of
from .findings import Row
from .history import us
from .roster import CLAIM_AFTER_S

if TYPE_CHECKING:
    from .findings import Findings
    from .history import Call, History, Incarnation

__all__ = ["CLAIM_AFTER_US", "check_groups", "check_positions"]

CLAIM_AFTER_US: Final = us(CLAIM_AFTER_S)
"""How long a member may be stopped before its events are another's."""


def check_groups(history: History, truth: Truth, findings: Findings) -> None:
    """Every event after a group's first was handled by some member."""
    groups: dict[str, list[Incarnation]] = {}
    for incarnation in history.incarnations:
        if incarnation.mode == "group":
            groups.setdefault(incarnation.name, []).append(incarnation)
    for name, members in groups.items():
        handled = sorted(
            ((call, member) for member in members for call in member.calls), key=lambda each: each[0].at_us
        )
        row = Row(f"group {name}", "*", calls=len(handled))
        again: set[tuple[str, int | None]] = set()
        for topic in truth.topics_of(
            topic for member in members for topics in member.topics.values() for topic in topics
        ):
            of_topic = [(call, member) for call, member in handled if call.topic == topic and call.n is not None]
            _check_all_handled(f"group {name}", topic, [call for call, _ in of_topic], truth, row, findings)
            again |= _check_twice(f"group {name}", topic, of_topic, history, row, findings)
        for member in members:
            _check_order_of_member(member, members, history, row, findings, forgiven=again)
        row.silence_s = longest_silence_s([call for call, _ in handled], *truth.times_us)
        findings.rows.append(row)


def check_positions(history: History, truth: Truth, findings: Findings) -> None:
    """A consumer with a durable position gets everything after its first event, over all its lives."""
    lives: dict[str, list[Incarnation]] = {}
    for incarnation in history.incarnations:
        if incarnation.mode == "resume":
            lives.setdefault(incarnation.name, []).append(incarnation)
    for name, incarnations in lives.items():
        where = f"position {name}"
        row = Row(where, "*", calls=sum(len(each.calls) for each in incarnations))
        for each in incarnations:
            for topic in {call.topic for call in each.calls}:
                # within one life: in the next one what was not saved comes again
                check_order([call for call in each.calls if call.topic == topic], topic, where_of(each), row, findings)
        calls = [call for each in incarnations for call in each.calls]
        for topic in truth.topics_of(
            topic for each in incarnations for topics in each.topics.values() for topic in topics
        ):
            of_topic = [call for call in calls if call.topic == topic and call.n is not None]
            _check_all_handled(where, topic, of_topic, truth, row, findings, lives=incarnations)
        row.silence_s = longest_silence_s(sorted(calls, key=lambda call: call.at_us), *truth.times_us)
        findings.rows.append(row)


def _check_all_handled(
    where: str,
    topic: str,
    calls: list[Call],
    truth: Truth,
    row: Row,
    findings: Findings,
    *,
    lives: list[Incarnation] | None = None,
) -> None:
    log = truth.by_topic.get(topic, {})
    got = {call.n for call in calls if call.n is not None}
    first = min(got, default=0)
    missing = [entry for n, entry in sorted(log.items()) if n >= first and n not in got]
    declared = {
        entry.n
        for entry in missing
        for each in lives or []
        for told in each.told
        if told.status.topic == topic
        and entry.seq is not None
        and (told.status.first_missing or 1) <= entry.seq <= (told.status.last_missing or 0)
    }
    lost = [entry.n for entry in missing if entry.n is not None and entry.n not in declared]
    row.declared += len(declared)
    row.lost += len(lost)
    findings.add_numbers("lost", where, topic, lost, "handled by nobody")


def _check_twice(
    where: str,
    topic: str,
    calls: list[tuple[Call, Incarnation]],
    history: History,
    row: Row,
    findings: Findings,
) -> set[tuple[str, int | None]]:
    """A second handling is right only where the first member died, or was stopped for too long, in between.

    Returns the events that came again because Redis forgot an acknowledgement.
    """
    first: dict[int | None, tuple[Call, Incarnation]] = {}
    wrong: list[str] = []
    again: set[tuple[str, int | None]] = set()
    for call, member in calls:
        if call.n not in first:
            first[call.n] = (call, member)
            continue
        before, owner = first[call.n]
        if _was_forgotten(before.at_us, call.at_us, history):
            row.forgotten += 1
            again.add((topic, call.n))
            continue
        row.doubled += 1
        if not _gone_between(owner, before.at_us, call.at_us, history):
            wrong.append(f"{call.n} by {where_of(owner)} and {where_of(member)}")
    findings.add("doubled", where, topic, wrong)
    return again


def _was_forgotten(handled_us: int, again_us: int, history: History) -> bool:
    """Whether the acknowledgement of what was handled first may be among what Redis forgot before the second time."""
    return any(
        fault.kind in FORGETFUL
        and fault.target == "redis"
        and fault.start_us - FORGET_US <= handled_us <= fault.end_us
        and again_us >= fault.start_us
        for fault in history.faults
    )


def _gone_between(member: Incarnation, start_us: int, end_us: int, history: History) -> bool:
    if member.died_us is not None and start_us <= member.died_us <= end_us:
        return True
    return any(
        fault.kind == "stop"
        and fault.target == f"consumer:{member.consumer}"
        and fault.end_us - fault.start_us >= CLAIM_AFTER_US
        and fault.start_us <= end_us
        and start_us <= fault.end_us
        for fault in history.faults
    )


def _check_order_of_member(
    member: Incarnation,
    members: list[Incarnation],
    history: History,
    row: Row,
    findings: Findings,
    *,
    forgiven: set[tuple[str, int | None]],
) -> None:
    """Log order within a member, until it may have taken over what another left behind; ``forgiven`` may come late."""
    until = min((each.died_us for each in members if each.died_us is not None), default=history.end_us)
    highest: dict[str, int] = {}
    late: dict[str, list[int]] = {}
    for call in member.calls:
        if call.n is None or call.at_us > until or (call.topic, call.n) in forgiven:
            continue
        if call.n < highest.get(call.topic, 0):
            late.setdefault(call.topic, []).append(call.n)
        highest[call.topic] = max(highest.get(call.topic, 0), call.n)
    for topic, numbers in late.items():
        row.out_of_order += len(numbers)
        findings.add_numbers("out_of_order", where_of(member), topic, numbers)

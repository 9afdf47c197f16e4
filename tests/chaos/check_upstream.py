"""What upstream generated and the log does not hold: each event must lie in a span that a notice tells. Pure.

An event that never got there was received, if at all, at some time that nobody knows: between when it was sent (or
the log's previous event was received, for events of a scope come in order) and when the next event in the log was.
Two leniencies, no more:

- `READ_LAG_US`: how far behind the platform a healthy worker may be in reading its socket. A worker says "blind since
  the last frame I heard", so what was sent before that and still lay in the socket is covered too.
- A disturbance (the worker was stopped, its upstream link delayed, throttled, held): what was sent meanwhile may have
  been on its way until it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import Cause, FeedState

from .history import scope_of, us

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agentexchange_schemas import FeedStatus

    from .findings import Findings
    from .history import Disturbance, Fault, History, ScopeLog, Sent

__all__ = ["CLOCK_SLACK_US", "READ_LAG_US", "Span", "check_takeovers", "check_unwritten", "told_spans"]

READ_LAG_US: Final = us(0.5)
CLOCK_SLACK_US: Final = us(0.05)
"""A worker turns monotonic times into wall times; both processes read one wall clock."""

HAND_OVER_US: Final = us(10)
"""How long after a fault a scope may still change hands: the lease runs out, and both workers find Redis again."""

_ONLY_TICKS: Final = frozenset({Cause.CONFLATED, Cause.LOG_ROLLED_BACK, Cause.LOG_REPLACED})


@dataclass(slots=True)
class Span:
    """A span that a notice tells: blind (``count`` None), or so many events that were received and lost."""

    since_us: float
    until_us: float
    cause: str
    topic: str | None = None
    count: int | None = None
    used: int = 0


@dataclass(slots=True)
class _Missing:
    """An event that the log does not hold; received, if ever, between ``low_us`` and ``high_us``."""

    event: Sent
    low_us: float
    high_us: float
    latest_us: float


def told_spans(log: ScopeLog) -> tuple[list[Span], list[Span]]:
    """The blind spans and the losses that a scope's notices tell; a blind span that has not ended lasts for ever.

    ``redis_lost`` is no blind span: events waited, and were written afterwards, or their loss is told by itself.
    """
    blind: list[Span] = []
    losses: list[Span] = []
    open_since: float | None = None
    open_cause = ""
    for entry in log.notices:
        status = entry.notice
        assert status is not None
        if status.count is not None:
            until = _us(status.until) if status.until else entry.r_us
            losses.append(Span(_us(status.since), until, status.cause or "", status.topic, status.count))
        elif status.topic is None:
            if status.until is not None and status.cause != Cause.REDIS_LOST:
                blind.append(Span(_us(status.since), _us(status.until), status.cause or ""))
            open_since, open_cause = _opened(status, open_since, open_cause)
    if open_since is not None:
        blind.append(Span(open_since, inf, open_cause))
    return blind, losses


def check_unwritten(history: History, findings: Findings) -> None:
    """Each event that was generated is in the log, or in a told span; nothing is there that was not generated."""
    for scope, log in history.logs.items():
        sent = [event for event in history.sent if scope_of(event.topic, history.account) == scope]
        received = {(entry.topic, entry.n): entry.r_us for entry in log.events}
        _check_phantoms(scope, sent, received, findings)
        blind, losses = told_spans(log)
        untold: dict[str, list[Sent]] = {}
        missing = _missing(sent, received, history.disturbances)
        for each in missing:
            if not (_take_loss(each, losses, findings) or _is_blind(each, blind, findings)):
                untold.setdefault(each.event.topic, []).append(each.event)
        for topic, events in untold.items():
            detail = f"neither in the log nor told, sent {_before_end(history, events)}"
            findings.add_numbers("unwritten", f"log {scope}", topic, [event.n for event in events], detail)
        findings.figures["sent"] += len(sent)
        findings.figures["sent_to_nobody"] += sum(not event.connections for event in sent)
        findings.figures["unwritten"] += len(missing)
        findings.figures["told_more_than_lost"] += sum(max(0, (s.count or 0) - s.used) for s in losses)
        blind_us = sum(min(s.until_us, history.end_us) - s.since_us for s in blind)
        findings.figures["written_inside_blind"] += sum(
            any(span.since_us < r_us < span.until_us for span in blind) for r_us in received.values()
        )
        findings.figures[f"blind_ms {scope}"] += round(blind_us / 1000)


def check_takeovers(history: History, findings: Findings) -> None:
    """A scope changes hands only for a reason: a fault of a worker, of Redis, or of a link between the two."""
    faults = [fault for fault in history.faults if not _is_of_consumer(fault, history)]
    for scope, log in history.logs.items():
        begun = [e for e in log.notices if e.notice and e.notice.cause == Cause.TAKEOVER and e.notice.until is None]
        findings.figures["takeovers"] += len(begun)
        needless = [
            f"{entry.entry_id}, {(history.end_us - entry.r_us) / 1e6:.1f} s before the end"
            for entry in begun
            if not any(fault.start_us <= entry.r_us <= fault.end_us + HAND_OVER_US for fault in faults)
        ]
        findings.add("needless_takeover", f"log {scope}", "status", needless, "nothing had failed")


def _before_end(history: History, events: list[Sent]) -> str:
    first, last = ((history.end_us - event.at_us) / 1_000_000 for event in (events[0], events[-1]))
    return f"{first:.2f} to {last:.2f} s before the end"


def _is_of_consumer(fault: Fault, history: History) -> bool:
    names = {incarnation.consumer for incarnation in history.incarnations}
    return fault.kind == "junk" or fault.target.partition(":")[2] in names


def _opened(status: FeedStatus, since: float | None, cause: str) -> tuple[float | None, str]:
    if status.state in (FeedState.LIVE, FeedState.CONNECTING):
        return None, ""
    if status.until is None and since is None:
        return _us(status.since), status.cause or ""
    return since, cause


def _check_phantoms(
    scope: str, sent: list[Sent], received: dict[tuple[str, int | None], int], findings: Findings
) -> None:
    known = {(event.topic, event.n) for event in sent}
    phantoms = [f"{topic} {n}" for topic, n in received if (topic, n) not in known]
    findings.add("phantom", f"log {scope}", "*", phantoms, "in the log, never sent")


def _missing(
    sent: list[Sent], received: dict[tuple[str, int | None], int], disturbances: list[Disturbance]
) -> list[_Missing]:
    """The events that the log does not hold, with the span in which each could have been received."""
    found: list[_Missing] = []
    previous: float = -inf
    waiting = 0
    for event in sent:
        r_us = received.get((event.topic, event.n))
        if r_us is None:
            latest = _latest_us(event.at_us, disturbances)
            found.append(_Missing(event, max(event.at_us, previous), inf, latest))
            continue
        for each in found[waiting:]:
            each.high_us = r_us
        waiting = len(found)
        previous = max(previous, r_us)
    return found


def _latest_us(at_us: int, disturbances: Iterable[Disturbance]) -> float:
    """Until when an event sent at ``at_us`` may have been on its way."""
    latest = at_us + READ_LAG_US
    for start, end in sorted(disturbances):
        if start <= latest:
            latest = max(latest, end + READ_LAG_US if at_us <= end else latest)
    return latest


def _take_loss(missing: _Missing, losses: list[Span], findings: Findings) -> bool:
    """Charge the event to a notice of lost events that can mean it and has not told of others already."""
    topic = missing.event.topic
    for span in losses:
        if span.topic not in (None, topic) or span.used >= (span.count or 0):
            continue
        if span.cause in _ONLY_TICKS and not topic.startswith("ticker:"):
            continue  # orders, candles and portfolio are written again, and never conflated
        if span.since_us - CLOCK_SLACK_US <= missing.high_us and span.until_us + CLOCK_SLACK_US >= missing.low_us:
            span.used += 1
            findings.figures[f"told {span.cause}"] += 1
            return True
    return False


def _is_blind(missing: _Missing, blind: list[Span], findings: Findings) -> bool:
    for span in blind:
        if span.since_us - CLOCK_SLACK_US <= missing.latest_us and span.until_us + CLOCK_SLACK_US >= missing.low_us:
            findings.figures[f"told {span.cause or 'blind'}"] += 1
            return True
    return False


def _us(time: datetime) -> float:
    return round(time.timestamp() * 1_000_000)

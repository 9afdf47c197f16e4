"""Checks on the log itself: ids, epochs, seqs, numbers, and the keys that must agree with it. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from agentexchange_schemas.envelope import log_id

from .numbers import doubled_and_late

if TYPE_CHECKING:
    from .findings import Findings
    from .history import Logged, ScopeLog

__all__ = ["check_log"]


def check_log(scope: str, log: ScopeLog, findings: Findings) -> None:
    """Every entry names its place, epochs never fall, no topic's seq has a hole, no event is there twice."""
    where = f"log {scope}"
    for wiped in log.earlier:
        check_log(scope, wiped, findings)
    for stream in (log.entries, log.candles):
        _check_ids(where, stream, findings)
        _check_epochs(where, stream, findings)
    topics = _by_topic(log)
    for topic, entries in topics.items():
        _check_seqs(where, topic, entries, findings, is_whole=log.is_whole)
        _check_numbers(where, topic, entries, findings)
    if log.has_keys:
        _check_keys(where, log, topics, findings)
    findings.figures["entries"] += len(log.entries) + len(log.candles)
    findings.figures["notices"] += sum(entry.notice is not None for entry in log.entries)


def _by_topic(log: ScopeLog) -> dict[str, list[Logged]]:
    topics: dict[str, list[Logged]] = {}
    for entry in (*log.entries, *log.candles):
        topics.setdefault(entry.topic, []).append(entry)
    return topics


def _check_ids(where: str, stream: list[Logged], findings: Findings) -> None:
    wrong = [f"{e.entry_id} holds r {e.r_us}" for e in stream if e.entry_id != log_id(e.r_us)]
    findings.add("misplaced", where, "*", wrong, "an entry's id is not its envelope's r")
    behind = [f"{b.entry_id} after {a.entry_id}" for a, b in pairwise(stream) if b.r_us <= a.r_us]
    findings.add("misplaced", where, "*", behind, "r does not grow")


def _check_epochs(where: str, stream: list[Logged], findings: Findings) -> None:
    fallen = [
        f"{b.epoch} after {a.epoch} at {b.entry_id} ({b.topic} {b.n})" for a, b in pairwise(stream) if b.epoch < a.epoch
    ]
    findings.add("epoch_fell", where, "*", fallen, "written under an old epoch")


def _check_seqs(where: str, topic: str, entries: list[Logged], findings: Findings, *, is_whole: bool) -> None:
    unnumbered = [e.entry_id for e in entries if e.seq is None]
    findings.add("seq_hole", where, topic, unnumbered, "no seq in a log")
    seqs = [e.seq for e in entries if e.seq is not None]
    if is_whole and seqs and seqs[0] != 1:
        findings.add("seq_hole", where, topic, [f"begins at {seqs[0]}"])
    holes = [f"{a} -> {b}" for a, b in pairwise(seqs) if b != a + 1]
    findings.add("seq_hole", where, topic, holes)


def _check_numbers(where: str, topic: str, entries: list[Logged], findings: Findings) -> None:
    twice, late = doubled_and_late(entry.n for entry in entries)
    findings.add_numbers("written_twice", where, topic, twice)
    findings.add_numbers("written_out_of_order", where, topic, late)


def _check_keys(where: str, log: ScopeLog, topics: dict[str, list[Logged]], findings: Findings) -> None:
    for topic, entries in topics.items():
        last = entries[-1]
        if log.seqs.get(topic) != last.seq:
            findings.add("key_differs", where, topic, [f"seq hash {log.seqs.get(topic)}, log {last.seq}"])
        latest = log.latest.get(topic)
        if latest is not None and latest != last.entry_id:
            findings.add("key_differs", where, topic, [f"latest key {latest}, log {last.entry_id}"])

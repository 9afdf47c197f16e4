"""What each process received, and whether it is the same: pure, over digests of events."""

from __future__ import annotations

import json
import zlib
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Check", "Record", "Series", "compare", "digest"]

_HOLE: Final = 0  # the digest of an event that never came


def digest(fields: Mapping[str, Any]) -> int:
    """A number from 1 on that stands for an event's fields, the same in every process."""
    return zlib.crc32(json.dumps(fields, sort_keys=True).encode()) or 1


@dataclass(slots=True)
class Series:
    """One topic's events from its ``first`` seq on."""

    first: int
    digests: array[int] = field(default_factory=lambda: array("I"))
    repeated: int = 0
    missing: int = 0

    @property
    def end(self) -> int:
        """The seq after the last one."""
        return self.first + len(self.digests)

    def add(self, seq: int, value: int) -> None:
        """Take one event."""
        if seq < self.end:
            self.repeated += 1
            return
        hole = seq - self.end
        self.missing += hole
        self.digests.extend([_HOLE] * hole)
        self.digests.append(value)

    def part(self, first: int, end: int) -> array[int]:
        """The digests of a range of seqs."""
        return self.digests[first - self.first : end - self.first]


class Record:
    """What one process received, by topic; or what the log holds."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}

    def add(self, topic: str, seq: int, fields: Mapping[str, Any]) -> None:
        """Take one event."""
        self.series.setdefault(topic, Series(seq)).add(seq, digest(fields))

    @property
    def events(self) -> int:
        """How many came."""
        return sum(len(series.digests) - series.missing for series in self.series.values())

    def to_json(self) -> dict[str, Any]:
        """As a file carries it."""
        return {
            topic: {
                "first": series.first,
                "digests": series.digests.tolist(),
                "repeated": series.repeated,
                "missing": series.missing,
            }
            for topic, series in self.series.items()
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Record:
        """Read what `to_json` wrote."""
        record = cls()
        record.series = {
            topic: Series(part["first"], array("I", part["digests"]), part["repeated"], part["missing"])
            for topic, part in value.items()
        }
        return record


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the summary."""

    name: str
    passed: bool
    found: str


def compare(records: Mapping[str, Record], log: Record) -> list[Check]:
    """Judge what processes received: complete, in order, and the same everywhere.

    Args:
        records: by process.
        log: what Redis holds, the truth.
    """
    checks = [_complete(name, record) for name, record in records.items()]
    checks += [_same(f"{name} = log", record, log) for name, record in records.items()]
    names = list(records)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            if records[one].series.keys() & records[other].series.keys():
                checks.append(_same(f"{one} = {other}", records[one], records[other]))
    return checks


def _complete(name: str, record: Record) -> Check:
    missing = sum(series.missing for series in record.series.values())
    repeated = sum(series.repeated for series in record.series.values())
    found = f"{record.events:,} events of {len(record.series)} topics, {missing} missing, {repeated} twice"
    return Check(name, passed=bool(record.events) and not missing and not repeated, found=found)


def _same(name: str, one: Record, other: Record) -> Check:
    """Whether both hold the same events wherever their ranges of seqs meet, and end alike."""
    events, faults = 0, []
    for topic, mine, theirs in _common(one, other):
        first, end = max(mine.first, theirs.first), min(mine.end, theirs.end)
        if mine.end != theirs.end:
            faults.append(f"{topic} ends at {mine.end - 1}, not {theirs.end - 1}")
        elif mine.part(first, end) != theirs.part(first, end):
            faults.append(f"{topic} differs between {first} and {end - 1}")
        events += max(0, end - first)
    if not events:
        return Check(name, passed=False, found="nothing to compare")
    found = "; ".join(faults[:3]) if faults else f"{events:,} events equal"
    return Check(name, passed=not faults, found=found)


def _common(one: Record, other: Record) -> Iterator[tuple[str, Series, Series]]:
    for topic, series in one.series.items():
        if topic in other.series:
            yield topic, series, other.series[topic]

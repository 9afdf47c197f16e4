"""What a check finds: violations of a promise, and figures about how it was kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Findings", "Row", "Violation", "ranges"]

MAX_EXAMPLES: Final = 4


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise.

    Attributes:
        kind: one word, such as ``lost``; `checker` lists them.
        where: ``log m0``, ``consumer one#2 on_btc``, ``upstream``, …
        topic: of the events.
        count: how many events.
        detail: which, and what is wrong with them.
    """

    kind: str
    where: str
    topic: str
    count: int
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.topic}: {self.count}: {self.detail}"


@dataclass(slots=True)
class Row:
    """One handler of one consumer's incarnation, or one group.

    Attributes:
        consumer: name and incarnation.
        handler: its name.
        calls: how often it was called.
        lost: events of the log that it neither got nor was told of.
        doubled: calls with an event that it had already got.
        out_of_order: calls with an event older than one before.
        declared: events it was told to be missing.
        recovered: calls whose source is neither live nor latest.
        conflated: events that its own queue replaced by newer ones.
        forgotten: calls with events that a killed Redis forgot afterwards.
        silence_s: longest time without a call while upstream was sending.
    """

    consumer: str
    handler: str
    calls: int = 0
    lost: int = 0
    doubled: int = 0
    out_of_order: int = 0
    declared: int = 0
    recovered: int = 0
    conflated: int = 0
    forgotten: int = 0
    silence_s: float = 0.0


@dataclass(slots=True)
class Findings:
    """Everything that the checker has to say about one run."""

    violations: list[Violation] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, where: str, topic: str, examples: Sequence[object], detail: str = "") -> None:
        """Record a violation if there are any ``examples``, one for each event."""
        if examples:
            shown = ", ".join(str(each) for each in examples[:MAX_EXAMPLES])
            more = f" … and {len(examples) - MAX_EXAMPLES} more" if len(examples) > MAX_EXAMPLES else ""
            text = f"{detail + ': ' if detail else ''}{shown}{more}"
            self.violations.append(Violation(kind, where, topic, len(examples), text))

    def add_numbers(self, kind: str, where: str, topic: str, numbers: Sequence[int], detail: str = "") -> None:
        """Record a violation if there are any ``numbers``, told as ranges."""
        if numbers:
            text = f"{detail + ': ' if detail else ''}numbers {ranges(numbers)}"
            self.violations.append(Violation(kind, where, topic, len(numbers), text))

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations

    def totals(self) -> dict[str, int]:
        """Events per kind of violation."""
        sums: Counter[str] = Counter()
        for violation in self.violations:
            sums[violation.kind] += violation.count
        return dict(sums)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "clean": self.is_clean,
            "totals": self.totals(),
            "figures": dict(self.figures),
            "rows": [asdict(row) for row in self.rows],
            "violations": [asdict(violation) for violation in self.violations],
        }


def ranges(numbers: Iterable[int], *, limit: int = 6) -> str:
    """``1-3, 7, 9-12``: at most ``limit`` of them are shown."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    shown = ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in spans[:limit])
    return shown + (f", … ({len(spans)} ranges)" if len(spans) > limit else "")

"""A run's report: for people as text, for programs as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .findings import Findings, Violation
    from .runner import Result

__all__ = ["as_json", "as_text"]

_COLUMNS = ("calls", "lost", "doubled", "out_of_order", "declared", "recovered", "conflated", "forgotten", "silence_s")
MAX_LINES = 60
MAX_TOPICS = 3


def as_text(findings: Findings, result: Result) -> str:
    """Tables of consumers, figures and memory, then every violation."""
    rows = [[row.consumer, row.handler, *(str(getattr(row, name)) for name in _COLUMNS)] for row in findings.rows]
    parts = [
        _table(["consumer", "handler", *_COLUMNS], rows),
        "\n".join(f"{name:<40} {value}" for name, value in sorted(findings.figures.items())),
        _table(
            ["memory, MB", "first", "peak", "last"],
            [[name, *(f"{value:g}" for value in (m.first, m.peak, m.last))] for name, m in result.memory.items()],
        ),
        _table(["notice", "", "seconds before the end", "cause", "topic", "count"], _notices(result)),
        *(f"trouble: {text}" for text in result.troubles),
        "\n".join(_violations(findings)),
    ]
    verdict = "clean" if findings.is_clean else f"violations, events by kind: {findings.totals()}"
    return "\n\n".join([*parts, verdict])


def as_json(findings: Findings, result: Result, **about: Any) -> dict[str, Any]:
    """All of it as plain values; ``about`` goes first."""
    faults = [fault._asdict() for fault in result.history.faults]
    memory = {name: {"first": m.first, "peak": m.peak, "last": m.last} for name, m in result.memory.items()}
    return {**about, **findings.to_json(), "faults": faults, "memory_mb": memory, "troubles": result.troubles}


def _violations(findings: Findings) -> list[str]:
    """One line for each kind and place; many topics of one are summed, the JSON report has them all."""
    groups: dict[tuple[str, str], list[Violation]] = {}
    for violation in findings.violations:
        groups.setdefault((violation.kind, violation.where), []).append(violation)
    lines = []
    for (kind, where), group in groups.items():
        if len(group) <= MAX_TOPICS:
            lines += [f"VIOLATION {violation}" for violation in group]
            continue
        total = sum(violation.count for violation in group)
        largest = max(group, key=lambda violation: violation.count)
        lines.append(
            f"VIOLATION {kind}: {where}: {len(group)} topics: {total}, such as {largest.topic}: {largest.detail}"
        )
    return lines[:MAX_LINES] + ([f"… and {len(lines) - MAX_LINES} more lines"] if len(lines) > MAX_LINES else [])


def _notices(result: Result) -> list[list[str]]:
    """What the logs tell of the feed: spans as seconds before the run's end, as faults would be looked up."""
    end = result.history.end_us / 1_000_000
    rows = []
    for scope, log in result.history.logs.items():
        for entry in log.notices:
            status = entry.notice
            assert status is not None
            until = f"{status.until.timestamp() - end:.3f}" if status.until else ""
            span = f"{entry.r_us / 1e6 - end:9.3f}: {status.since.timestamp() - end:.3f} .. {until}"
            count = "" if status.count is None else str(status.count)
            rows.append([scope[:6], str(status.state), span, status.cause or "", status.topic or "", count])
    return rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )

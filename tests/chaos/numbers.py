"""Numbers of one topic as they came: which came again, and which too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["doubled_and_late"]


def doubled_and_late(numbers: Iterable[int | None]) -> tuple[list[int], list[int]]:
    """Those that had come before, and new ones that came behind a higher one; None is what has no number."""
    seen: set[int] = set()
    highest = 0
    doubled: list[int] = []
    late: list[int] = []
    for n in numbers:
        if n is None:
            continue
        if n in seen:
            doubled.append(n)
        elif n < highest:
            late.append(n)
        seen.add(n)
        highest = max(highest, n)
    return doubled, late

"""What a check found, and the one sentence that mends it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

__all__ = ["Finding", "Level", "fail", "ok", "warn"]


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, until it does not: worth a change."""
    FAIL = "fail"
    """It does not work, or loses data."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: what was checked, what was found, and how to fix it ("" where nothing is to fix)."""

    check: str
    level: Level
    found: str
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """For ``--json``."""
        return {name: str(value) for name, value in asdict(self).items()}


def ok(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, Level.OK, found)


def warn(check: str, found: str, fix: str) -> Finding:
    """Worth a change."""
    return Finding(check, Level.WARN, found, fix)


def fail(check: str, found: str, fix: str) -> Finding:
    """Must be changed."""
    return Finding(check, Level.FAIL, found, fix)

"""One thing that somebody hostile does, and what comes of it: the rows of the table in docs/security.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["COUNTED", "DROPPED", "RECONNECT", "Attack", "table"]

COUNTED = "one counted error"
DROPPED = "not handed out"
RECONNECT = "one reconnect, nothing lost"


@dataclass(frozen=True)
class Attack:
    """What is done, in words and as a function, and the outcome that the tests hold it to."""

    name: str
    do: Callable[[Any], Any]
    outcome: str = COUNTED

    def __str__(self) -> str:
        return self.name


def table(attacks: Iterable[Attack]) -> str:
    """As Markdown."""
    rows = "\n".join(f"| {attack.name} | {attack.outcome} |" for attack in attacks)
    return f"| attack | outcome |\n| --- | --- |\n{rows}\n"

"""What reading interest gives: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agentexchange_schemas import Interest

__all__ = ["Client", "Found"]


class Client(NamedTuple):
    """Which client: its account's scope, and its part of its hash's name."""

    account: str
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a read has found of one client.

    Attributes:
        client: which one.
        interest: its hash; None where there is none, or none that can be read.
        left_s: how long it still lives without a renewal, by the server's clock.
        fault: why it cannot be read.
    """

    client: Client
    interest: Interest | None = None
    left_s: float = 0.0
    fault: str | None = None

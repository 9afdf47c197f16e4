"""Who a member of a group is: what its logs have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentexchange._acked.options import GroupOptions
    from agentexchange_schemas import Layout

__all__ = ["Member"]


@dataclass(slots=True, kw_only=True)
class Member:
    """One member.

    Attributes:
        group: the group's name.
        consumer: its own, unlike every other's.
        options: times and limits.
        layout: the names; may change with a connection.
        tell: tells the status handlers something of a scope.
        log_name: the name of a scope's log as last seen, b"" where none is known.
        mask: takes secrets out of error texts.
    """

    group: str
    consumer: str
    options: GroupOptions
    layout: Layout
    tell: Callable[..., None]
    log_name: Callable[[str], bytes]
    mask: Callable[[str], str]

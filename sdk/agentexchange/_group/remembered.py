"""What a member has handled lately: Redis may have forgotten after a restart that it was."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Remembered"]

_MOST: Final = 20_000


class Remembered:
    """The newest entries that were added, each as its stream and its id.

    Args:
        most: how many are known at a time.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._order: deque[tuple[str, bytes]] = deque()
        self._entries: set[tuple[str, bytes]] = set()

    def __contains__(self, entry: tuple[str, bytes]) -> bool:
        return entry in self._entries

    def add(self, entries: Iterable[tuple[str, bytes]]) -> None:
        """Remember these, and forget the oldest beyond the bound."""
        for entry in entries:
            self._order.append(entry)
            self._entries.add(entry)
        while len(self._order) > self._most:
            self._entries.discard(self._order.popleft())

"""Folding ticks that come twice while a symbol is subscribed both ways."""

from __future__ import annotations

from typing import Any

__all__ = ["Twins"]


class Twins:
    """Folds in pairs: nothing tells the copies apart, so a a a a are two ticks."""

    def __init__(self) -> None:
        self._halves: dict[str, dict[str, Any]] = {}

    def is_second(self, topic: str, fields: dict[str, Any]) -> bool:
        """Whether this tick is the copy of the one before it on its topic. Called for doubled topics only."""
        if self._halves.get(topic) == fields:
            del self._halves[topic]
            return True
        # a copy, because the sink owns what it is given and may change it
        self._halves[topic] = fields.copy()
        return False

    def keep(self, doubled: frozenset[str]) -> None:
        """Forget halves of topics that no longer come twice."""
        for topic in self._halves.keys() - doubled:
            del self._halves[topic]

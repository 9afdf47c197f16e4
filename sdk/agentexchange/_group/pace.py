"""How many entries a member of a group takes at once: pure."""

from __future__ import annotations

__all__ = ["Prefetch"]

_GROWTH = 4
_WEIGHT = 0.5  # of the newest measurement


class Prefetch:
    """Adapts to the handlers' time, so that a slow member holds little that others could do.

    Args:
        most: the bound.
        target_s: how long handling what is held may take, about.
    """

    def __init__(self, most: int, target_s: float) -> None:
        self._most = most
        self._target_s = target_s
        self._event_s: float | None = None
        self.count = 1

    def took(self, events: int, seconds: float) -> None:
        """So many events were handled in so long."""
        if events <= 0:
            return
        each = max(seconds / events, 1e-7)
        self._event_s = each if self._event_s is None else _WEIGHT * each + (1 - _WEIGHT) * self._event_s
        affordable = int(self._target_s / max(self._event_s, each))
        self.count = max(1, min(affordable, self.count * _GROWTH, self._most))

"""Joining two sessions' ticks of one symbol without a hole and without a repeat: by content and count, without I/O.

The new session is subscribed before the old one is left, so for a while both bring the same ticks, and one may lag
behind the other. The ticks have no number. What is known: each session brings them in order, and the old one brings
the last tick that is its own before the platform's word that it is left. So the last k ticks of the old session are
the first k of the new one, for a k between two bounds, and content tells which.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

__all__ = ["Overlap"]

Tick: TypeAlias = "dict[str, Any]"


class Overlap:
    """Give it the old session's ticks, which go out as they come, and the new one's, which wait; it says what follows.

    Equal ticks are legal, so that several k may fit. The longest is taken: no tick goes out twice. Nothing is lost
    unless `ambiguous` says how many at most.

    Args:
        limit: ticks of the new session that may wait; of the old one, twice as many are remembered.

    Attributes:
        is_done: from here on the new session's ticks go out as they come.
        ambiguous: how many ticks may have been taken for repeats wrongly, at most.
        repeats: ticks of the new session that did not go out.
        is_joined: False once the old session broke off, and nothing shows that the new one was there by then.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.is_done = False
        self.ambiguous = 0
        self.repeats = 0
        self.is_joined = True
        self.restart()

    def restart(self) -> None:
        """The new session is asked from now on: what came before is in the old one alone."""
        self._old: deque[Tick] = deque(maxlen=2 * self._limit)
        self._ended: list[Tick] = []
        self._new: list[Tick] = []
        self._least = 0
        self._is_cut = self._is_lost = False
        self._fits: list[int] | None = None

    @property
    def has_proof(self) -> bool:
        """Whether the new session has brought a tick: then it is sure to overlap with an old one that is left later."""
        return bool(self._new)

    @property
    def is_full(self) -> bool:
        """Whether no more may wait: the old session is to be taken for ended."""
        return self._fits is None and len(self._new) >= self._limit

    def old(self, tick: Tick) -> None:
        """A tick of the old session, which goes out now. A copy is kept: its taker may change it."""
        self._old.append(tick.copy())

    def leaving(self) -> None:
        """The old session is being left: what the new one brought until now, the old one brings too."""
        self._least = len(self._new)

    def cut(self) -> None:
        """The new session was lost. What it brings after this does not follow what it brought before."""
        self._is_cut = True

    def new(self, tick: Tick) -> list[Tick]:
        """A tick of the new session: what goes out."""
        if self._fits is None:
            if not self._is_cut:
                self._new.append(tick)
            return []
        self._new.append(tick)
        place = len(self._new) - 1
        old, length = self._ended, len(self._ended)
        self._fits = [k for k in self._fits if k <= place or old[length - k + place] == tick]
        return self._joined(self._fits)

    def old_ended(self, *, lost: bool = False) -> list[Tick]:
        """The old session has brought its last: what goes out.

        Args:
            lost: it broke off, so that it may not have brought all that it should.
        """
        self._is_lost = lost
        self._least = 0 if lost else self._least
        self.is_joined = self.has_proof or not lost
        self._ended = list(self._old)
        self._fits = [k for k in _overlaps(self._ended, self._new) if k >= self._least]
        out = self._joined(self._fits)
        if self._is_cut:
            self.is_done = True
        return out

    def new_ended(self, *, lost: bool = False) -> list[Tick]:
        """The new session has brought its last, after the old one: what goes out. All that it repeats has come.

        Args:
            lost: it broke off, so that it may have brought nothing but repeats.
        """
        count = len(self._new)
        self._fits = [k for k in self._fits or () if k <= count]
        return self._joined([count, *self._fits] if lost else self._fits)

    def _joined(self, fits: list[int]) -> list[Tick]:
        """What goes out once no more repeats are expected; until then nothing."""
        # by count where content fails, as when the two sessions word a tick differently
        longest = fits[0] if fits else min(self._least, len(self._new))
        if longest > len(self._new):
            return []
        self.is_done = True
        self.is_joined = self.is_joined and (longest > 0 or not self._is_lost)
        self.ambiguous = longest - fits[-1] if fits else longest
        self.repeats = longest
        return self._new[longest:]


def _overlaps(old: list[Tick], new: list[Tick]) -> list[int]:
    """Every k, longest first, for which the last k of ``old`` and the first k of ``new`` agree as far as both go.

    Knuth, Morris and Pratt's search: linear, also where all ticks are equal.
    """
    if not new:
        return list(range(len(old), -1, -1))
    failure, state, behind = _failure(new), 0, []
    for index, tick in enumerate(old, start=1):
        if state == len(new):
            state = failure[-1]
        while state and tick != new[state]:
            state = failure[state - 1]
        state += tick == new[state]
        if state == len(new) and index < len(old):
            behind.append(len(old) - index + len(new))
    borders = []
    while state:
        borders.append(state)
        state = failure[state - 1]
    return [*behind, *borders, 0]


def _failure(ticks: list[Tick]) -> list[int]:
    """For each beginning of ``ticks``, the length of its longest true end that is a beginning too."""
    table, state = [0] * len(ticks), 0
    for index in range(1, len(ticks)):
        while state and ticks[index] != ticks[state]:
            state = table[state - 1]
        state += ticks[index] == ticks[state]
        table[index] = state
    return table

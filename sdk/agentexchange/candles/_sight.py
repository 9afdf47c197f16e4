"""Which symbols' ticks may be missed at this moment, and why: a span ends when its last reason is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Sight"]


class Blind(Protocol):
    """`CandleBuilder.blind`."""

    def __call__(self, since_us: int, until_us: int | None = None, *, symbol: str | None = None) -> None:
        """Tell that ticks were missed."""


class Sight:
    """Tells ``blind`` of the spans in which single symbols are not seen."""

    def __init__(self, blind: Blind) -> None:
        self._blind = blind
        self._unsettled: dict[str, None] = {}
        self._in_trouble: set[str] = set()

    def waiting(self) -> Collection[str]:
        """The symbols whose ticker has not settled."""
        return tuple(self._unsettled)

    def unsettled(self, symbol: str, since_us: int) -> None:
        """Its ticker is asked for (again): until upstream has answered, nothing comes."""
        self._unsettled[symbol] = None
        self._blind(since_us, symbol=symbol)

    def settled(self, symbol: str, now_us: int) -> None:
        """Upstream has answered."""
        self._unsettled.pop(symbol, None)
        if symbol not in self._in_trouble:
            self._blind(now_us, now_us, symbol=symbol)

    def trouble(self, symbol: str, since_us: int, until_us: int | None) -> None:
        """Its ticker is refused or blind, or is so no longer."""
        if until_us is None:
            self._in_trouble.add(symbol)
        else:
            self._in_trouble.discard(symbol)
        self._blind(since_us, None if symbol in self._unsettled else until_us, symbol=symbol)

    def forget(self, symbol: str) -> None:
        """Nobody wants it any more."""
        self._unsettled.pop(symbol, None)
        self._in_trouble.discard(symbol)

    def tell_again(self, now_us: int) -> None:
        """After a restore, which replaces what was told of a symbol: what lasts, lasts on."""
        for symbol in (*self._unsettled, *self._in_trouble):
            self._blind(now_us, symbol=symbol)

"""The market: a seeded random walk per pair, made for tens of thousands of ticks per second.

The n-th tick of a seed is the same in every run: pair, price, quantity and side. Only the timestamp
comes from outside. Everything is integer arithmetic, because a float's last digit shows in a price string.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from agentexchange.testing._pairs import PairSpec

__all__ = ["Market", "Pair", "decimal_text"]

_FRACTION_BITS = 20  # the walk keeps this much below the smallest unit: cheap pairs move too
_LEAST = 1 << _FRACTION_BITS
_TABLE_BITS = 14
_ONE = 10**8  # prices and quantities are printed with eight decimal places
_PULL_BITS = 22  # how weakly the price is pulled to where it began: a run of days stays plausible
_SIZES = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 6)  # most trades are small, a few are large


def decimal_text(units: int, per_unit: int) -> str:
    """``units`` of ``per_unit`` hundred-millionths each, as the platform prints it: ``64521.30000000``."""
    whole, rest = divmod(units * per_unit, _ONE)
    return f"{whole}.{rest:08d}"


class Pair:
    """One pair's running state; ``price`` and ``lot`` count smallest units (see ``PairSpec``)."""

    __slots__ = ("anchor", "lot", "lot_scale", "noise", "price_scale", "spec", "symbol", "walk")

    def __init__(self, spec: PairSpec) -> None:
        self.spec = spec
        self.symbol = spec.symbol
        self.walk = self.anchor = spec.price << _FRACTION_BITS
        # The sum of two signed bytes has a deviation of about 104.
        self.noise = max(1, round(spec.volatility / 104 * 2**32))
        self.lot = spec.lot
        self.price_scale = 10 ** (8 - spec.price_decimals)
        self.lot_scale = 10 ** (8 - spec.lot_decimals)

    @property
    def price(self) -> int:
        """The last price in smallest units."""
        return self.walk >> _FRACTION_BITS

    @price.setter
    def price(self, units: int) -> None:
        self.walk = self.anchor = max(1, units) << _FRACTION_BITS

    def price_units(self, text: str) -> int | None:
        """A price string in smallest units, None when it is no positive number."""
        return _units(text, self.spec.price_decimals)

    def lot_units(self, text: str) -> int | None:
        """A quantity string in smallest units, None when it is no positive number."""
        return _units(text, self.spec.lot_decimals)


def _units(text: str, decimals: int) -> int | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return round(value.scaleb(decimals)) if value.is_finite() and 0 < value < _ONE else None


def _table(pairs: Sequence[Pair]) -> list[Pair]:
    """A pair's entries in the table are its share of the ticks; each has one at least."""
    slots = (1 << _TABLE_BITS) - len(pairs)
    total = sum(pair.spec.weight for pair in pairs)
    table = [pair for pair in pairs for _ in range(1 + int(slots * pair.spec.weight / total))]
    return table + [pairs[0]] * ((1 << _TABLE_BITS) - len(table))


class Market:
    """All pairs and the generator that drives them."""

    def __init__(self, specs: Sequence[PairSpec], seed: int) -> None:
        self.pairs = {spec.symbol: Pair(spec) for spec in specs}
        self._bits = Random(f"market:{seed}").getrandbits  # noqa: S311  # a market to test with, not a secret
        self._table = _table(list(self.pairs.values()))

    def ticks(
        self,
        count: int,
        stamp: str,
        *,
        encode: Callable[[str, str, str, str, bool], bytes],
        wanted: Container[str] | None,
        trade: Callable[[Pair, int, int], None] | None = None,
    ) -> list[tuple[str, bytes]]:
        """Make the next ``count`` ticks, all of time ``stamp``.

        Args:
            count: how many.
            stamp: the timestamp they carry.
            encode: (symbol, price, quantity, timestamp, is_buyer_maker) to a frame.
            wanted: the symbols to encode, None for all of them; the others move unseen.
            trade: is told of every tick: (pair, price units, quantity units).

        Returns:
            (symbol, frame) in market order.
        """
        bits, table, made = self._bits, self._table, []
        for _ in range(count):
            draw = bits(48)
            pair = table[draw & 0x3FFF]
            step = (draw >> 14 & 0xFF) + (draw >> 22 & 0xFF) - 255
            walk = pair.walk
            walk += (walk * step * pair.noise >> 32) + (pair.anchor - walk >> _PULL_BITS)
            if walk < _LEAST:  # noqa: PLR1730  # max() costs a call per tick
                walk = _LEAST
            pair.walk = walk
            price = walk >> _FRACTION_BITS
            lots = 1 + (pair.lot * (draw >> 30 & 0xFF) >> 7 << _SIZES[draw >> 38 & 0xF])
            if trade is not None:
                trade(pair, price, lots)
            symbol = pair.symbol
            if wanted is None or symbol in wanted:
                price *= pair.price_scale
                lots *= pair.lot_scale
                made.append(
                    (
                        symbol,
                        encode(
                            symbol,
                            f"{price // _ONE}.{price % _ONE:08d}",
                            f"{lots // _ONE}.{lots % _ONE:08d}",
                            stamp,
                            draw >> 42 & 1 == 1,
                        ),
                    )
                )
        return made

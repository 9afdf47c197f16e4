"""Exact arithmetic on the texts upstream sends: prices are compared, quantities are added."""

from __future__ import annotations

from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow, Underflow
from typing import Final

__all__ = ["MOST", "NOTHING", "amount_of", "exceeds", "plus", "total", "volume_text"]

NOTHING: Final = Decimal(0)
MOST: Final = Decimal(10) ** 40
"""A larger quantity is taken for junk."""

_exact: Final = Context(prec=128, Emin=-64, Emax=64, traps=[Inexact, InvalidOperation, Overflow, Underflow])
plus: Final = _exact.add
"""The sum of a volume and a quantity; a `DecimalException` where 128 digits do not hold it exactly."""

total: Final = Context(prec=1024, traps=[Inexact, InvalidOperation]).add
"""The sum of two volumes that `plus` made: always exact, as it has digits for the largest and the smallest of them."""


def amount_of(text: str) -> Decimal | None:
    """The quantity that ``text`` says, None where it says none: no number, negative, or above `MOST`."""
    try:
        amount = Decimal(text)
        return plus(NOTHING, amount) if NOTHING <= amount <= MOST else None
    except DecimalException:
        return None


def exceeds(price: str, other: str) -> bool:
    """Whether a price is above another whose float is the same."""
    try:
        return Decimal(price) > Decimal(other)
    except DecimalException:  # beyond any exponent: nothing that is traded
        return False


def volume_text(volume: Decimal) -> str:
    """The volume without an exponent, with as many decimals as the quantities had."""
    return format(volume, "f")

"""Numbers on the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["count", "seconds_up_to"]


def count(text: str) -> int:
    """How many of something: a number from 1 on.

    Raises:
        ArgumentTypeError: no such number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) > 0):  # noqa: PLR2004 - 64 bits
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def seconds_up_to(most: float) -> Callable[[str], float]:
    """Reads a span of time from 0 to ``most`` seconds; raises ArgumentTypeError for what is none."""

    def seconds(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= most:
            raise argparse.ArgumentTypeError(f"must be a number from 0 to {most:g}")
        return number

    return seconds

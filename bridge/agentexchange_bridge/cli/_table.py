"""Tables and figures for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange_bridge.rows import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["amount", "duration", "lag_text", "printable", "size_text", "table", "time_text"]

_SIZES: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_LAGS: Final = (("s", 1_000_000), ("ms", 1_000))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> Iterable[str]:
    """The rows, the first of them the heads, as aligned lines; columns whose numbers are in ``right`` end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            f"{cell:>{width}}" if number in right else f"{cell:<{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def amount(number: int, what: str) -> str:
    """Such as ``1 topic``, ``2,000 topics``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """In its two largest units, such as ``2h 5m``."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def lag_text(lag_us: int | None) -> str:
    """A short span of time, such as ``1.5 ms``; ``-`` for None."""
    if lag_us is None:
        return "-"
    for unit, size in _LAGS:
        if abs(lag_us) >= size:
            return f"{lag_us / size:.1f} {unit}"
    return f"{lag_us} µs"


def size_text(size: float | None) -> str:
    """Bytes, such as ``3.2 MB``; ``-`` for None."""
    if size is None:
        return "-"
    for unit, most in _SIZES:
        if size >= most:
            return f"{size / most:.1f} {unit}"
    return f"{size:.0f} B"


def printable(text: str) -> str:
    """The text, with escapes for what would move a terminal's cursor or change its colours."""
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def time_text(us: int | None) -> str:
    """A moment in UTC, with microseconds; ``-`` for None."""
    return iso(us) or "-"

"""The builder's state as bytes: a msgpack map, versioned and bounded."""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import Any, Final, NamedTuple

import msgpack

from agentexchange_schemas import SchemaError

from ._bar import Bar
from ._series import Series, Slot
from ._spans import MAX_SPANS, Spans
from ._time import MINUTE_MS

__all__ = ["MAX_STATE_BYTES", "CandleStateError", "Saved", "pack_state", "read_state"]

MAX_STATE_BYTES: Final = 16 * 1024 * 1024
"""Larger states are not read."""

_VERSION: Final = 1
_MAX_TEXT: Final = 512
_MAX_OPEN: Final = 4096
_FORMS: Final[tuple[type | tuple[type, ...], ...]] = (int, str, str, str, str, int, int, (str, type(None)), int, bool)


class CandleStateError(SchemaError):
    """Bytes that are not a builder's state of a version this release reads."""


class Saved(NamedTuple):
    """What a state holds: until when every tick is in it (µs), unseen spans of all, symbols (slots without a bar)."""

    as_of_us: int
    unseen: Spans
    series: dict[str, Series]


def pack_state(saved: Saved) -> bytes:
    """Return the state's bytes."""
    series = {symbol: _pack_series(series) for symbol, series in saved.series.items()}
    raw: bytes = msgpack.packb({"v": _VERSION, "at": saved.as_of_us, "unseen": _pack_spans(saved.unseen), "s": series})
    return raw


def read_state(raw: bytes) -> Saved:
    """Read what `pack_state` wrote.

    Raises:
        CandleStateError: anything else.
    """
    if len(raw) > MAX_STATE_BYTES:
        raise CandleStateError(f"candle state: {len(raw)} bytes are more than {MAX_STATE_BYTES}", field="state")
    try:
        value = msgpack.unpackb(raw)
        version = value["v"]
    except Exception as exc:  # noqa: BLE001 - msgpack raises a dozen types for bad bytes
        raise CandleStateError(f"candle state: not a msgpack map ({type(exc).__name__})", field="state") from None
    if version != _VERSION:
        raise CandleStateError(f"candle state: version {str(version)[:20]} is not {_VERSION}", field="v")
    try:
        as_of_us = _time(value["at"])
        series = {_text(symbol): _series(symbol, packed, as_of_us) for symbol, packed in value["s"].items()}
        return Saved(as_of_us, _spans(value["unseen"]), series)
    except (KeyError, TypeError, ValueError, AttributeError, DecimalException) as exc:
        raise CandleStateError(f"candle state: {str(exc)[:80] or type(exc).__name__}", field="state") from None


def _pack_series(series: Series) -> list[Any]:
    bars = [_pack_bar(series.open[start]) for start in sorted(series.open)]
    wanted = {name: slot.since for name, slot in series.slots.items()}
    return [series.next_ms, series.last, bars, _pack_spans(series.unseen), wanted]


def _pack_bar(bar: Bar) -> list[Any]:
    volume = None if bar.volume is None else str(bar.volume)
    prices = [bar.open, bar.high, bar.low, bar.close]
    return [bar.start, *prices, bar.open_ms, bar.close_ms, volume, bar.ticks, bar.trades_known]


def _pack_spans(spans: Spans) -> list[Any]:
    return [spans.pairs(), spans.lasts_since]


def _series(symbol: str, packed: Any, as_of_us: int) -> Series:
    next_ms, last, bars, unseen, wanted = packed
    if _whole(next_ms) > as_of_us // 1000:
        raise ValueError("a minute that was closed before its end")
    if len(bars) > _MAX_OPEN:
        raise ValueError(f"{len(bars)} open minutes")
    series = Series(symbol, _minute(next_ms))
    series.last = None if last is None else _price(last)
    series.open = {bar.start: bar for bar in map(_bar, bars)}
    series.unseen = _spans(unseen)
    series.slots = {name: Slot(name, _minute(since)) for name, since in wanted.items()}
    return series


def _bar(packed: Any) -> Bar:
    if len(packed) != len(_FORMS) or not all(isinstance(part, form) for part, form in zip(packed, _FORMS, strict=True)):
        raise ValueError("an open minute of another form")
    start, first, high, low, close, open_ms, close_ms, volume, ticks, known = packed
    bar = Bar(_minute(start), start + MINUTE_MS, _price(first), volume=_volume(volume), ticks=ticks)
    bar.high, bar.low, bar.close = _price(high), _price(low), _price(close)
    bar.high_value, bar.low_value = float(high), float(low)
    bar.open_ms, bar.close_ms, bar.trades_known = open_ms, close_ms, known
    return bar


def _volume(text: str | None) -> Decimal | None:
    if text is None:
        return None
    volume = Decimal(_text(text))
    if not volume.is_finite() or abs(volume.adjusted()) > _MAX_TEXT:
        raise ValueError("a volume that is none")
    return volume


def _spans(packed: Any) -> Spans:
    pairs, lasts_since = packed
    if len(pairs) > MAX_SPANS:
        raise ValueError(f"{len(pairs)} unseen spans")
    spans = Spans((_whole(since), _whole(until)) for since, until in pairs)
    spans.lasts_since = None if lasts_since is None else _whole(lasts_since)
    return spans


def _minute(value: Any) -> int:
    if _time(value) % MINUTE_MS:
        raise ValueError("a minute off its boundary")
    return _time(value)


def _time(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError("a time before 1970")
    return _whole(value)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("a number that is no integer")
    return value


def _price(text: Any) -> str:
    float(_text(text))
    return str(text)


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > _MAX_TEXT:
        raise TypeError("a text that is none, or too long")
    return value

"""The shapes in which events are printed: JSON lines, CSV, and aligned columns for people."""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, Protocol

from agentexchange._shared.read import utc_of
from agentexchange_bridge.rows import RECORDED, STATUS, Row, json_line
from agentexchange_schemas import EVENT_MODELS, FeedStatus, Kind

from ._table import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["FIELDS", "FORMATS", "KINDS", "Csv", "JsonLines", "Shape", "Table", "shape_of"]

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    **{kind.value: tuple(model.model_fields) for kind, model in EVENT_MODELS.items()},
    STATUS: ("about", *(name for name in FeedStatus.model_fields if name not in ("scope", "topic"))),
}
"""The documented fields of each kind, in order; ``about`` is a notice's own ``topic``."""

KINDS: Final = tuple(FIELDS)
FORMATS: Final = ("table", "jsonl", "csv")

_IN_TOPIC: Final = frozenset({(Kind.TICKER, "symbol"), (Kind.CANDLES, "symbol"), (Kind.CANDLES, "interval")})
_COMMON_SOURCES: Final = frozenset({"live", RECORDED})
_TOPIC_WIDTH: Final = 15  # to begin with
_SEQ_WIDTH: Final = 4
_MOST_WIDTH: Final = 40  # wider values push the rest of their line aside, and no other line's
_EXTRA: Final = "extra"
_CSV_END: Final = "\r\n"  # fields with one of these characters are quoted
_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_STYLES: Final = {
    "BUY": "green", "SELL": "red", "live": "green", "blind": "bold red", "stale": "yellow", "auth_failed": "bold red",
    "no_bridge": "bold red", "unavailable": "yellow", "filled": "green", "rejected": "red",
}  # fmt: skip


class Shape(Protocol):
    """How events look."""

    @property
    def head(self) -> str | None:
        """What comes first, without a line end; None for nothing."""

    def line(self, row: Row) -> str:
        """One event, without a line end."""


def shape_of(name: str, kinds: Iterable[str], *, dates: bool) -> Shape:
    """The shape called ``name``, one of `FORMATS`, for events of ``kinds``; ``dates``: a table shows the day, too."""
    if name == "jsonl":
        return JsonLines()
    return Csv(kinds) if name == "csv" else Table(dates=dates)


class JsonLines:
    """One object per event, with its metadata."""

    head = None

    def line(self, row: Row) -> str:
        """See `Shape`."""
        return json_line(row)


class Csv:
    """The metadata, then the documented fields of ``kinds``, then all others as one JSON object in ``extra``.

    What is null or absent is empty; lists and maps are JSON, true and false are these words. A field that is called as
    part of the metadata is (``source`` of a candle) has ``data_`` before its name.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        chosen = frozenset(kinds)
        self._fields = tuple(dict.fromkeys(name for kind in KINDS if kind in chosen for name in FIELDS[kind]))
        self._known = frozenset(self._fields)
        self._buffer = StringIO()
        self._writer = csv.writer(self._buffer, lineterminator=_CSV_END)
        metadata = Row("", None, None, None, None, 0, None, "", {}).metadata()
        columns = (f"data_{name}" if name in metadata else name for name in self._fields)
        self.head = self._written([*metadata, *columns, _EXTRA])

    def line(self, row: Row) -> str:
        """See `Shape`."""
        fields, known = _own_fields(row), self._known
        extra = None if known.issuperset(fields) else {name: fields[name] for name in fields if name not in known}
        cells = [*row.metadata().values(), *map(fields.get, self._fields), extra]
        return self._written([one if one is None or type(one) is str else _cell(one) for one in cells])

    def _written(self, cells: list[Any]) -> str:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(cells)
        return self._buffer.getvalue().removesuffix(_CSV_END)


class Table:
    """A line per event in columns that widen as wider values come; each kind has its own.

    Args:
        dates: whether the day is shown, too.
    """

    head = None

    def __init__(self, *, dates: bool) -> None:
        form = "%Y-%m-%d %H:%M:%S" if dates else "%H:%M:%S"
        # most events share their second with many
        self._second = lru_cache(1024)(lambda second: utc_of(second * 1_000_000).astimezone().strftime(form))
        self._widths: dict[tuple[str, str], int] = {("", "topic"): _TOPIC_WIDTH, ("", "seq"): _SEQ_WIDTH}

    def line(self, row: Row) -> str:
        """See `Shape`."""
        return " ".join(text for text, _ in self.cells(row)).rstrip()

    def cells(self, row: Row) -> Iterator[tuple[str, str]]:
        """The line's parts, each with the style it has on a terminal."""
        second, rest = divmod(row.received_us, 1_000_000)
        yield f"{self._second(second)}.{rest // 1000:03d}", "dim"
        yield self._fitted("", "topic", row.topic), "bold"
        yield self._fitted("", "seq", "" if row.seq is None else f"#{row.seq}"), "dim"
        if row.source not in _COMMON_SOURCES:
            yield f"[{row.source}]", "magenta"
        fields, kind = _own_fields(row), row.kind
        known = FIELDS.get(kind, ())
        for name in known:
            if (kind, name) not in _IN_TOPIC and (cell := self._field(kind, name, fields.get(name))):
                yield cell, _STYLES.get(str(fields.get(name)), "")
        for name, value in fields.items():
            if value is not None and name not in known:
                yield f"{printable(name)}={printable(_cell(value))}", ""

    def _field(self, kind: str, name: str, value: Any) -> str:
        """``name=value``, or its room where there is none and others of this kind had one."""
        if value is None:
            return " " * self._widths.get((kind, name), 0)
        return self._fitted(kind, name, f"{name}={printable(_cell(value))}")

    def _fitted(self, kind: str, name: str, text: str) -> str:
        width = self._widths.get((kind, name), 0)
        if width < len(text) <= _MOST_WIDTH:
            self._widths[kind, name] = width = len(text)
        return text.ljust(width)


def _own_fields(row: Row) -> Mapping[str, Any]:
    """The fields; of a notice what it is about as ``about``, and no scope, which the metadata has."""
    if row.topic != STATUS:
        return row.data
    rest = {name: value for name, value in row.data.items() if name not in ("scope", "topic")}
    return {"about": row.data.get("topic")} | rest


def _cell(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    return _to_json(value)

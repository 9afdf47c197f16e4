"""The columns of each kind's Parquet file, and how a field's values become one: exactly, or not at all.

A value that its column cannot hold (a price that is no number, or one with more digits than fit) is null there and
stands verbatim in ``extra``, with every field that has no column.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from agentexchange_schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_schemas import Envelope

__all__ = ["KINDS", "NOTICES", "schema_of", "table_of"]

NOTICES: Final = "notices"

_DECIMAL: Final = pa.decimal128(38, 12)  # a scale whose products still fit 38 digits: price * quantity
_TEXT: Final = pa.string()
_WORD: Final = pa.dictionary(pa.int32(), pa.string())
_FLAG: Final = pa.bool_()
_COUNT: Final = pa.int64()
_MS: Final = pa.timestamp("ms", tz="UTC")
_US: Final = pa.timestamp("us", tz="UTC")

_META: Final = {
    "scope": _WORD,
    "topic": _WORD,
    "epoch": _COUNT,
    "seq": _COUNT,
    "upstream_time": _MS,
    "received_time": _US,
    "written_time": _US,
}
_EXTRA: Final = "extra"

_FIELDS: Final[dict[str, dict[str, pa.DataType]]] = {
    Kind.TICKER: {
        "symbol": _WORD, "price": _DECIMAL, "quantity": _DECIMAL, "is_buyer_maker": _FLAG, "timestamp": _TEXT,
    },
    Kind.CANDLES: {
        "symbol": _WORD, "interval": _WORD, "open": _DECIMAL, "high": _DECIMAL, "low": _DECIMAL, "close": _DECIMAL,
        "volume": _DECIMAL, "open_time": _TEXT, "is_closed": _FLAG, "source": _WORD, "complete": _FLAG,
        "trades": _COUNT, "empty": _FLAG,
    },
    Kind.ORDERS: {
        "order_id": _TEXT, "symbol": _WORD, "side": _WORD, "status": _WORD, "type": _WORD, "quantity": _DECIMAL,
        "price": _DECIMAL, "executed_quantity": _DECIMAL, "executed_price": _DECIMAL, "fee": _DECIMAL,
        "filled_at": _TEXT, "cancelled_at": _TEXT, "rejected_reason": _TEXT, "reconciled": _FLAG,
    },
    Kind.PORTFOLIO: {
        "total_equity": _DECIMAL, "available_cash": _DECIMAL, "unrealized_pnl": _DECIMAL, "roi_pct": _DECIMAL,
        "realized_pnl": _DECIMAL, "timestamp": _TEXT,
    },
    NOTICES: {
        "about": _WORD, "state": _WORD, "since": _TEXT, "until": _TEXT, "cause": _WORD, "first_missing": _COUNT,
        "last_missing": _COUNT, "count": _COUNT, "message": _TEXT,
    },
}  # fmt: skip

KINDS: Final = tuple(str(kind) for kind in _FIELDS)
_KNOWN: Final = {kind: frozenset(fields) for kind, fields in _FIELDS.items()}
_SCHEMAS: Final = {
    kind: pa.schema([*_META.items(), *fields.items(), (_EXTRA, _TEXT)]) for kind, fields in _FIELDS.items()
}
_NOTICE_ONLY: Final = frozenset({"scope", "topic"})


def schema_of(kind: str) -> pa.Schema:
    """The columns of one kind, in order."""
    return _SCHEMAS[kind]


def table_of(kind: str, scopes: Sequence[str], envelopes: Sequence[Envelope]) -> tuple[pa.Table, int]:
    """Rows of one kind, and how many values did not fit their column; ``scopes`` names each one's scope."""
    events = [envelope.data for envelope in envelopes]
    if kind == NOTICES:
        events = [_notice(event) for event in events]
    extras, misfits = _extras(events, _KNOWN[kind]), 0
    columns = [_array(values, type_) for values, type_ in zip(_meta(scopes, envelopes), _META.values(), strict=True)]
    for name, type_ in _FIELDS[kind].items():
        values = [event.get(name) for event in events]
        column = _exact_or_none(values, type_)
        if column is None:
            fitting = [value if _fits(value, type_) else None for value in values]
            misfits += _set_aside(values, fitting, name, extras)
            column = _array(fitting, type_)
        columns.append(column)
    columns.append(pa.array([_json(extra) for extra in extras], _TEXT))
    return pa.Table.from_arrays(columns, schema=_SCHEMAS[kind]), misfits


def _meta(scopes: Sequence[str], envelopes: Sequence[Envelope]) -> tuple[Sequence[Any], ...]:
    topics, epochs, seqs, upstream_ms, received_us, _, written_us = zip(*envelopes, strict=True)
    return scopes, topics, epochs, seqs, upstream_ms, received_us, written_us


def _notice(event: dict[str, Any]) -> dict[str, Any]:
    """A notice's own ``topic`` is what it is about; its scope is the row's."""
    return {name: value for name, value in event.items() if name not in _NOTICE_ONLY} | {"about": event.get("topic")}


def _extras(events: Sequence[dict[str, Any]], known: frozenset[str]) -> list[dict[str, Any] | None]:
    """Per event the fields that have no column."""
    return [
        None if known.issuperset(event) else {name: value for name, value in event.items() if name not in known}
        for event in events
    ]


def _exact_or_none(values: list[Any], type_: pa.DataType) -> pa.Array | None:
    try:
        return _array(values, type_)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def _set_aside(values: list[Any], fitting: list[Any], name: str, extras: list[dict[str, Any] | None]) -> int:
    """Put what does not fit into ``extras``; how many that were."""
    misfits = [row for row, value in enumerate(values) if value is not None and fitting[row] is None]
    for row in misfits:
        extras[row] = (extras[row] or {}) | {name: values[row]}
    return len(misfits)


def _array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    if type_ == _DECIMAL:
        return pa.array(values, _TEXT).cast(_DECIMAL)  # refuses what it would have to round
    if type_ == _WORD:
        return pa.array(values, _TEXT).dictionary_encode()
    return pa.array(values, type_)


def _fits(value: Any, type_: pa.DataType) -> bool:
    if type_ == _DECIMAL:
        return type(value) is str and _is_decimal(value)
    if type_ == _FLAG:
        return type(value) is bool
    if type_ == _COUNT:
        return type(value) is int and -(2**63) <= value < 2**63
    return type(value) is str


def _is_decimal(text: str) -> bool:
    try:
        _array([text], _DECIMAL)
    except pa.ArrowException:
        return False
    return True


def _json(extra: dict[str, Any] | None) -> str | None:
    return None if extra is None else json.dumps(extra, ensure_ascii=False, default=str)

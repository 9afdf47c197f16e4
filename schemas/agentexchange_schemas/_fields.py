"""The fields of each kind of event: validated in one call, documented ones first, missing ones None."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic_core import SchemaValidator, ValidationError, core_schema

from .envelope import MAX_NESTING
from .errors import FrameError

__all__ = ["CANDLES", "ORDERS", "PORTFOLIO", "TICKER", "FieldReader"]

_INT64: Final = range(-(2**63), 2**64)  # what msgpack can carry

_FRAME_TYPES: Final = frozenset({"ticker", "candle", "candles", "order", "orders", "order_update", "portfolio"})

_text = core_schema.str_schema(strict=True)
_flag = core_schema.bool_schema(strict=True)
_number = core_schema.str_schema(strict=True, max_length=64, pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$")
_name = core_schema.str_schema(strict=True, min_length=1, max_length=256)


class FieldReader:
    """Reads one kind's fields out of a frame in either dialect.

    Args:
        noun: what errors call the event.
        order: the documented fields, in this order; None where upstream leaves them out.
        required: those of them without which the frame is junk, with their schemas.
        extra: further known fields, absent where upstream leaves them out.
    """

    def __init__(
        self,
        noun: str,
        *,
        order: tuple[str, ...],
        required: dict[str, core_schema.CoreSchema],
        extra: dict[str, core_schema.CoreSchema],
    ) -> None:
        self._noun = noun
        fields = {name: _field(required.get(name)) for name in order}
        fields |= {
            name: core_schema.typed_dict_field(core_schema.nullable_schema(schema), required=False)
            for name, schema in extra.items()
        }
        self._known = frozenset(fields)
        schema = core_schema.typed_dict_schema(fields, extra_behavior="allow")
        self._validate = SchemaValidator(schema).validate_python

    def fields(self, frame: dict[str, Any], raw: bytes) -> dict[str, Any]:
        """Return the event's fields as a new dict.

        Raises:
            FrameError: a field is missing or of a wrong type; ``field`` names it.
        """
        data = _data_of(frame, self._noun)
        try:
            fields: dict[str, Any] = self._validate(data)
        except ValidationError:
            fields = self._validate_numbers_as_text(data, raw)
        if len(fields) > len(self._known) or not self._known.issuperset(fields):
            self._check_added(fields)
        return fields

    def _validate_numbers_as_text(self, data: dict[str, Any], raw: bytes) -> dict[str, Any]:
        """Read again, with JSON numbers in known fields as the very text upstream sent: no float touches them."""
        literal = _data_of(json.loads(raw, parse_float=str, parse_int=str), self._noun)
        texts = {name: literal[name] for name in self._known & data.keys() if type(data[name]) in (int, float)}
        try:
            fields: dict[str, Any] = self._validate(data | texts)
        except ValidationError as exc:
            fault = exc.errors(include_url=False, include_input=False, include_context=False)[0]
            name = str(fault["loc"][0])
            raise FrameError(
                f"{self._noun}: {name}: {fault['msg']}", field=name, kind=f"bad_{self._noun}_{name}"[:64]
            ) from None
        return fields

    def _check_added(self, fields: dict[str, Any]) -> None:
        for name in fields.keys() - self._known:
            fields[name] = _portable(fields[name], name, MAX_NESTING)


def _field(required: core_schema.CoreSchema | None) -> core_schema.TypedDictField:
    if required is not None:
        return core_schema.typed_dict_field(required, required=True)
    optional = core_schema.with_default_schema(core_schema.nullable_schema(_text), default=None)
    return core_schema.typed_dict_field(optional, required=False)


def _data_of(frame: dict[str, Any], noun: str) -> dict[str, Any]:
    data = frame.get("data")
    if type(data) is dict:
        return data
    if data is not None:
        raise FrameError(f"{noun}: data is a {type(data).__name__}, not an object", field="data", kind="bad_data")
    return {
        name: value
        for name, value in frame.items()
        # a flat order may carry its own `type` (limit, market) beside `channel`
        if name not in ("channel", "data") and not (name == "type" and str(value) in _FRAME_TYPES)
    }


def _portable(value: Any, name: str, depth: int) -> Any:
    """The value as every reader can carry it: integers beyond 64 bits as text, nesting bounded."""
    match value:
        case int() if value not in _INT64:
            return str(value)
        case list() | dict() if depth == 0:
            raise FrameError(f"{name[:40]}: nested deeper than {MAX_NESTING}", field=name[:40], kind="too_deep")
        case list():
            return [_portable(item, name, depth - 1) for item in value]
        case dict():
            return {key: _portable(item, name, depth - 1) for key, item in value.items()}
    return value


TICKER: Final = FieldReader(
    "ticker",
    order=("symbol", "price", "timestamp"),
    required={"price": _number},
    extra={"quantity": _text, "is_buyer_maker": _flag},
)
CANDLES: Final = FieldReader(
    "candle",
    order=("symbol", "interval", "open", "high", "low", "close", "volume", "open_time"),
    required={"open": _number, "high": _number, "low": _number, "close": _number},
    extra={"time": _text, "is_closed": _flag},
)
ORDERS: Final = FieldReader(
    "order",
    order=("order_id", "symbol", "side", "status", "executed_price", "executed_quantity"),
    required={"order_id": _name, "status": _name},
    extra=dict.fromkeys(("type", "quantity", "price", "fee", "filled_at", "cancelled_at", "rejected_reason"), _text),
)
PORTFOLIO: Final = FieldReader(
    "portfolio",
    order=("total_equity", "available_cash", "unrealized_pnl", "roi_pct"),
    required={},
    extra={"realized_pnl": _text, "timestamp": _text},
)

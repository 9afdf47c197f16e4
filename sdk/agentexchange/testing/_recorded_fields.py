"""Recorded fields as the live platform sent them: in its order, without what stands outside or was never sent.

What a handler gets has the page's fields first, with None for those that the platform left out: so None in one of
these means "not sent", and in any other field that null was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["sent_fields"]


class _Form(NamedTuple):
    """One channel's: the order of its fields, those that stand outside of ``data``, and those that None leaves out."""

    order: tuple[str, ...]
    outside: frozenset[str]
    optional: frozenset[str]


_FORMS: Final = {
    "ticker": _Form(
        order=("price", "quantity", "timestamp", "is_buyer_maker"),
        outside=frozenset({"symbol"}),
        optional=frozenset({"timestamp"}),
    ),
    "candles": _Form(
        order=("time", "open", "high", "low", "close", "volume", "is_closed"),
        outside=frozenset({"symbol", "interval"}),
        optional=frozenset({"volume", "open_time"}),
    ),
    "orders": _Form(
        order=("order_id", "status", "symbol", "side", "type", "quantity", "price"),
        outside=frozenset(),
        optional=frozenset({"symbol", "side", "executed_price", "executed_quantity"}),
    ),
    "portfolio": _Form(
        order=("total_equity", "available_cash", "unrealized_pnl", "realized_pnl", "roi_pct", "timestamp"),
        outside=frozenset(),
        optional=frozenset({"total_equity", "available_cash", "unrealized_pnl", "roi_pct"}),
    ),
}


def sent_fields(channel: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What stood under ``data`` in the frame that ``fields`` were read from.

    Args:
        channel: ``ticker``, ``candles``, ``orders`` or ``portfolio``.
        fields: what a handler gets.
    """
    form = _FORMS[channel]
    ordered = {name: fields[name] for name in form.order if name in fields}
    data = {
        name: value
        for name, value in {**ordered, **fields}.items()
        if name not in form.outside and not (value is None and name in form.optional)
    }
    if channel == "candles" and data.get("open_time") == data.get("time"):
        data.pop("open_time", None)  # it was read from ``time``, the platform's name for it
    return data

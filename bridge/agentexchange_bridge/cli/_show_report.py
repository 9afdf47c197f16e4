"""How ``agentexchange show`` shows an event: as values, which JSON has, and out of them as lines. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgpack

from agentexchange_bridge.frames import differences, why_none
from agentexchange_bridge.rows import row_of
from agentexchange_schemas.envelope import frame_of

from ._table import lag_text, printable, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentexchange_schemas import Envelope

    from ._find import Found

__all__ = ["lines_of", "values_of"]

_ABOVE: Final = "…"  # what stands for the frame in the envelope of people


def values_of(found: Found) -> dict[str, Any]:
    """All of it; delays are µs, the size bytes."""
    scope, envelope = found.lane.scope, found.envelope
    row = row_of(scope, envelope)
    return {
        **row.metadata(),
        "log": found.lane.log,
        "log_name": found.lane.log_id or None,
        "size": len(found.raw),
        "upstream_to_received_us": None if row.upstream_us is None else row.received_us - row.upstream_us,
        "received_to_written_us": None if row.written_us is None else row.written_us - row.received_us,
        "frame": frame_of(found.raw),
        "data": row.data,
        "envelope": msgpack.unpackb(found.raw),
        "msgpack": found.raw.hex(),
        "before": _events(scope, found.before),
        "after": _events(scope, found.after),
        "notices": _events(scope, found.notices),
    }


def _events(scope: str, envelopes: Iterable[Envelope]) -> list[dict[str, Any]]:
    return [(row := row_of(scope, envelope)).metadata() | {"data": row.data} for envelope in envelopes]


def lines_of(values: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    seq = "" if values["seq"] is None else f" #{values['seq']}"
    yield f"{values['scope']} {values['topic']}{seq}"
    yield from _pairs(_facts(values))
    yield "fields"
    yield from _pairs([(name, _text(value)) for name, value in values["data"].items()])
    yield from _frame(values["frame"], values["data"])
    yield f"envelope, {values['size']} bytes of msgpack"
    envelope = {name: _ABOVE if name == "f" else value for name, value in values["envelope"].items()}
    yield f"  {printable(json.dumps(envelope, ensure_ascii=False))}"
    for name, heading in (("before", "before it"), ("after", "after it"), ("notices", "notices around it")):
        if values[name]:
            yield heading
            yield from _rows(values[name])


def _facts(values: dict[str, Any]) -> list[tuple[str, str]]:
    name = f", by its name {values['log_name']}" if values["log_name"] else ""
    return [
        ("log", f"{values['log']}{name}"),
        ("log id", values["log_id"] or "none: it is in no log"),
        ("epoch", str(values["epoch"])),
        ("upstream time", values["upstream_time"] or "not told"),
        ("received", values["received_time"] + _later(values["upstream_to_received_us"])),
        ("written", (values["written_time"] or "not known") + _later(values["received_to_written_us"])),
        *([("frame", why_none(values["topic"], values["data"]))] if values["frame"] is None else []),
    ]


def _frame(frame: str | None, data: dict[str, Any]) -> Iterator[str]:
    """As the platform sent it, and how the fields differ."""
    if frame is None:
        return
    yield f"frame, {len(frame.encode())} bytes as the platform sent them"
    yield f"  {printable(frame)}"
    for words in differences(frame, data):
        yield f"  {printable(words)}"


def _later(delay_us: int | None) -> str:
    return "" if delay_us is None else f", {lag_text(delay_us)} later"


def _rows(events: list[dict[str, Any]]) -> Iterable[str]:
    rows = [
        (f"  {event['received_time']}", "" if event["seq"] is None else f"#{event['seq']}", _fields(event["data"]))
        for event in events
    ]
    return table(rows, right=(1,))


def _fields(data: dict[str, Any]) -> str:
    return " ".join(f"{printable(name)}={_text(value)}" for name, value in data.items() if value is not None)


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterable[str]:
    rows = [(f"  {printable(name)}", text) for name, text in pairs]
    return table(rows) if rows else ["  none"]


def _text(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))

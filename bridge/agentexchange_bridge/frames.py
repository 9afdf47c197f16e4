"""What is said of the frame in which the platform sent an event: how the event differs from it, or why there is none.

Pure. Nothing here is on the way of an event: it is for whoever looks at one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import Kind
from agentexchange_schemas.envelope import STATUS_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["differences", "why_none"]

_BUILT: Final = "built"
_TEXT: Final = 60  # characters of a value


def why_none(topic: str, fields: Mapping[str, Any]) -> str:
    """Why an event has no frame, as far as it tells itself, and how to have one."""
    kind = topic.partition(":")[0]
    if topic == STATUS_TOPIC:
        return "none: what is said about the feed comes from the bridge"
    if kind == Kind.CANDLES and fields.get("source") == _BUILT:
        return "none: built from ticks"
    if fields.get("reconciled") is True:
        return "none: read by REST after a blind span, or not kept: run the bridge with --keep-frames"
    return "not kept: run the bridge with --keep-frames (frames above 64 KiB are not)"


def differences(frame: str, fields: Mapping[str, Any]) -> list[str]:
    """Where an event's fields are not those of its frame, in words; nothing where they are the same.

    Numbers are compared by their digits, whether they were sent as text or not.
    """
    sent = _sent(frame)
    if sent is None:
        return ["the frame is no JSON object"]
    found = (*_added_and_left_out(sent, fields), *_changed(sent, fields))
    return [words.encode(errors="backslashreplace").decode() for words in found]  # JSON can escape what is no text


def _sent(frame: str) -> dict[str, Any] | None:
    """What the platform sent, by name: what stands under ``data``, before what stands beside it."""
    try:
        read = json.loads(frame, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    data = read.get("data")
    return read | data if isinstance(data, dict) else read


def _added_and_left_out(sent: dict[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
    added = [name for name, value in fields.items() if name not in sent and value is not None]
    absent = [name for name, value in fields.items() if name not in sent and value is None]
    left_out = [name for name in sent if name not in fields and name != "data"]
    for what, names in (("added", added), ("not sent", absent), ("left out", left_out)):
        if names:
            yield f"{what}: {', '.join(names)}"


def _changed(sent: dict[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if name in sent and _plain(sent[name]) != _plain(value):
            yield f"changed: {name}, from {_plain(sent[name])[:_TEXT]} to {_plain(value)[:_TEXT]}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)

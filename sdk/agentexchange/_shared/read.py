"""From what Redis answers to values: pure, for the shared client and the latest readers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agentexchange.errors import ConnectionError as FinalConnectionError
from agentexchange_schemas import EnvelopeError, FeedStatus, Layout, LayoutError, ScopeStates, TopicState
from agentexchange_schemas.envelope import decode
from agentexchange_schemas.layout import LAYOUT_VERSION, count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentexchange_schemas import Envelope

__all__ = [
    "envelope_of",
    "epoch_of",
    "layout_of",
    "offset_of",
    "pairs",
    "report_of",
    "states_of",
    "status_of",
    "us_of",
    "utc_of",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MAX_OFFSET_DIGITS: Final = 16
_TOLD: Final = ("state", "since", "cause", "message")


def utc_of(received_us: int) -> datetime:
    """Microseconds since the Unix epoch as a time; what no calendar holds becomes its last day."""
    try:
        return _EPOCH + timedelta(microseconds=received_us)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def us_of(time: datetime) -> int:
    """A time as microseconds since the Unix epoch."""
    return (time - _EPOCH) // _MICROSECOND


def pairs(reply: Any) -> dict[str, str]:
    """A hash as a flat list (RESP2) or a map, as text."""
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): _text(value) for name, value in items}


def epoch_of(lease: Any, counter: Any) -> int:
    """The newest epoch under which anybody may have written a scope; 0 where nobody ever had the right to.

    Every write is checked against the lease; where nobody holds it, the counter has the last one given out.
    """
    held = count_of(lease.rpartition(b"/")[2]) if isinstance(lease, bytes) else 0
    return held or count_of(counter)


def layout_of(meta: Mapping[str, str], prefix: str) -> Layout | None:
    """The installation's layout; None where no bridge has ever written under ``prefix``.

    Raises:
        ConnectionError: another layout version, or a partition count that is none.
    """
    if not meta:
        return None
    version = meta.get("version")
    if version != str(LAYOUT_VERSION):
        raise FinalConnectionError(
            f"Redis holds layout version {str(version)[:20]} under the prefix '{prefix}', and this client reads "
            f"{LAYOUT_VERSION}: install the agentexchange release that the bridge runs",
            code="LAYOUT",
        )
    try:
        return Layout(prefix, int(meta.get("partitions", "1")))
    except (ValueError, LayoutError):
        raise FinalConnectionError(
            f"the key {prefix}:meta in Redis names no valid partition count: the bridge writes it", code="LAYOUT"
        ) from None


def status_of(scope: str, fields: Mapping[str, Any]) -> FeedStatus:
    """What a scope's status hash (values as text) or a heartbeat's data says.

    Raises:
        EnvelopeError: the state or its time is missing, or no such thing.
    """
    return FeedStatus.from_fields({"scope": scope} | {name: fields.get(name) or None for name in _TOLD})


def report_of(scope: str, is_leased: Any, fields: Mapping[str, str]) -> FeedStatus | None:
    """A scope's status; None where its lease is not held (or its holder has not written a status yet)."""
    if not is_leased:
        return None
    try:
        return status_of(scope, fields)
    except EnvelopeError:
        return None


def states_of(report: FeedStatus, fields: Mapping[str, str]) -> ScopeStates:
    """How a scope and its topics are: ``report`` is what `report_of` made of the same status hash."""
    return ScopeStates.from_fields(TopicState.of(report), fields)


def offset_of(value: Any) -> int | None:
    """How far Redis's clock is ahead of a bridge's, in µs, out of a status hash or a heartbeat; None: not known."""
    text = str(value)
    is_number = len(text) <= _MAX_OFFSET_DIGITS and text.isascii() and text.removeprefix("-").isdecimal()
    return int(text) if is_number else None


def envelope_of(raw: bytes | None, topic: str) -> Envelope | None:
    """The envelope of a latest key; None where there is none, or nothing readable under that topic."""
    if raw is None:
        return None
    try:
        envelope = decode(raw)
    except EnvelopeError:
        return None
    return envelope if envelope.topic == topic and envelope.seq is not None else None


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

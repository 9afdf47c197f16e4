"""The envelope: an event with its metadata, as the bytes that channel, latest key and log share.

A msgpack map with up to nine keys, always in this order: ``v`` version (1), ``t`` topic, ``e`` epoch, ``n`` seq or nil,
``u`` upstream time in ms or nil, ``r`` received time in µs, ``w`` written time in µs, ``f`` the frame as the platform
sent it, ``d`` the fields. ``w`` may be missing, as the first writers of this version did not know it; ``f`` is, unless
frames are kept. A notice has the topic ``status``.
"""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from .errors import EnvelopeError
from .topics import is_event_topic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_ENVELOPE_BYTES",
    "MAX_NESTING",
    "STATUS_TOPIC",
    "VERSION",
    "Envelope",
    "decode",
    "encode",
    "frame_of",
    "log_id",
    "received_us_of",
]

VERSION: Final = 1
STATUS_TOPIC: Final = "status"
MAX_ENVELOPE_BYTES: Final = 256 * 1024
"""Larger envelopes are neither written nor read."""

MAX_NESTING: Final = 8
"""How deep lists and maps may lie within each other in a field; looked at where there is room to nest deeply."""

_SMALL_BYTES: Final = 512
"""An envelope up to this size, as nearly all are, cannot nest deeply enough to exhaust a reader's stack."""

_FRAME_KEY: Final = b"\xa1f"
_unpack = msgpack.unpackb
_new = tuple.__new__
_NIL: Final = type(None)
_CONTAINERS: Final = frozenset((list, dict))
_MAX_MS: Final = 253_402_300_799_999  # the end of the year 9999: what a datetime can hold
_MAX_US: Final = _MAX_MS * 1000 + 999

# How nearly all envelopes look: eight keys in order, an epoch of four bytes, a seq of up to four, times of eight each.
# What stands before the seq is the same for a topic under one epoch: looked up. Behind it all is at fixed places.
_MAX_HEADS: Final = 8192
_heads: dict[bytes, tuple[str, int]] = {}
_HEAD: Final = b"\x88\xa1v\x01\xa1t"  # a map of eight, v = 1, t = …
_TOPIC_LENGTH_AT: Final = len(_HEAD)
_TO_SEQ: Final = 0xA0 - 16  # from the byte there, 0xa0 and the length, to the seq: 7 bytes before the topic, 9 behind
_TAILS: Final = {
    first_byte: (tail.unpack_from, tail.size)
    for seq, first_bytes in (("B", range(0x80)), ("xB", (0xCC,)), ("xH", (0xCD,)), ("xI", (0xCE,)))
    for tail in (struct.Struct(f">{seq}3sQ3sQ3sQ2s"),)
    for first_byte in first_bytes
}


class _Packing(threading.local):
    """A packer for each thread, which `msgpack.packb` makes anew for each call: that is a sixth of `encode`."""

    def __init__(self) -> None:
        self.pack: Callable[[Any], bytes] = msgpack.Packer().pack


_packing: Final = _Packing()


class Envelope(NamedTuple):
    """One event or notice with its metadata.

    Attributes:
        topic: ``ticker:BTCUSDT`` and the like, or ``status`` for a notice.
        epoch: fencing number of the lease it was written under.
        seq: counts the topic's events in its scope from 1; None for what is published but not logged.
        upstream_ms: the platform's own time, ms since the Unix epoch; None where it named none.
        received_us: when the bridge received it, µs since the Unix epoch, strictly increasing in a scope.
        data: the event's fields, exactly the keys a handler gets.
        written_us: when the bridge encoded it for Redis, µs since the Unix epoch; anew where it is written again. None
            where the writer named none.
    """

    topic: str
    epoch: int
    seq: int | None
    upstream_ms: int | None
    received_us: int
    data: dict[str, Any]
    written_us: int | None = None


def encode(
    topic: str,
    epoch: int,
    seq: int | None,
    upstream_ms: int | None,
    received_us: int,
    data: dict[str, Any],
    written_us: int | None = None,
    *,
    frame: str | None = None,
) -> bytes:
    """Return the envelope's bytes; the same arguments always give the same bytes.

    Without ``written_us`` there is no ``w``. Without ``frame``, or where that would not fit, there is no ``f``.

    Raises:
        EnvelopeError: the result is larger than `MAX_ENVELOPE_BYTES`, or ``data`` holds what msgpack cannot carry.
    """
    value = {"v": 1, "t": topic, "e": epoch, "n": seq, "u": upstream_ms, "r": received_us}
    if written_us is not None:
        value["w"] = written_us
    if frame is not None:
        value["f"] = frame
    value["d"] = data
    try:
        raw = _packing.pack(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise EnvelopeError(f"data of {topic} cannot be packed: {exc}", field="d") from exc
    if len(raw) <= MAX_ENVELOPE_BYTES:
        return raw
    if frame is not None:
        return encode(topic, epoch, seq, upstream_ms, received_us, data, written_us)
    raise EnvelopeError(f"{topic}: {len(raw)} bytes are more than {MAX_ENVELOPE_BYTES}", field="d")


def decode(raw: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        EnvelopeError: not an envelope, another version, or a field of a wrong type; ``field`` names it.
    """
    head = None
    try:
        # read at fixed places an envelope takes a fifth less than as a map of eight
        seq_at = raw[_TOPIC_LENGTH_AT] - _TO_SEQ
        head, tail = _heads.get(raw[:seq_at]), _TAILS.get(raw[seq_at])
        if head and tail and len(raw) <= _SMALL_BYTES:
            topic, epoch = head
            read, size = tail
            seq, u, upstream_ms, r, received_us, w, written_us, d = read(raw, seq_at)
            if (
                u == b"\xa1u\xcf"
                and r == b"\xa1r\xcf"
                and w == b"\xa1w\xcf"
                and d == b"\xa1d"
                and upstream_ms <= _MAX_MS
                and received_us <= _MAX_US
                and written_us <= _MAX_US
            ):
                data = _unpack(raw[seq_at + size :], max_bin_len=0, max_ext_len=0)
                if type(data) is dict:
                    # tuple.__new__ skips the Python-level constructor of the named tuple: a tenth of the whole decode
                    return _new(Envelope, (topic, epoch, seq, upstream_ms, received_us, data, written_us))
    except Exception:  # noqa: BLE001, S110 - what is not as usual is read, or refused, as a map
        pass
    envelope = _decode_map(raw)
    if head is None:
        _remember(raw, envelope.topic, envelope.epoch)
    return envelope


def _decode_map(raw: bytes) -> Envelope:
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise EnvelopeError(f"envelope: {len(raw)} bytes are more than {MAX_ENVELOPE_BYTES}", field="envelope")
    try:
        value = _unpack(raw, max_bin_len=0, max_ext_len=0)  # text only: no field is bytes or an extension
        version, topic, epoch, seq = value["v"], value["t"], value["e"], value["n"]
        upstream_ms, received_us, data = value["u"], value["r"], value["d"]
        written_us = value.get("w")
    except Exception as exc:  # noqa: BLE001 - msgpack raises a dozen types for bad bytes
        raise _not_an_envelope(exc) from None
    if (
        version == VERSION
        and type(epoch) is int
        and (type(seq) is int or seq is None)
        and type(received_us) is int
        and 0 <= received_us <= _MAX_US
        and (upstream_ms is None or (type(upstream_ms) is int and 0 <= upstream_ms <= _MAX_MS))
        and ((type(written_us) is int and 0 <= written_us <= _MAX_US) or written_us is None)
        and type(data) is dict
        and type(topic) is str
        and (is_event_topic(topic) or topic == STATUS_TOPIC)
    ):
        if len(raw) > _SMALL_BYTES:
            _check_nesting(data, MAX_NESTING)
        return _new(Envelope, (topic, epoch, seq, upstream_ms, received_us, data, written_us))
    raise _first_fault(value)


def _remember(raw: bytes, topic: str, epoch: int) -> None:
    """Know the head of a valid envelope again, if it is a usual one."""
    if not raw.startswith(_HEAD):
        return
    head, pack = raw[: raw[_TOPIC_LENGTH_AT] - _TO_SEQ], _packing.pack
    if head == _HEAD + pack(topic) + pack("e") + pack(epoch) + pack("n"):
        if len(_heads) >= _MAX_HEADS:
            _heads.clear()
        _heads[head] = topic, epoch


def frame_of(raw: bytes) -> str | None:
    """The frame in which the platform sent the event of an envelope; None where it was not kept.

    Raises:
        EnvelopeError: not a msgpack map.
    """
    if _FRAME_KEY not in raw:  # nearly all, without unpacking them
        return None
    try:
        frame = _unpack(raw, max_bin_len=0, max_ext_len=0).get("f")
    except Exception as exc:  # noqa: BLE001 - as in `decode`
        raise _not_an_envelope(exc) from None
    return frame if type(frame) is str else None


def log_id(received_us: int) -> str:
    """The stream entry ID of the envelope with this ``r``: every message names its place in the log."""
    return f"{received_us // 1000}-{received_us % 1000}"


def received_us_of(entry_id: str) -> int:
    """The ``r`` that gave this stream entry ID.

    Raises:
        EnvelopeError: not an ID that `log_id` makes.
    """
    ms, _, us = entry_id.partition("-")
    if not (entry_id.isascii() and ms.isdecimal() and us.isdecimal() and len(ms) <= 18 and len(us) <= 3):  # noqa: PLR2004 - fits 64 bits; 0-999
        raise EnvelopeError(f"log id {entry_id[:40]!r} is not <milliseconds>-<0..999>", field="id")
    return int(ms) * 1000 + int(us)


def _check_nesting(value: Any, depth: int) -> None:
    if depth < 0:
        raise EnvelopeError(f"envelope: d is nested deeper than {MAX_NESTING}", field="d")
    for item in value.values() if type(value) is dict else value:
        if type(item) in _CONTAINERS:
            _check_nesting(item, depth - 1)


def _not_an_envelope(exc: Exception) -> EnvelopeError:
    if isinstance(exc, KeyError):
        return EnvelopeError(f"envelope: key {exc.args[0]!r} is missing", field=str(exc.args[0]))
    return EnvelopeError(f"envelope: not a msgpack map of version {VERSION} ({type(exc).__name__})", field="envelope")


def _first_fault(value: dict[str, Any]) -> EnvelopeError:
    if value["v"] != VERSION:
        return EnvelopeError(
            f"envelope: version {value['v']!r} is not {VERSION}: update agentexchange on this side", field="v"
        )
    wanted = {"t": (str,), "e": (int,), "n": (int, _NIL), "u": (int, _NIL), "r": (int,), "w": (int, _NIL), "d": (dict,)}
    for key, types in wanted.items():
        if type(value.get(key)) not in types:
            return EnvelopeError(f"envelope: {key} has the wrong type {type(value[key]).__name__}", field=key)
    for key, most in (("u", _MAX_MS), ("r", _MAX_US), ("w", _MAX_US)):
        if not 0 <= (value.get(key) or 0) <= most:
            return EnvelopeError(f"envelope: {key} {value[key]} is not a time before the year 10000", field=key)
    return EnvelopeError(f"envelope: t {str(value['t'])[:64]!r} is not a topic", field="t")

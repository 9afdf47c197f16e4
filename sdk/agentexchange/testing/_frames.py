"""Server-side WebSocket frames as bytes, and timestamps: pure functions, no I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

__all__ = ["json_bytes", "payload_of", "text_frame", "timestamp"]

_TEXT = b"\x81"  # FIN and opcode 1; a server does not mask (RFC 6455, 5.1 and 5.2)
_LONG = b"\x81\x7e"
_LONGEST = b"\x81\x7f"
_SHORT_LIMIT = 126
_LONG_LIMIT = 1 << 16


def text_frame(payload: bytes) -> bytes:
    """One whole text frame around ``payload``, ready for the transport."""
    size = len(payload)
    if size < _SHORT_LIMIT:
        return _TEXT + size.to_bytes(1) + payload
    if size < _LONG_LIMIT:
        return _LONG + size.to_bytes(2) + payload
    return _LONGEST + size.to_bytes(8) + payload


def payload_of(frame: bytes) -> bytes:
    """The payload of a frame that ``text_frame`` made."""
    size = frame[1]
    if size < _SHORT_LIMIT:
        return frame[2:]
    return frame[4:] if size == _SHORT_LIMIT else frame[10:]


_to_json = json.JSONEncoder(separators=(",", ":")).encode  # kept: making an encoder is dearer than using it


def json_bytes(message: Any) -> bytes:
    """Compact JSON in ASCII: a lone surrogate that a client sent in a symbol must not spoil a text frame."""
    return _to_json(message).encode()


def timestamp(seconds: float) -> str:
    """Unix seconds as the platform writes a time: ``2026-02-23T15:30:45.123Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03d}Z"

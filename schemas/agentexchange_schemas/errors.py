"""What goes wrong with data: one base class, one subclass per kind of input.

SchemaError (ValueError)
├── TopicError       a topic, symbol or interval that is not one
├── FrameError       an upstream frame that is not an event, an answer or a heartbeat
├── EnvelopeError    bytes from Redis that are not an envelope
├── InterestError    a client's hash or control message that is not one
└── LayoutError      a Redis prefix, partition count or API key that cannot be part of a key name
"""

from __future__ import annotations

__all__ = ["EnvelopeError", "FrameError", "InterestError", "LayoutError", "SchemaError", "TopicError"]

SAMPLE_BYTES = 80


class SchemaError(ValueError):
    """Base of every error this package raises; ``field`` names the part at fault."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class TopicError(SchemaError):
    """A topic, symbol or interval outside the patterns; the message names the valid choices."""


class FrameError(SchemaError):
    """Junk from upstream.

    ``kind`` is a short slug to count by, such as ``not_json`` or ``bad_symbol``;
    ``sample`` the first bytes of the frame, for one log line per kind.
    """

    def __init__(self, message: str, *, field: str, kind: str, raw: bytes = b"") -> None:
        super().__init__(message, field=field)
        self.kind = kind
        self.sample = bytes(raw[:SAMPLE_BYTES])


class EnvelopeError(SchemaError):
    """Bytes that are not an envelope of a version this release reads."""


class InterestError(SchemaError):
    """What a client wrote about what it wants, and nobody can read."""


class LayoutError(SchemaError):
    """A value that may not become part of a Redis key."""
